# SPDX-License-Identifier: Apache-2.0
"""A device's data folder with its keys, and a file layer that stops the world at a chosen system call."""

from __future__ import annotations

import errno
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from storage.files import OS_FILES, Files
from storage.keyring import Keyring
from storage.reader import SegmentContent, read_segment
from storage.root_of_trust import FileRootOfTrust
from storage.store import Store
from storage.types import EPOCH_US, Recipient, SegmentInfo, StoreLimits

HOUR = 500_000
T0 = HOUR * EPOCH_US + 5_000_000
DEVICE_KEY = ec.generate_private_key(ec.SECP256R1())
AGENCY_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


class Killed(BaseException):  # not an Exception: nothing may catch it, as nothing catches SIGKILL
    """The process was killed here."""


class Scripted(Files):
    """Calls counted; `plan` maps the number of a call to "kill", or to an errno to raise instead of it."""

    def __init__(self, plan: dict[int, object] | None = None) -> None:
        self.plan = plan or {}
        self.calls: list[str] = []
        self.dead = False

    def kill_in(self, steps: int) -> None:
        """Die at the call that comes after `steps` more."""
        self.plan = {len(self.calls) + steps: "kill"}

    def _step(self, name: str) -> None:
        if self.dead:
            raise Killed
        what = self.plan.get(len(self.calls))
        self.calls.append(name)
        if what == "kill":
            self.dead = True
            raise Killed
        if isinstance(what, int):
            raise OSError(what, errno.errorcode[what])

    def create(self, path: Path, mode: int = 0o600) -> int:
        self._step("create")
        return super().create(path, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._step("write")
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        self._step("fsync")
        super().fsync(fd)

    def truncate(self, path: Path, size: int) -> None:
        self._step("truncate")
        super().truncate(path, size)

    def replace(self, source: Path, target: Path) -> None:
        self._step("replace")
        super().replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._step("link")
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        super().unlink(path)

    def fsync_dir(self, folder: Path) -> None:
        self._step("fsync_dir")
        super().fsync_dir(folder)


class EachCall(Scripted):
    """As `Scripted`, and the calls that change no content are steps too: opening, closing, allocating, folders."""

    def append_to(self, path: Path, mode: int = 0o600) -> int:
        self._step("append_to")
        return super().append_to(path, mode)

    def allocate(self, fd: int, size: int) -> None:
        self._step("allocate")
        super().allocate(fd, size)

    def close(self, fd: int) -> None:
        self._step("close")
        super().close(fd)

    def make_dir(self, path: Path, mode: int = 0o700) -> None:
        self._step("make_dir")
        super().make_dir(path, mode)

    def set_mode(self, path: Path, mode: int) -> None:
        self._step("set_mode")
        super().set_mode(path, mode)

    def sync_all(self) -> None:
        self._step("sync_all")
        super().sync_all()


class World:
    """One device's folder; opens what a test needs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stores: list[Store] = []

    @property
    def store_root(self) -> Path:
        return self.root / "store"

    def trust(self, files: Files = OS_FILES) -> FileRootOfTrust:
        return FileRootOfTrust(self.root / "trust", files=files)

    def keyring(self, files: Files = OS_FILES, *, read_only: bool = False) -> Keyring:
        return Keyring.open(self.root / "keyring", self.trust(files), files=files, read_only=read_only)

    def store(
        self,
        *,
        limits: StoreLimits | None = None,
        files: Files = OS_FILES,
        keyring: Keyring | None = None,
        **more,
    ) -> Store:
        store = Store.open(
            self.store_root,
            keyring=keyring or self.keyring(),
            recipients=[Recipient.of(AGENCY_KEY.public_key())],
            signer=DEVICE_KEY,
            device_id="pole-7",
            boot_id="boot-1",
            limits=limits or StoreLimits(),
            files=files,
            **more,
        )
        self._stores.append(store)
        return store

    def open(self, info: SegmentInfo) -> SegmentContent:
        share = self.keyring(read_only=True).peek(info.epoch)
        assert share is not None
        return read_segment(
            info.path.read_bytes(), share=share, private_key=AGENCY_KEY, verify_key=DEVICE_KEY.public_key()
        )

    def close(self) -> None:
        for store in self._stores:
            store._release()  # as a dead process would: without footers


class SmallDisk(Files):
    """A disk of `capacity` bytes below `root`: a write that does not fit is refused with ENOSPC, as by the kernel."""

    def __init__(self, root: Path, capacity: int = 1 << 40) -> None:
        self.root = root
        self.capacity = capacity

    @property
    def used(self) -> int:
        return sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())

    def fill(self, spare: int = 0) -> None:
        self.capacity = self.used + spare

    def free(self, _folder: Path) -> int:
        return max(0, self.capacity - self.used)

    def _need(self, size: int) -> None:
        if size > self.capacity - self.used:
            raise OSError(errno.ENOSPC, "ENOSPC")

    def create(self, path: Path, mode: int = 0o600) -> int:
        self._need(1)
        return super().create(path, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._need(len(data))
        return super().write(fd, data)

    def allocate(self, fd: int, size: int) -> None:
        self._need(size)
        super().allocate(fd, size)
