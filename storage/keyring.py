# SPDX-License-Identifier: Apache-2.0
"""The keyring: one share per scope and epoch, and the keys of boxes; destroyed shares are gone for good.

Order of writes of a rewrite under a fresh key (`destroy`):
1. the new key-encryption key is stored in the root of trust,
2. the keyring file is replaced (sole commit point; until here the old file and old key stand),
3. every other slot of the root of trust is destroyed (repeated by the next writer after a crash, and by this one
   before its next rewrite when one of the steps failed).

A first key in a root of trust (a new keyring, or one that moves to another root) comes between two more steps: before 1
the file `making` names the root, after 3 it is removed. So a writer that finds slots and no keyring knows whether they
are its own, cut; slots of anybody else, whose disk may only not be mounted, are never destroyed by it. In a move it
names the old root too, whose slots are all destroyed before it is removed (`finish_move` repeats that after a crash).
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from storage.atomic import locked, make_folder, remove_stray_temps, write_atomic
from storage.box import Box
from storage.errors import (
    BadShareError,
    ForeignSlotsError,
    KeyringBusyError,
    KeyringDamagedError,
    KeyringElsewhereError,
    KeyringError,
    KeyringMissingError,
    KeyringReadOnlyError,
    KeyringRolledBackError,
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
LOCK_FILE = "lock"
MAKING_FILE = "making"  # names the root of trust that gets its first key, and the one that a move leaves
MAX_MARK_BYTES = 256
LOCK_TIMEOUT_S = 10.0
RETRIES = 25  # reads while another process rewrites
RETRY_WAIT_S = 0.02

_Stamp = tuple[int, int, int]


class Keyring:
    """Shares and box keys in one file under a key that the root of trust holds.

    Any process may open it; changes are serialised by a lock file, so several writers are safe. A reader sees
    a change at its next call.
    """

    def __init__(self, folder: Path, root: RootOfTrust, *, read_only: bool, files: Files) -> None:
        self._path = folder / KEYRING_FILE
        self._lock_path = folder / LOCK_FILE
        self._making = folder / MAKING_FILE
        self._root = root
        self._read_only = read_only
        self._files = files
        self._mutex = threading.RLock()
        self._stamp: _Stamp | None = None
        self._packed: PackedKeyring | None = None
        self._content: KeyringContent | None = None
        self._cut = False  # whether this object's last rewrite under a fresh key failed

    @classmethod
    def open(
        cls, folder: Path, root: RootOfTrust, *, read_only: bool = False, files: Files = OS_FILES
    ) -> Keyring:
        """Open, or make when absent (unless read-only: KeyringMissingError). Raises KeyringError kinds."""
        keyring = cls(folder, root, read_only=read_only, files=files)
        if read_only:
            keyring.reload()
        else:
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

    def move_to(self, root: RootOfTrust) -> Keyring:
        """The same keyring under a fresh key in another root of trust, every slot of the old one destroyed.

        Raises ForeignSlotsError when the other root holds the key of another keyring, and KeyringError kinds.
        """
        if self._read_only:
            raise KeyringReadOnlyError("opened read-only: let the owning process change the keyring")
        moved = Keyring(self._path.parent, root, read_only=False, files=self._files)
        with self._exclusive():
            content = self._current()
            moved._packed = self._packed  # goes on with its generation
            moved._claim(left=self._root.name)
            moved._write(content, fresh_key=True)
            moved._settle()
        moved.finish_move(self._root)
        return moved

    @property
    def left(self) -> str:
        """The root of trust that a move which was cut has left keys in; empty when there is none."""
        making, left = self._mark()
        return left if making == self._root.name != left else ""

    def finish_move(self, old: RootOfTrust) -> None:
        """Destroy every slot of the root of trust that was left; raises RootOfTrustError, WriteFailedError."""
        if self.left != old.name:
            return
        with self._exclusive():
            destroy_slots(old)
            self._files.unlink(self._making)

    def reload(self) -> None:
        """Read the file again; raises KeyringMissingError, KeyringDamagedError, KeyringElsewhereError."""
        self._load(RETRIES)

    def _load(self, tries: int) -> None:
        with self._mutex:
            for left in reversed(range(tries)):
                if self._try_load():
                    return
                if left:
                    time.sleep(RETRY_WAIT_S)
            raise KeyringDamagedError(
                f"the root of trust ({self._root.name}) does not hold this keyring's key: it was destroyed, or the "
                "file is an old copy or of another machine; put the right disk back, or `wayside trust --start-afresh`"
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
        self._check_place(packed)
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

    def _check_place(self, packed: PackedKeyring) -> None:
        if packed.root != self._root.name:
            raise KeyringElsewhereError(
                f"the keyring's key is in the root of trust {packed.root!r}, configured is {self._root.name!r}: "
                "move it with `wayside trust --move`, or correct storage.root_of_trust"
            )
        if self._packed is not None and packed.generation < self._packed.generation:
            raise KeyringRolledBackError(
                f"{self._path} is an older copy (write {packed.generation} after {self._packed.generation}): shares "
                "made since are lost with it; start the service again to go on with what it holds"
            )

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
        make_folder(self._path.parent, files=self._files)
        with self._exclusive():
            remove_stray_temps(self._path.parent, files=self._files)
            self._sync_names()
            self._root.recover()
            if self._path.exists():
                self._load(1)  # nobody rewrites it while we hold the lock
            else:
                self._claim()
                self._write(fresh_content(), fresh_key=True)
            self._settle()

    def _change(self, edit: Callable[[KeyringContent], KeyringContent], *, fresh_key: bool = False) -> None:
        if self._read_only:
            raise KeyringReadOnlyError("opened read-only: let the owning process change the keyring")
        with self._exclusive():
            content = self._current()
            if fresh_key and self._cut:  # what it left takes a key's place in the root of trust
                self._clear()
            self._cut = fresh_key or self._cut
            self._write(edit(content), fresh_key=fresh_key)
            if fresh_key:
                self._destroy_other_slots()
                self._cut = False

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

    def _claim(self, left: str = "") -> None:
        """Mark that the root of trust gets its first key of this keyring; raises ForeignSlotsError."""
        if self._mark()[0] == self._root.name:
            return
        if self._root.handles():
            raise ForeignSlotsError(
                f"the root of trust ({self._root.name}) holds the key of a keyring that is not at {self._path}: "
                "mount its disk or put its file back; if it is lost for good, `wayside trust --start-afresh`"
            )
        write_atomic(self._making, f"{self._root.name} {left}".encode(), files=self._files)

    def _mark(self) -> tuple[str, str]:
        """The root that gets its first key, and the one that a move leaves; empty when there is no mark."""
        try:
            with self._making.open("rb") as file:
                making, _, left = file.read(MAX_MARK_BYTES).decode("ascii", "replace").partition(" ")
        except FileNotFoundError:
            return "", ""
        except OSError as error:
            raise KeyringError(f"cannot read {self._making}: check its mode and the disk") from error
        return making, left

    def _settle(self) -> None:
        """What follows the first key: no other slot is left, and the mark goes, unless a move has more to destroy."""
        self._destroy_other_slots()
        if self._mark() == (self._root.name, ""):
            self._files.unlink(self._making)

    def _sync_names(self) -> None:
        """A rewrite that was cut between its rename and its sync left names that a power cut can still take back."""
        self._files.fsync_dir(self._path.parent)

    def _clear(self) -> None:
        """As a start does, what a rewrite that failed left in the root of trust."""
        self._sync_names()
        self._root.recover()
        self._destroy_other_slots()

    def _destroy_other_slots(self) -> None:
        destroy_slots(self._root, keep=self._packed.slot if self._packed else None)


def destroy_slots(root: RootOfTrust, keep: str | None = None) -> None:
    """Destroy every slot of a root of trust but one; raises RootOfTrustError."""
    for handle in root.handles():
        if handle != keep:
            root.destroy(handle)
