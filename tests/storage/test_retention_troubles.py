# SPDX-License-Identifier: Apache-2.0
"""Deletion where something went wrong before: a lost state, a bound that was set back, a file that cannot go."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from retention_world import DAY, NOW, PUBLIC, READS, evidence, fill, receipts_of, retention
from storage_world import HOUR, T0, World

from storage.audit import read_entries
from storage.files import Files
from storage.fsck import verify_store
from storage.receipts import verify_receipts
from storage.types import EPOCH_US, EpochId, TimeEvidence, epoch_of

YEAR_US = 365 * DAY * 1_000_000
GNSS = ("gnss",)
FIRST = f"{HOUR}-"  # how the segments of the first hour begin


class Sticky(Files):
    """A disk that cannot remove the files whose names begin so."""

    def __init__(self, begin: str, number: int = errno.EIO) -> None:
        self.begin = begin
        self.number = number

    def unlink(self, path: Path) -> None:
        if self.begin and path.name.startswith(self.begin):
            raise OSError(self.number, errno.errorcode[self.number])
        super().unlink(path)


def hours(world: World, *epochs: EpochId) -> None:
    """A read in each of these hours."""
    store = world.store()
    for epoch in epochs:
        store.append(READS, b"read", at_us=epoch * EPOCH_US)
    store.close()


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_with_the_state_lost_one_lying_source_deletes_nothing(world, how) -> None:
    hours(world, HOUR, HOUR + 1)
    keeper = retention(world)
    keeper.run(evidence(T0 + 2 * EPOCH_US))
    lie = TimeEvidence(T0 + YEAR_US, 1000, GNSS)
    hours(world, epoch_of(lie.now_us))  # a read of the liar's own hour
    assert keeper.run(lie) == []
    path = world.root / "retention" / "retention.json"
    path.write_bytes(path.read_bytes()[:-3]) if how == "damaged" else path.unlink()
    again = retention(world)
    assert again.run(lie) == []
    assert world.keyring().epochs() == [HOUR, HOUR + 1, epoch_of(lie.now_us)]
    assert [r.body.epoch for r in again.run(evidence())] == [HOUR, HOUR + 1]  # two sources mend it at once


def test_what_waits_still_expires_after_the_bound_was_set_back(world) -> None:
    hours(world, epoch_of(T0 + YEAR_US))  # by a battery clock that is a year ahead
    clock, asked = [0], []
    keeper = retention(world, monotonic_ns=lambda: clock[0], expire=lambda _: asked.append(clock[0]) or [])
    keeper.run(TimeEvidence(T0 + YEAR_US, 1000, ("system",)))
    keeper.run(evidence(T0))
    assert keeper.believed is not None
    assert keeper.believed.bound_us < T0
    before = len(asked)
    for day in range(1, 4):
        clock[0] = day * DAY * 10**9
        keeper.run(evidence(T0 + day * DAY * 1_000_000))
    assert len(asked) == before + 3


@pytest.mark.parametrize("sources", [(), ("system",)])
@pytest.mark.parametrize("looked", [True, False])
def test_the_first_reads_of_a_clock_that_was_never_set_live_their_retention(world, sources, looked) -> None:
    clock = [0]
    keeper = retention(world, monotonic_ns=lambda: clock[0])
    if looked:  # an empty store, and a clock that is 400 days behind
        keeper.run(TimeEvidence(T0, DAY * 1_000_000, sources))
    hours(world, HOUR)
    clock[0] = 30 * 10**9
    true_us = T0 + 400 * DAY * 1_000_000
    assert keeper.run(evidence(true_us)) == []
    assert keeper.run(evidence(true_us + 30 * DAY * 1_000_000)) == []
    assert [r.body.epoch for r in keeper.run(evidence(true_us + 31 * DAY * 1_000_000))] == [HOUR]


@pytest.mark.parametrize("number", [errno.EIO, errno.EPERM])
def test_a_file_that_cannot_be_removed_stops_no_later_deletion(world, number) -> None:
    fill(world)
    world.close()
    keeper = retention(world, Sticky(FIRST, number))
    assert [r.body.epoch for r in keeper.run(evidence())] == [HOUR, HOUR + 1]
    assert world.keyring().epochs() == [epoch_of(NOW)]  # its key is gone: it opens nothing
    left = sorted(path.name for path in world.store_root.rglob("*.wseg") if path.name.startswith(FIRST))
    assert len(left) == 2
    assert keeper.run(evidence(NOW + EPOCH_US)) == []  # no receipt again and again
    later = evidence(NOW + 32 * DAY * 1_000_000)
    assert [r.body.epoch for r in keeper.run(later)] == [epoch_of(NOW)]
    again = retention(world, Sticky(FIRST, number))
    assert again.run(later) == []  # nor after a restart
    assert verify_receipts(receipts_of(world), PUBLIC).ok
    told = [e.fields for e in read_entries(world.root / "audit.jsonl") if e.event == "segments_not_removed"]
    assert [fields["segments"] for fields in told] == [[name.removesuffix(".wseg") for name in left]]


def test_it_is_removed_once_the_disk_lets_it(world) -> None:
    fill(world)
    world.close()
    disk = Sticky(FIRST)
    keeper = retention(world, disk)
    keeper.run(evidence())
    disk.begin = ""
    assert keeper.run(evidence()) == []
    assert {info.epoch for info in world.store().segments()} == {epoch_of(NOW)}
    gone = [segment.segment_id for receipt in receipts_of(world) for segment in receipt.body.segments]
    assert verify_store(world.store_root, erased=gone).ok
    assert len(receipts_of(world)) == 2


def test_a_file_that_tells_nothing_of_itself_dies_too(world, monkeypatch) -> None:
    fill(world)
    world.close()
    real = Path.stat

    def stat(path: Path, **how: bool) -> object:
        if path.name.startswith(FIRST):
            raise OSError(errno.EIO, "EIO")
        return real(path, **how)

    keeper = retention(world)
    monkeypatch.setattr(Path, "stat", stat)
    assert [r.body.epoch for r in keeper.run(evidence())] == [HOUR, HOUR + 1]
    monkeypatch.undo()
    assert verify_receipts(receipts_of(world), PUBLIC).ok
    assert world.keyring().epochs() == [epoch_of(NOW)]
