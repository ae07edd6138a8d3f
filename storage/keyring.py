# SPDX-License-Identifier: Apache-2.0
"""The keyring: one share per scope and epoch, and the keys of boxes; destroyed shares are gone for good.

Order of writes of a rewrite under a fresh key (`destroy`):
1. the new key-encryption key is stored in the root of trust,
2. the keyring file is replaced (sole commit point; until here the old file and old key stand),
3. every other slot of the root of trust is destroyed (repeated by the next writer after a crash).
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.atomic import locked, make_folder, remove_stray_temps, write_atomic
from storage.errors import (
    BadMagicError,
    BadShareError,
    EnvelopeDamagedError,
    KeyringBusyError,
    KeyringDamagedError,
    KeyringError,
    KeyringMissingError,
    KeyringReadOnlyError,
    SlotMissingError,
    WriteFailedError,
)
from storage.files import OS_FILES, Files
from storage.keyring_file import (
    MAX_KEYRING_BYTES,
    KeyringContent,
    PackedKeyring,
    fresh_content,
    pack,
    unpack,
)
from storage.layout import KEYRING_FILE
from storage.primitives import SECRET_BYTES, label
from storage.root_of_trust import RootOfTrust
from storage.types import EpochId, is_id

SELF = "self"  # scope of a device's own shares
LOCK_TIMEOUT_S = 10.0
RETRIES = 25  # reads while another process rewrites
RETRY_WAIT_S = 0.02

_BOX_MAGIC = b"WBX1"
_NONCE_BYTES = 12
_Stamp = tuple[int, int, int]


class Box:
    """AES-256-GCM under a key of one label, for small things at rest."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plaintext: bytes, aad: bytes) -> bytes:
        """Sealed bytes: magic, nonce, ciphertext; 32 bytes longer than the text."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _BOX_MAGIC + nonce + self._aead.encrypt(nonce, plaintext, aad)

    def open(self, blob: bytes, aad: bytes) -> bytes:
        """Plaintext; raises BadMagicError, or EnvelopeDamagedError when key, bytes or aad differ."""
        if blob[: len(_BOX_MAGIC)] != _BOX_MAGIC:
            raise BadMagicError("not a boxed file: check what was given")
        sealed = blob[len(_BOX_MAGIC) :]
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)
        except (InvalidTag, ValueError) as error:
            raise EnvelopeDamagedError("the boxed file does not open here: fetch it again") from error


class Keyring:
    """Shares and box keys in one file under a key that the root of trust holds.

    Any process may open it; changes are serialised by a lock file, so several writers are safe. A reader sees
    a change at its next call.
    """

    def __init__(self, folder: Path, root: RootOfTrust, *, read_only: bool, files: Files) -> None:
        self._path = folder / KEYRING_FILE
        self._lock_path = folder / "lock"
        self._root = root
        self._read_only = read_only
        self._files = files
        self._mutex = threading.RLock()
        self._stamp: _Stamp | None = None
        self._packed: PackedKeyring | None = None
        self._content: KeyringContent | None = None

    @classmethod
    def open(
        cls, folder: Path, root: RootOfTrust, *, read_only: bool = False, files: Files = OS_FILES
    ) -> Keyring:
        """Open, or make when absent (unless read-only: KeyringMissingError). Raises KeyringError kinds."""
        keyring = cls(folder, root, read_only=read_only, files=files)
        if read_only:
            keyring.reload()
        else:
            make_folder(folder)
            keyring._recover()
        return keyring

    @property
    def root(self) -> RootOfTrust:
        """The root of trust that holds the key-encryption key."""
        return self._root

    def share(self, epoch: EpochId) -> bytes:
        """The device's own share of an epoch, 32 bytes; drawn and durable on first use."""
        known = self.peek(epoch)
        if known is not None:
            return known
        fresh = secrets.token_bytes(SECRET_BYTES)

        def add(content: KeyringContent) -> KeyringContent:
            nonlocal fresh
            fresh = content.shares.get(SELF, {}).get(epoch, fresh)
            return content.with_shares(SELF, {epoch: fresh})

        self._change(add)
        return fresh

    def peek(self, epoch: EpochId, scope: str = SELF) -> bytes | None:
        """The share of an epoch, or None when there is none (never made, or destroyed)."""
        return self._current().shares.get(scope, {}).get(epoch)

    def epochs(self, scope: str = SELF) -> list[EpochId]:
        """Epochs that have a share, ascending."""
        return sorted(self._current().shares.get(scope, {}))

    def scopes(self) -> list[str]:
        """Scopes that have shares."""
        return sorted(scope for scope, shares in self._current().shares.items() if shares)

    def import_share(self, scope: str, epoch: EpochId, share: bytes) -> None:
        """Keep the share of a device; raises BadShareError."""
        self.import_shares(scope, {epoch: share})

    def import_shares(self, scope: str, shares: Mapping[EpochId, bytes]) -> None:
        """Keep many shares of a device in one write; raises BadShareError."""
        if not is_id(scope) or any(len(share) != SECRET_BYTES for share in shares.values()):
            raise BadShareError(f"a scope is a plain id and a share {SECRET_BYTES} bytes: ask for them again")
        self._change(lambda content: content.with_shares(scope, shares))

    def destroy(self, epochs: Iterable[EpochId], scope: str = SELF) -> None:
        """Destroy shares for good: rewrite under a fresh key, then destroy every earlier key."""
        doomed = frozenset(epochs)
        if doomed:
            self._change(lambda content: content.without(scope, doomed), fresh_key=True)

    def box(self, name: str) -> Box:
        """The box of a label; the same key for the same label as long as the keyring lives."""
        key = HKDF(hashes.SHA256(), SECRET_BYTES, None, label("box") + name.encode())
        return Box(key.derive(self._current().box_key))

    def reload(self) -> None:
        """Read the file again; raises KeyringMissingError or KeyringDamagedError."""
        with self._mutex:
            for _ in range(RETRIES):
                if self._try_load():
                    return
                time.sleep(RETRY_WAIT_S)
            raise KeyringDamagedError(
                "the root of trust does not hold this keyring's key: it was destroyed, or the file is an old copy"
            )

    def _current(self) -> KeyringContent:
        with self._mutex:
            if self._content is None or self._stamp != self._stat():
                self.reload()
            if self._content is None:
                raise KeyringMissingError(f"no keyring at {self._path}")
            return self._content

    def _stat(self) -> _Stamp | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _try_load(self) -> bool:
        """Load once; False when the key is gone because the file was replaced in between."""
        stamp = self._stat()
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_KEYRING_BYTES)
        except FileNotFoundError as error:
            raise KeyringMissingError(
                f"no keyring at {self._path}: start the process that owns it"
            ) from error
        except OSError as error:
            raise KeyringError(f"cannot read {self._path}: check its mode and the disk") from error
        packed = unpack(data)
        try:
            content = packed.open(self._root.load(packed.slot))
        except SlotMissingError:
            return False
        except KeyringDamagedError:
            # A slot is overwritten before it goes: after a rewrite its key is wrong, not yet missing.
            if self._stat() == stamp:
                raise
            return False
        self._content, self._packed, self._stamp = content, packed, stamp
        return True

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._mutex, locked(self._lock_path, LOCK_TIMEOUT_S) as free:
            if not free:
                raise KeyringBusyError(f"{self._lock_path} is held by another process: try again")
            try:
                yield
            except OSError as error:
                raise WriteFailedError(f"cannot write {self._path}: check the disk") from error

    def _recover(self) -> None:
        """Make the keyring when absent, and finish what a crash left behind."""
        with self._exclusive():
            remove_stray_temps(self._path.parent, files=self._files)
            self._root.recover()
            if self._path.exists():
                self.reload()
            else:
                self._write(fresh_content(), fresh_key=True)
            self._destroy_other_slots()

    def _change(self, edit: Callable[[KeyringContent], KeyringContent], *, fresh_key: bool = False) -> None:
        if self._read_only:
            raise KeyringReadOnlyError("opened read-only: let the owning process change the keyring")
        with self._exclusive():
            self._write(edit(self._current()), fresh_key=fresh_key)
            if fresh_key:
                self._destroy_other_slots()

    def _write(self, content: KeyringContent, *, fresh_key: bool) -> None:
        generation = self._packed.generation + 1 if self._packed else 1
        if fresh_key or self._packed is None:
            kek = secrets.token_bytes(SECRET_BYTES)
            slot = self._root.store(kek)
        else:
            slot = self._packed.slot
            kek = self._root.load(slot)
        data = pack(content, kek=kek, slot=slot, root=self._root.name, generation=generation)
        write_atomic(self._path, data, files=self._files)
        self._stamp, self._packed, self._content = self._stat(), unpack(data), content

    def _destroy_other_slots(self) -> None:
        keep = self._packed.slot if self._packed else None
        for handle in self._root.handles():
            if handle != keep:
                self._root.destroy(handle)
