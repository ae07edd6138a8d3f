# SPDX-License-Identifier: Apache-2.0
"""What a thief makes of a device's disk when the root of trust is a file on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from storage_world import AGENCY_KEY, DEVICE_KEY, OTHER_KEY
from thief import READS, copied, expired, loot, shares_in, written


@pytest.fixture
def before(world) -> Path:
    written(world)
    return copied(world, "before")


def test_a_stolen_disk_opens_nothing_by_itself(before) -> None:
    assert len(shares_in([before])) == 2  # the thief does have the shares
    assert loot([before], DEVICE_KEY, OTHER_KEY) == set()
    for path in before.rglob("*"):
        assert not path.is_file() or not any(read in path.read_bytes() for read in READS)


def test_a_stolen_disk_with_the_agencys_key_opens_what_is_inside_retention(before) -> None:
    assert loot([before], AGENCY_KEY) == set(READS)


def test_a_disk_stolen_after_expiry_opens_nothing_of_the_expired_hour_even_with_the_agencys_key(
    world, before
) -> None:
    segments = list(before.rglob("*.wseg"))
    expired(world)
    after = copied(world, "after")
    for segment in segments:  # the thief kept the segment files, as a back office or a tapped line might have
        shutil.copy(segment, after / f"kept-{segment.name}")
    assert loot([after], AGENCY_KEY, DEVICE_KEY) == {READS[1]}


def test_what_a_whole_copy_from_before_expiry_still_opens_with_the_file_root_of_trust(world, before) -> None:
    """The file root's own slot is on the copy: deletion on the device cannot reach it. Its receipts say best effort."""
    expired(world)
    assert loot([before], AGENCY_KEY) == set(READS)
    assert loot([before], DEVICE_KEY) == set()


def test_a_copy_from_before_without_its_slots_is_closed_by_the_expiry(world, before) -> None:
    """The keyring and the segments were copied, the root of trust was not: what the live device holds does not fit."""
    expired(world)
    for slot in before.rglob("*.slot"):
        slot.unlink()
    after = copied(world, "after")
    assert loot([before, after], AGENCY_KEY) == {READS[1]}
