# SPDX-License-Identifier: Apache-2.0
"""The model of the disk itself: what has to survive survives, and what may be lost is lost in some run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unsafe_disk import UnsafeDisk

CASES = st.data()
QUIET = settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
OLD, NEW = b"old" * 300, b"new" * 300


@pytest.fixture
def disk(tmp_path) -> UnsafeDisk:
    root = tmp_path / "disk"
    root.mkdir()
    (root / "f").write_bytes(OLD)
    return UnsafeDisk(root)


def written(disk: UnsafeDisk, name: str, data: bytes, *, synced: bool) -> Path:
    path = disk.root / name
    fd = disk.append_to(path)
    disk.write(fd, data)
    if synced:
        disk.fsync(fd)
    disk.close(fd)
    return path


def found(disk: UnsafeDisk, wanted, tmp_path_factory) -> dict[str, bytes] | None:
    """What lies on the disk after one power cut that is as wanted; None when no power cut leaves that."""

    def after(data: Any) -> dict[str, bytes]:
        root = tmp_path_factory.mktemp("cut") / "after"
        cut = disk.crash(data, root)
        return {path.name: path.read_bytes() for path in cut.root.rglob("*") if path.is_file()}

    seen: list[dict[str, bytes]] = []

    @QUIET
    @given(CASES)
    def look(data: Any) -> None:
        seen.append(after(data.draw))

    look()
    disk.restart()  # the power cuts above were only thought
    return next((names for names in seen if wanted(names)), None)


def test_what_was_synced_is_always_there(disk, tmp_path_factory) -> None:
    written(disk, "f", NEW, synced=True)
    written(disk, "g", NEW, synced=True)
    disk.fsync_dir(disk.root)
    assert found(disk, lambda names: names != {"f": OLD + NEW, "g": NEW}, tmp_path_factory) is None


@pytest.mark.parametrize(
    "wanted",
    [OLD, OLD + NEW, OLD + NEW[:1], OLD + bytes(len(NEW)), OLD + bytes(124) + NEW[124:]],
    ids=["lost", "kept", "cut", "zeros", "the later sector alone"],
)
def test_what_was_not_synced_may_be_found_in_each_of_these_ways(disk, tmp_path_factory, wanted) -> None:
    written(disk, "f", NEW, synced=False)
    assert found(disk, lambda names: names["f"][: len(wanted)] == wanted, tmp_path_factory)


def test_the_sync_of_a_file_does_nothing_for_its_name(disk, tmp_path_factory) -> None:
    written(disk, "g", NEW, synced=True)
    assert found(disk, lambda names: "g" not in names, tmp_path_factory)
    assert found(disk, lambda names: names.get("g") == NEW, tmp_path_factory)


def test_a_name_may_be_there_without_the_content(disk, tmp_path_factory) -> None:
    written(disk, "g", NEW, synced=False)
    disk.fsync_dir(disk.root)
    assert found(disk, lambda names: names["g"] == b"", tmp_path_factory)
    assert found(disk, lambda names: "g" not in names, tmp_path_factory) is None


def test_a_rename_is_whole_or_not_there_and_may_come_before_what_it_renames(disk, tmp_path_factory) -> None:
    written(disk, "g", NEW, synced=True)
    disk.replace(disk.root / "g", disk.root / "f")
    assert found(disk, lambda names: names == {"f": OLD}, tmp_path_factory)
    assert found(disk, lambda names: names == {"f": NEW}, tmp_path_factory)
    assert (
        found(
            disk, lambda names: names not in ({"f": OLD}, {"f": NEW}, {"f": OLD, "g": NEW}), tmp_path_factory
        )
        is None
    )


def test_a_later_removal_may_survive_an_earlier_one(disk, tmp_path_factory) -> None:
    written(disk, "g", NEW, synced=True)
    disk.fsync_dir(disk.root)
    disk.unlink(disk.root / "f")
    disk.unlink(disk.root / "g")
    assert found(disk, lambda names: names == {"f": OLD}, tmp_path_factory)


def test_what_lies_in_a_folder_goes_with_its_name(disk, tmp_path_factory) -> None:
    disk.make_dir(disk.root / "d")
    written(disk, "d/g", NEW, synced=True)
    disk.fsync_dir(disk.root / "d")
    assert found(disk, lambda names: "g" not in names, tmp_path_factory)
    disk.fsync_dir(disk.root)
    assert found(disk, lambda names: "g" not in names, tmp_path_factory) is None


def test_what_came_about_in_another_way_is_seen(disk) -> None:
    (disk.root / "around").write_bytes(b"")
    assert disk.unknown() == {Path("around")}
