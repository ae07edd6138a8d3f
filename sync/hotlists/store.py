# SPDX-License-Identifier: Apache-2.0
"""The device's lists on disk: sealed at rest, with the highest version ever accepted of each.

Write order of an install: the list file is replaced, then the state file (the commit point for the floor
and for `generation`), then its copy. A crash in between leaves a newer list above its floor, which is accepted. A
removal unlinks the file first and keeps the floor. The copy serves when the state is damaged, so that a bad block does
not take the rollback protection away.

What is remembered belongs to the agency whose keys earned it: `bind` names the keys that are trusted now, and when none
of them is among those of before, lists, floors and ETag are forgotten. Keys that change one by one forget nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field

from storage.atomic import make_folder, write_atomic
from storage.errors import StorageError
from sync.certificates import key_id
from sync.errors import BadRecord, ListError, ListStoreError
from sync.hotlists.listfile import DEFAULT_LIMITS, HotList, verify_floor, verify_list
from sync.limits import MAX_LISTS, ListLimits
from sync.schema import Count, Id, ListStatus, Microseconds, Record, Text

log = structlog.get_logger(__name__)
_STATE_FILE = "lists.state"
_COPY_FILE = "lists.state.copy"
_DAMAGED = "damaged"
_MAX_KEYS = 16
_SUFFIX = ".wlist"
_STATE_AAD = b"wayside/list-state/1"
_MAX_FLOORS = 4 * MAX_LISTS  # lists ever seen; floors outlive removed lists


class BoxLike(Protocol):
    """Authenticated encryption under a key that the keyring holds."""

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """Sealed bytes."""

    def open(self, blob: bytes, aad: bytes) -> bytes:
        """Plaintext; raises StorageError."""


class Installed(Record):
    """What the state remembers of an installed list."""

    version: Count
    sha256: str
    as_of_us: Microseconds
    stale_after_s: Count
    expires_us: Microseconds


class _State(Record):
    trusted: Annotated[tuple[Id, ...], Field(max_length=_MAX_KEYS)] = ()
    changes: Id | None = None  # a new random token whenever the set of lists changes
    manifest_version: Count = 0
    etag: Text = ""
    floors: Annotated[dict[Id, Count], Field(max_length=_MAX_FLOORS)] = Field(default_factory=dict)
    installed: Annotated[dict[Id, Installed], Field(max_length=MAX_LISTS)] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The lists that may be matched, and why others may not (list id, reason)."""

    lists: list[HotList]
    problems: list[tuple[str, str]]


