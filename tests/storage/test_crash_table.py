# SPDX-License-Identifier: Apache-2.0
"""Each operation of the crash table is killed before each of its system calls; what is reopened is as its row says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from crash_rows import RECORDS, ROWS, Row
from storage_world import EachCall, Killed, Scripted

from storage.files import Files
from storage.layout import DataLayout

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "docs" / "security" / "crash-table.md"
PACKAGES = ("storage", "sync", "provisioning", "firmware", "backoffice")
AROUND_FILES = re.compile(
    r"\.write_(text|bytes)\(|\.mkdir\(|\.touch\(|open\(\s*\"[awx]|os\.utime|O_(WRONLY|RDWR)|\.rename\("
    r"|\.(hardlink|symlink)_to\(|\.unlink\((missing_ok=True)?\)|(?<!files)\.replace\((path|target|fresh)"
)


class Calls(EachCall):
    """The calls without the wait for a real disk; what a power cut takes back is not the matter here."""

    def fsync(self, fd: int) -> None:
        self._step("fsync")

    def fsync_dir(self, folder: Path) -> None:
        self._step("fsync_dir")

    def sync_all(self) -> None:
        self._step("sync_all")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_killed_before_each_call(row: Row, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    row.setup(before)
    calls = calls_of(row, shutil.copytree(before, tmp_path / "whole"))
    shows = max((n for n, call in enumerate(calls) if call == row.shows), default=None)
    assert shows is not None or not row.shows
    for step, call in enumerate(calls):
        root = shutil.copytree(before, tmp_path / str(step))
        with pytest.raises(Killed):
            row.act(root, Calls({step: "kill"}))
        held = row.held(root)
        where = f"killed before call {step} ({call})"
        if shows is None:
            assert held in between(row), where
        else:
            assert held == (row.new if step > shows else row.old), where
        row.act(root, Calls())
        assert row.held(root) == (after_again(row, held) if row.adds else row.new), f"{where}, done again"
        assert list(root.rglob("*.tmp")) == []


def calls_of(row: Row, root: Path) -> list[str]:
    files = Calls()
    row.act(root, files)
    assert row.held(root) == row.new
    return files.calls


def after_again(row: Row, held: Any) -> Any:
    assert isinstance(row.old, list)
    assert isinstance(row.new, list)
    return [*held, *row.new[len(row.old) :]]


def between(row: Row) -> list[object]:
    """What an operation of several commit points may leave, from the old state to the new one."""
    if row.name == "segment close":  # the records show before the footer that vouches for them
        return [row.old, [(RECORDS, False)], row.new]
    return [row.old, row.new]


def test_every_change_of_a_file_is_a_step() -> None:
    calls = {name for name in vars(Files) if not name.startswith("_")}
    stopped = {name for kind in (Scripted, EachCall) for name in vars(kind)}
    assert calls <= stopped


def test_every_file_of_the_layout_has_a_row() -> None:
    text = TABLE.read_text(encoding="utf-8")
    paths = {name: value for name, value in vars(DataLayout).items() if isinstance(value, property)}
    assert len(paths) >= 13
    root = Path("/data")
    names = {name: value.fget(DataLayout(root)).relative_to(root).as_posix() for name, value in paths.items()}
    assert [name for name, path in names.items() if f"`{path}" not in text] == []
    assert [row.name for row in ROWS if f"`{row.name}`" not in text] == []


def test_who_goes_around_files_has_a_reason() -> None:
    reasons = TABLE.read_text(encoding="utf-8").partition("## Written in another way")[2]
    modules = [path for name in PACKAGES for path in sorted((REPOSITORY / name).rglob("*.py"))]
    around = [path for path in modules if AROUND_FILES.search(path.read_text(encoding="utf-8"))]
    names = [path.relative_to(REPOSITORY).as_posix() for path in around]
    assert "storage/files.py" in names
    assert [name for name in names if f"`{name}`" not in reasons] == []
