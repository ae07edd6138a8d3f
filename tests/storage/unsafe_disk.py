# SPDX-License-Identifier: Apache-2.0
"""A disk that loses what was not synced: the model behind the tests of power cuts.

Source: T. S. Pillai et al., "All File Systems Are Not Created Equal: On the Complexity of Crafting Crash-Consistent
Applications" (OSDI 2014), with its weakest model that still has the one thing that every journalling file
system gives (their table of persistence properties): an operation on a folder is whole or not there.

- Content is durable once its file was synced. What was written since may survive whole, not at all, cut at any byte,
  in some of its 512-byte sectors, or as a longer file of zeros or of rubbish; a later write without an earlier one.
- A name (of a new file or folder, a link, a rename, a removal) is durable once its folder was synced; a sync of the
  file does nothing for its name. What was done since may survive or not, each alone, in any order that POSIX allows.
- A rename is one operation, also between two folders: both names change or neither does.
- What was synced stays: no bad sectors here, no disk that lies about a sync.

Nothing that is drawn depends on sizes or on names: signatures and temp names differ from run to run.
Every call is carried out for real too, so that the product reads its files as ever. Only what goes through `Files` is
known to the model: `unknown()` lists files that came about in another way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from storage_world import EachCall

SECTOR_BYTES = 512
MASK_SECTORS = 64  # sectors of one write that survive or not, each alone; the next 64 do as these did
FATES = ("lost", "kept", "cut", "sectors", "zeros", "rubbish")
RUBBISH = b"\n\xa5{}"

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class _Written:
    at: int
    data: bytes


@dataclass(frozen=True)
class _Resized:
    size: int


@dataclass(eq=False)
class _Inode:
    durable: bytes = b""
    pending: list[_Written | _Resized] = field(default_factory=list)

    def sync(self) -> None:
        content = bytearray(self.durable)
        for change in self.pending:
            _apply(content, change)
        self.durable, self.pending = bytes(content), []

    def after_crash(self, draw: Draw) -> bytes:
        content = bytearray(self.durable)
        for change in self.pending:
            _survive(content, change, draw)
        return bytes(content)


@dataclass
class _Named:
    """What one operation does to names: path to inode, to None for a folder, to `_GONE`."""

    names: Mapping[Path, object]
    durable: bool = False


_GONE = object()


class UnsafeDisk(EachCall):
    """Everything below `root`; what lies there at the start is durable. `order`: of its files, for what is drawn."""

    def __init__(self, root: Path, order: Sequence[Path] = ()) -> None:
        super().__init__()
        self.root = root
        self._durable = _adopt(root)
        self._now = dict(self._durable)
        self._log: list[_Named] = []
        held = [self._durable[path] for path in (order or self._durable) if path in self._durable]
        self._made = [inode for inode in held if isinstance(inode, _Inode)]
        self._inodes: dict[int, _Inode] = {}

    def crash(self, draw: Draw, root: Path) -> UnsafeDisk:
        """The power goes now: the disk as it is found afterwards, in the fresh folder `root`, one state of many."""
        self.power_off()
        names = dict(self._durable)
        for change in self._log:
            if change.durable or draw(st.booleans()):
                _rename(names, change)
        found = {id(inode): path for path, inode in names.items()}
        kept = [inode for inode in self._made if id(inode) in found]
        _materialise(names, {id(inode): inode.after_crash(draw) for inode in kept}, root)
        return type(self)(root, order=[found[id(inode)] for inode in kept])

    def power_off(self) -> None:
        """Close what the killed process left open; nothing can be written any more."""
        self.dead = True
        for fd in list(self._inodes):
            os.close(fd)
        self._inodes.clear()

    def restart(self) -> None:
        """A killed process is started again, without a power cut: what was not synced is still there, at risk."""
        self.power_off()
        self.dead, self.plan = False, {}

    def unknown(self) -> set[Path]:
        """Files below the root that are there without the model's knowledge, or known and not there."""
        real = {path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()}
        return real ^ {path for path, inode in self._now.items() if inode is not None}

    def create(self, path: Path, mode: int = 0o600) -> int:
        fd = super().create(path, mode)
        self._inodes[fd] = self._new(path)
        return fd

    def append_to(self, path: Path, mode: int = 0o600) -> int:
        fd = super().append_to(path, mode)
        self._inodes[fd] = self._new(path) if self._at(path) is None else self._inode(path)
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        taken = super().write(fd, data)
        end = os.lseek(fd, 0, os.SEEK_CUR)
        self._opened(fd).pending.append(_Written(end - taken, bytes(data[:taken])))
        return taken

    def allocate(self, fd: int, size: int) -> None:
        super().allocate(fd, size)
        self._opened(fd).pending.append(_Resized(max(size, os.fstat(fd).st_size)))

    def fsync(self, fd: int) -> None:
        self._step("fsync")  # and no real one: nothing here outlives the test
        self._opened(fd).sync()

    def sync_all(self) -> None:
        self._step("sync_all")
        for inode in self._made:
            inode.sync()
        while self._log:
            _rename(self._durable, self._log.pop(0))

    def close(self, fd: int) -> None:
        super().close(fd)
        self._inodes.pop(fd, None)

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self._inode(path).pending.append(_Resized(size))

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self._names({source: _GONE, target: self._inode(source)})

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        self._names({target: self._inode(source)})

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        if self._at(path) is not None:
            self._names({path: _GONE})

    def make_dir(self, path: Path, mode: int = 0o700) -> None:
        super().make_dir(path, mode)
        if path.is_relative_to(self.root) and path.relative_to(self.root) not in self._now:
            self._names({path: None})

    def fsync_dir(self, folder: Path) -> None:
        self._step("fsync_dir")
        if folder.is_relative_to(self.root):
            at = folder.relative_to(self.root)
            for change in self._log:
                change.durable = change.durable or any(path.parent == at for path in change.names)
            while self._log and self._log[0].durable:
                _rename(self._durable, self._log.pop(0))

    def _new(self, path: Path) -> _Inode:
        inode = _Inode()
        self._made.append(inode)
        self._names({path: inode})
        return inode

    def _names(self, names: Mapping[Path, object]) -> None:
        change = _Named({path.relative_to(self.root): what for path, what in names.items()})
        _rename(self._now, change)
        self._log.append(change)

    def _at(self, path: Path) -> object:
        return self._now.get(path.relative_to(self.root))

    def _inode(self, path: Path) -> _Inode:
        found = self._at(path)
        assert isinstance(found, _Inode), f"{path} was not made through Files"
        return found

    def _opened(self, fd: int) -> _Inode:
        """The inode of a descriptor, also of one that the product opened itself to overwrite a file."""
        return self._inodes.get(fd) or self._inode(Path(f"/proc/self/fd/{fd}").readlink())


