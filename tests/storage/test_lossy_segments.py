# SPDX-License-Identifier: Apache-2.0
"""Segments on a disk that loses what was not synced: every acknowledged record opens, and nothing else appears."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from lossy import LONG, LossyMachine, NoNames, NoSync, alive, finds_a_fault, run
from storage_world import T0, World
from unsafe_disk import UnsafeDisk

from storage.recovery import measure
from storage.store import Store
from storage.torn_tail import holds_a_frame
from storage.types import EPOCH_US, SegmentKind, StoreLimits, epoch_of

LIMITS = StoreLimits(max_segment_bytes=40_000, write_buffer_bytes=1500, max_uncommitted_bytes=20_000)
SIZES = st.sampled_from([0, 40, 600, 5000])


class SegmentsMachine(LossyMachine):
    """Appends to two kinds and three hours; what a returned commit or close covered is acknowledged."""

    def begin(self) -> None:
        self.store: Store | None = None
        self.offered: set[bytes] = set()
        self.waiting: dict[tuple[str, int], bytes] = {}
        self.acked: dict[tuple[str, int], bytes] = {}

    def closed(self) -> None:
        if self.store is not None:
            self.store._release()

    def opened(self) -> None:
        self.waiting.clear()
        world = World(self.disk.root)
        keyring = world.keyring(self.disk)
        self.store = world.store(limits=LIMITS, files=self.disk, keyring=keyring)
        self.check(world)

    @alive
    @rule(kind=st.sampled_from(SegmentKind), size=SIZES, hour=st.integers(0, 2))
    def append(self, kind: SegmentKind, size: int, hour: int) -> None:
        payload = b"%d:" % len(self.offered) + b"x" * size
        self.offered.add(payload)
        self.returned(lambda: self.took(kind, payload, T0 + hour * EPOCH_US))

    def took(self, kind: SegmentKind, payload: bytes, at_us: int) -> None:
        ref = self.store.append(kind, payload, at_us=at_us)
        self.waiting[ref.segment, ref.index] = payload

    @alive
    @rule()
    def commit(self) -> None:
        if self.returned(self.store.commit):
            self.acknowledge(range(3))

    @alive
    @rule(hour=st.integers(1, 3))
    def roll(self, hour: int) -> None:
        if self.returned(lambda: self.store.roll(T0 + hour * EPOCH_US)):
            self.acknowledge(range(hour))

    @alive
    @rule(hour=st.integers(0, 2))
    def close_epochs(self, hour: int) -> None:
        if self.returned(lambda: self.store.close_epochs([epoch_of(T0) + hour])):
            self.acknowledge([hour])

    @alive
    @rule()
    def close(self) -> None:
        if self.returned(self.store.close):
            self.acknowledge(range(3))
            self.returned(self.opened)

    def acknowledge(self, hours) -> None:
        epochs = {str(epoch_of(T0) + hour) for hour in hours}
        durable = {ref: self.waiting[ref] for ref in self.waiting if ref[0].split("-")[0] in epochs}
        self.acked |= durable
        self.waiting = {ref: self.waiting[ref] for ref in self.waiting if ref not in durable}

    def check(self, world: World) -> None:
        found: dict[tuple[str, int], bytes] = {}
        for info in self.store.segments():
            content = world.open(info)
            assert content.closed == info.closed
            assert content.problems == () or not info.closed  # of records that nobody was told are safe
            self.check_end(info.path)
            found |= {(info.segment_id, n): bytes(record) for n, record in enumerate(content.records)}
        assert {ref: found.get(ref) for ref in self.acked} == self.acked
        assert set(found.values()) <= self.offered
        names = {
            path.suffix for path in world.store_root.rglob("*") if path.is_file() and path.name != ".lock"
        }
        assert names <= {".wseg", ".json"}

    def check_end(self, path: Path) -> None:
        """No torn tail is left; but a page kept behind one that was lost stays, since it looks like damage."""
        whole = measure(path).whole
        left = path.read_bytes()[whole:]
        assert not left or holds_a_frame(left)


def test_segments_keep_what_was_acknowledged() -> None:
    run(SegmentsMachine)


@pytest.mark.slow
def test_segments_keep_what_was_acknowledged_in_many_runs() -> None:
    run(SegmentsMachine, LONG)


@pytest.mark.parametrize("disk", [NoSync, NoNames])
def test_the_machine_finds_a_missing_sync(disk: type[UnsafeDisk]) -> None:
    finds_a_fault(SegmentsMachine, disk)
