# SPDX-License-Identifier: Apache-2.0
"""Opening a segment record by record, from a file: the same as whole, in little memory."""

from __future__ import annotations

import io
import tracemalloc

import pytest
import vector_maker
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_world import AGENCY_KEY, DEVICE_KEY, T0

from storage import frames
from storage import reader as reader_module
from storage.errors import StorageError, TooLargeError
from storage.frames import WINDOW_BYTES
from storage.reader import SegmentReading, open_segment, read_segment
from storage.types import SegmentKind

KEYS = {
    "share": vector_maker.SHARE,
    "private_key": vector_maker.AGENCY,
    "verify_key": vector_maker.DEVICE.public_key(),
}
MADE = vector_maker.segment([b"record %d" % i for i in range(9)])
DATA = MADE.bytes()


def told(reading: SegmentReading) -> tuple[object, ...]:
    """Everything that a reading tells, in the form of what `read_segment` gives."""
    records: list[bytes] = []
    salvaged: list[tuple[int, bytes]] = []
    for index, payload in reading:
        if reading.damaged:
            salvaged.append((index, payload))
        else:
            assert index == len(records)
            records.append(payload)
    return records, tuple(salvaged), reading.closed, reading.complete, reading.problems


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(len(MADE.header), len(DATA)), st.integers(0, 60), st.binary(max_size=40)),
        max_size=3,
    ),
    st.integers(20, 400),
)
def test_from_a_file_it_tells_what_the_whole_tells_however_it_is_damaged(edits, window) -> None:
    data = DATA
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "WINDOW_BYTES", window)
        content = read_segment(data, **KEYS)
        whole = (content.records, content.salvaged, content.closed, content.complete, content.problems)
        assert told(open_segment(io.BytesIO(data), **KEYS)) == whole
        assert told(open_segment(data, **KEYS)) == whole


@pytest.mark.parametrize("end", [0, 5, 12, 100, 500])
def test_a_refusal_is_the_same_from_a_file(end) -> None:
    with pytest.raises(StorageError) as whole:
        read_segment(DATA[:end], **KEYS)
    with pytest.raises(type(whole.value), match=str(whole.value)):
        open_segment(io.BytesIO(DATA[:end]), **KEYS)


def test_a_file_over_the_bound_is_refused_before_it_is_read(monkeypatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_SEGMENT_BYTES", len(DATA) - 1)
    file = io.BytesIO(b"x" * len(DATA))  # not even the magic is looked at
    with pytest.raises(TooLargeError):
        open_segment(file, **KEYS)


def test_the_size_of_a_segment_costs_no_memory(world) -> None:
    store = world.store()
    for number in range(200):
        store.append(SegmentKind.IMAGES, bytes([number]) * 60_000, at_us=T0)
    store.close()
    (info,) = store.segments()
    share = world.keyring().share(info.epoch)
    with info.path.open("rb") as file:
        tracemalloc.start()
        try:
            reading = open_segment(
                file, share=share, private_key=AGENCY_KEY, verify_key=DEVICE_KEY.public_key()
            )
            seen = [(index, payload[0], len(payload)) for index, payload in reading]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert seen == [(number, number, 60_000) for number in range(200)]
    assert reading.closed
    assert peak < 4 * WINDOW_BYTES < info.size / 5
