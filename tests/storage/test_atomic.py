# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
import time

import pytest
from storage_world import Killed, Scripted

from storage.atomic import (
    OLD_TEMP_S,
    locked,
    make_folder,
    remove_old_temps,
    remove_stray_temps,
    write_atomic,
)
from storage.errors import StateDamagedError, TooLargeError, WriteFailedError
from storage.files import Files, write_all
from storage.layout import DataLayout
from storage.state import MAX_STATE_BYTES, open_state

STEPS = ["create", "write", "fsync", "replace", "fsync_dir"]


def test_the_steps_are_these(tmp_path) -> None:
    files = Scripted()
    write_atomic(tmp_path / "f", b"new", files=files)
    assert files.calls == STEPS
    assert (tmp_path / "f").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


@pytest.mark.parametrize("step", range(5))
def test_killed_at_each_step_it_is_the_old_or_the_new(tmp_path, step) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(Killed):
        write_atomic(tmp_path / "f", b"new", files=Scripted({step: "kill"}))
    assert (tmp_path / "f").read_bytes() == (b"new" if step > STEPS.index("replace") else b"old")
    remove_stray_temps(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("step", range(4))
def test_an_error_at_each_step_leaves_the_old_and_no_temp_file(tmp_path, step) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(OSError, match="ENOSPC"):
        write_atomic(tmp_path / "f", b"new", files=Scripted({step: 28}))
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_old_temp_files_go_and_young_ones_stay(tmp_path) -> None:
    for name in (".f.1.tmp", ".f.2.tmp"):
        (tmp_path / name).write_bytes(b"")
    long_ago = time.time() - OLD_TEMP_S - 60
    os.utime(tmp_path / ".f.1.tmp", (long_ago, long_ago))
    (tmp_path / "f").write_bytes(b"")
    remove_old_temps((tmp_path, tmp_path / "nowhere"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".f.2.tmp", "f"]


def test_short_writes_are_continued(tmp_path) -> None:
    class Short(Files):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            return super().write(fd, data[:3])

    write_atomic(tmp_path / "f", bytes(range(100)), files=Short())
    assert (tmp_path / "f").read_bytes() == bytes(range(100))
    fd = Short().append_to(tmp_path / "f")
    write_all(Short(), fd, b"more")
    Short().close(fd)
    assert (tmp_path / "f").read_bytes().endswith(b"more")


def test_a_lock_is_held_by_one(tmp_path) -> None:
    with locked(tmp_path / "lock", 0) as first, locked(tmp_path / "lock", 0.03) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "lock", 0) as again:
        assert again


def test_folders_are_private(tmp_path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_state_is_kept(tmp_path) -> None:
    with open_state(tmp_path / "deep" / "state.json") as state:
        state.insert({"a": 1})
        state.table("other").insert({"b": "é"})
    with open_state(tmp_path / "deep" / "state.json") as state:
        assert state.all() == [{"a": 1}]
        assert state.table("other").all() == [{"b": "é"}]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b"[" * 9000])
def test_a_damaged_state_is_told(tmp_path, raw) -> None:
    (tmp_path / "state.json").write_bytes(raw)
    with pytest.raises(StateDamagedError), open_state(tmp_path / "state.json") as state:
        state.all()


def test_state_errors_are_told(tmp_path) -> None:
    files = Scripted()
    with open_state(tmp_path / "s", files=files) as state:
        files.plan = {len(files.calls): 28}
        with pytest.raises(WriteFailedError):
            state.insert({"n": 1})
    with open_state(tmp_path / "s") as state, pytest.raises(TooLargeError):
        state.insert({"n": "x" * MAX_STATE_BYTES})


def test_the_layout_keeps_everything_apart(tmp_path) -> None:
    layout = DataLayout(tmp_path)
    names = [name for name in vars(DataLayout) if isinstance(getattr(DataLayout, name), property)]
    paths = [getattr(layout, name) for name in names]
    assert len(set(paths)) == len(paths) == 13
    assert all(path.is_relative_to(tmp_path) for path in paths)
