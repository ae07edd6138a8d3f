# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.frames import (
    FROM_DEVICE,
    FROM_LAPTOP,
    MAX_BUFFER_BYTES,
    MAX_PAYLOAD_BYTES,
    OVERHEAD_BYTES,
    Frame,
    FrameDecoder,
    Kind,
    encode,
)

u32 = st.integers(0, 2**32 - 1)
frames = st.builds(Frame, st.sampled_from(sorted(FROM_LAPTOP)), u32, u32, st.binary(max_size=300))
SETTINGS = settings(max_examples=50, deadline=None)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@SETTINGS
@given(st.lists(frames, max_size=6), st.lists(st.integers(0, 10_000), max_size=8))
def test_frames_survive_any_cutting(sent: list[Frame], cuts: list[int]) -> None:
    decoder = FrameDecoder(FROM_LAPTOP)
    received = [f for piece in pieces(b"".join(map(encode, sent)), cuts) for f in decoder.feed(piece)]
    assert received == sent
    assert decoder.skipped_bytes == 0


@SETTINGS
@given(st.binary(max_size=200), frames, st.binary(max_size=200))
def test_a_frame_is_found_between_garbage(before: bytes, frame: Frame, after: bytes) -> None:
    decoder = FrameDecoder(FROM_LAPTOP)
    found = decoder.feed(before + encode(frame) + after)
    for _ in range(500):
        found += decoder.idle()
    assert found == [frame]


@SETTINGS
@given(frames, st.integers(0, 10_000), st.integers(1, 255), frames)
def test_a_damaged_frame_is_dropped_and_the_next_one_read(
    frame: Frame, at: int, flip: int, following: Frame
) -> None:
    damaged = bytearray(encode(frame))
    damaged[at % len(damaged)] ^= flip
    decoder = FrameDecoder(FROM_LAPTOP)
    found = decoder.feed(bytes(damaged) + encode(following))
    for _ in range(500):
        found += decoder.idle()
    assert found == [following]


def test_half_a_frame_is_given_up_after_silence() -> None:
    decoder = FrameDecoder(FROM_LAPTOP)
    frame = Frame(Kind.TO_DEVICE, 7, 0, b"x" * 100)
    assert decoder.feed(encode(frame)[:60]) == []
    assert decoder.feed(encode(frame)[:40]) == []  # unplugged twice in the middle
    assert decoder.idle() == []
    assert decoder.idle() == []
    assert decoder.feed(encode(frame)) == [frame]


def test_a_damaged_length_is_not_waited_for() -> None:
    raw = bytearray(encode(Frame(Kind.TO_DEVICE, 7, 0, b"abc")))
    raw[11] ^= 0x04  # claims 1 KiB more
    decoder = FrameDecoder(FROM_LAPTOP)
    good = Frame(Kind.OPEN, 8, 0)
    assert decoder.feed(bytes(raw) + encode(good)) == [good]


def test_an_echoing_line_is_not_answered() -> None:
    decoder = FrameDecoder(FROM_DEVICE)
    assert decoder.feed(encode(Frame(Kind.OPEN, 1, 0))) == []
    assert decoder.skipped_bytes == OVERHEAD_BYTES


def test_payload_and_buffer_are_bounded() -> None:
    largest = Frame(Kind.TO_DEVICE, 1, 0, b"x" * MAX_PAYLOAD_BYTES)
    assert FrameDecoder(FROM_LAPTOP).feed(encode(largest)) == [largest]
    with pytest.raises(ValueError, match=str(MAX_PAYLOAD_BYTES)):
        encode(Frame(Kind.TO_DEVICE, 1, 0, b"x" * (MAX_PAYLOAD_BYTES + 1)))
    decoder = FrameDecoder(FROM_LAPTOP)
    decoder.feed(b"\xa7W" * 500_000)
    assert len(decoder._buffer) <= MAX_BUFFER_BYTES


def test_reset_forgets_the_buffer() -> None:
    decoder = FrameDecoder(FROM_LAPTOP)
    decoder.feed(encode(Frame(Kind.OPEN, 1, 0))[:10])
    decoder.reset()
    assert decoder.feed(encode(Frame(Kind.OPEN, 2, 0))) == [Frame(Kind.OPEN, 2, 0)]