def _apply(content: bytearray, change: _Written | _Resized) -> None:
    end = change.size if isinstance(change, _Resized) else change.at + len(change.data)
    content += bytes(max(0, end - len(content)))
    if isinstance(change, _Resized):
        del content[end:]
    else:
        content[change.at : end] = change.data


def _survive(content: bytearray, change: _Written | _Resized, draw: Draw) -> None:
    """Bring in one change as the power cut left it."""
    if isinstance(change, _Resized):
        if draw(st.booleans()):
            _apply(content, change)
        return
    fate, data = draw(st.sampled_from(FATES)), change.data
    if fate == "lost":
        return
    if fate == "cut":
        data = data[: draw(st.integers(0, 1 << 16)) * len(data) >> 16]
    elif fate == "sectors":
        data = _some_sectors(content, change, draw(st.integers(0, (1 << MASK_SECTORS) - 1)))
    elif fate == "zeros":
        data = bytes(len(data))
    elif fate == "rubbish":
        data = (RUBBISH * (len(data) // len(RUBBISH) + 1))[: len(data)]
    _apply(content, _Written(change.at, data))


def _some_sectors(content: bytearray, change: _Written, made_it: int) -> bytes:
    """The write with what lay there before in the sectors that did not make it (zeros beyond the old end)."""
    pieces = bytearray(content[change.at : change.at + len(change.data)].ljust(len(change.data), b"\0"))
    for start in range(-(change.at % SECTOR_BYTES), len(change.data), SECTOR_BYTES):
        number = (change.at + start) // SECTOR_BYTES
        if made_it >> number % MASK_SECTORS & 1:
            sector = slice(max(0, start), start + SECTOR_BYTES)
            pieces[sector] = change.data[sector]
    return bytes(pieces)


def _rename(names: dict[Path, object], change: _Named) -> None:
    for path, what in change.names.items():
        if what is _GONE:
            names.pop(path, None)
        else:
            names[path] = what


def _adopt(root: Path) -> dict[Path, object]:
    """What lies below a folder, as durable names and inodes; hard links share an inode."""
    inodes: dict[int, _Inode] = {}
    names: dict[Path, object] = {}
    for path in sorted(root.rglob("*")):
        number = path.stat().st_ino
        if path.is_file() and number not in inodes:
            inodes[number] = _Inode(path.read_bytes())
        names[path.relative_to(root)] = inodes[number] if path.is_file() else None
    return names


def _materialise(names: Mapping[Path, object], contents: Mapping[int, bytes], root: Path) -> None:
    root.mkdir(parents=True)
    written: dict[int, Path] = {}
    for path in sorted(names, key=lambda item: (len(item.parts), item)):
        inode = names[path]
        if not (root / path.parent).is_dir():
            continue  # its folder's name was lost
        if inode is None:
            (root / path).mkdir()
        elif id(inode) in written:
            (root / path).hardlink_to(written[id(inode)])
        else:
            (root / path).write_bytes(contents[id(inode)])
            written[id(inode)] = root / path