class ListStore:
    """Lists in a folder, each sealed by the box. One process installs, others load."""

    def __init__(self, folder: Path, box: BoxLike, limits: ListLimits = DEFAULT_LIMITS) -> None:
        self._folder = folder
        self._box = box
        self._limits = limits
        self._seen: tuple[tuple[int, ...], str] = ((), "")
        make_folder(folder)

    def bind(self, verify_keys: Sequence[ec.EllipticCurvePublicKey]) -> bool:
        """Say whose keys are trusted now; True when what another agency left was forgotten. Raises ListStoreError."""
        state, ours = self._state(), _key_ids(verify_keys)
        if state.trusted and not set(state.trusted) & set(ours):
            self.reset()
            state = self._state()
            self._save(state, trusted=ours)
            return True
        if state.trusted != ours:
            self._save(state, trusted=ours)
        return False

    def reset(self) -> None:
        """Forget every list, floor and key; raises ListStoreError. A cut reset can be repeated."""
        for list_id in self.files():
            self._unlink(list_id)
        self._save(_State(), changes=_token())

    def install(
        self,
        signed: bytes,
        verify_keys: Sequence[ec.EllipticCurvePublicKey],
        now_us: int,
        *,
        list_id: str = "",
    ) -> HotList:
        """Verify by the rules of `listfile` and keep; raises ListError kinds, changing nothing."""
        state = self._state()
        found = verify_list(
            signed, verify_keys, floor_version=0, now_us=now_us, list_id=list_id or None, limits=self._limits
        )
        document = found.document  # only now is it known whose floor counts
        verify_floor(document, state.floors.get(found.list_id, 0))
        self._write(self._path(found.list_id), signed, _aad(found.list_id))
        installed = Installed(
            version=document.version,
            sha256=found.sha256,
            as_of_us=document.as_of_us,
            stale_after_s=document.stale_after_s,
            expires_us=document.expires_us,
        )
        self._save(
            state,
            trusted=state.trusted or _key_ids(verify_keys),
            changes=_token(),
            floors=state.floors | {found.list_id: document.version},
            installed=state.installed | {found.list_id: installed},
        )
        return found

    def load(self, verify_keys: Sequence[ec.EllipticCurvePublicKey], now_us: int) -> list[HotList]:
        """Every list that may be matched now; those that may not are logged and reported by `load_report`."""
        loaded = self.load_report(verify_keys, now_us)
        for list_id, reason in loaded.problems:
            log.error("hot_list_not_used", list_id=list_id, reason=reason)
        return loaded.lists

    def load_report(self, verify_keys: Sequence[ec.EllipticCurvePublicKey], now_us: int) -> Loaded:
        """The lists that may be matched now, and what is wrong with the others."""
        loaded = Loaded([], [])
        try:
            floors = self._read_state().floors
        except ListStoreError as error:
            floors = {}  # a damaged state must not stop the matching; the next install writes it anew
            loaded.problems.append(("*", str(error)))
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            list_id = path.stem
            try:
                signed = self._open(path, _aad(list_id))
                loaded.lists.append(
                    verify_list(
                        signed,
                        verify_keys,
                        floor_version=floors.get(list_id, 0),
                        now_us=now_us,
                        list_id=list_id,
                        limits=self._limits,
                    )
                )
            except ListError as error:
                loaded.problems.append((list_id, str(error)))
        return loaded

    def signed(self, list_id: str) -> bytes | None:
        """The signed bytes held, as the base of a delta; None when there are none that can be read."""
        path = self._path(list_id)
        try:
            return self._open(path, _aad(list_id)) if path.exists() else None
        except ListStoreError:
            return None

    def remove(self, list_id: str) -> None:
        """Forget a list's entries; its floor stays."""
        state = self._state()
        self._unlink(list_id)
        left = {name: item for name, item in state.installed.items() if name != list_id}
        self._save(state, changes=_token(), installed=left)

    def files(self) -> set[str]:
        """Ids of the lists that lie in the folder, whatever the state says of them."""
        return {path.stem for path in self._folder.glob(f"*{_SUFFIX}")}

    def installed(self) -> dict[str, Installed]:
        """What is installed, by list id, without opening the lists."""
        state = self._state()
        return {name: item for name, item in state.installed.items() if self._path(name).exists()}

    def statuses(self, now_us: int) -> tuple[ListStatus, ...]:
        """Version, age and staleness of each installed list, for heartbeat and status."""
        found = []
        for list_id, item in sorted(self.installed().items()):
            age_s = max(0, now_us - item.as_of_us) // 1_000_000
            stale = age_s > item.stale_after_s or item.expires_us <= now_us
            found.append(ListStatus(list_id=list_id, version=item.version, age_s=age_s, stale=stale))
        return tuple(found)

    def manifest(self) -> tuple[int, str]:
        """(highest manifest version accepted, ETag of the last one that was applied whole)."""
        state = self._state()
        return state.manifest_version, state.etag

    def accept_manifest(self, version: int, etag: str) -> None:
        """Remember a manifest as accepted; its version is the floor from now on."""
        state = self._state()
        if (state.manifest_version, state.etag) != (version, etag[:200]):
            self._save(state, manifest_version=max(version, state.manifest_version), etag=etag[:200])

    def generation(self) -> str:
        """Changes whenever the set of lists changes, and only then; cheap enough to poll every second."""
        try:
            stat = (self._folder / _STATE_FILE).stat()
        except FileNotFoundError:
            return ""
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp != self._seen[0]:
            try:
                self._seen = (stamp, self._read_state().changes or "")
            except ListStoreError:
                self._seen = (stamp, _DAMAGED)
        return self._seen[1]

    def _path(self, list_id: str) -> Path:
        return self._folder / f"{list_id}{_SUFFIX}"

    def _unlink(self, list_id: str) -> None:
        try:
            self._path(list_id).unlink(missing_ok=True)
        except OSError as error:
            raise ListStoreError(f"cannot remove the list {list_id}; check the disk") from error

    def _state(self) -> _State:
        try:
            return self._read_state()
        except ListStoreError as error:
            log.error("list_state_damaged", reason=str(error))
            return _State()

    def _read_state(self) -> _State:
        """The state, or its copy when it is damaged; raises ListStoreError when both are."""
        path = self._folder / _STATE_FILE
        if not path.exists():
            return _State()
        try:
            return self._decode_state(path)
        except ListStoreError as error:
            copy = self._folder / _COPY_FILE
            if not copy.exists():
                raise
            log.error("list_state_damaged", reason=str(error))
            return self._decode_state(copy)

    def _decode_state(self, path: Path) -> _State:
        try:
            return _State.decode(self._open(path, _STATE_AAD))
        except BadRecord as error:
            raise ListStoreError(f"the state of the lists is damaged: {error}") from None

    def _save(self, state: _State, **changes: object) -> None:
        encoded = state.model_copy(update=changes).encode()
        for name in (_STATE_FILE, _COPY_FILE):
            self._write(self._folder / name, encoded, _STATE_AAD)

    def _open(self, path: Path, aad: bytes) -> bytes:
        try:
            return self._box.open(path.read_bytes(), aad)
        except StorageError as error:
            raise ListStoreError(f"{path.name} cannot be opened with this device's key: {error}") from error
        except OSError as error:
            raise ListStoreError(f"{path.name} cannot be read; check the disk") from error

    def _write(self, path: Path, data: bytes, aad: bytes) -> None:
        try:
            write_atomic(path, self._box.seal(data, aad))
        except (OSError, StorageError) as error:
            raise ListStoreError(f"{path.name} cannot be written; check the disk") from error


def _token() -> str:
    return secrets.token_hex(8)


def _key_ids(keys: Sequence[ec.EllipticCurvePublicKey]) -> tuple[str, ...]:
    return tuple(sorted({key_id(key) for key in keys}))


def _aad(list_id: str) -> bytes:
    return b"wayside/list-at-rest/1\0" + list_id.encode()
