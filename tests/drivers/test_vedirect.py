# SPDX-License-Identifier: Apache-2.0
"""VE.Direct text frames: sound ones are taken whole, damaged ones are counted, nothing grows without end."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drivers.vedirect import MAX_FIELDS, VeDirectReader, encode

MPPT = {
    "PID": "0xA053", "FW": "159", "SER#": "HQ2132QY2KR", "V": "12810", "I": "-230", "VPV": "18040", "PPV": "4",
    "CS": "3", "MPPT": "2", "ERR": "0", "LOAD": "ON", "IL": "400", "H19": "1234", "HSDS": "57",
}  # fmt: skip

# Written down by hand from the protocol's rules, not by our encoder: the sum of all bytes is 0 modulo 256.
BY_HAND = b"\r\nV\t12800\r\nI\t15\r\nChecksum\t\x6d"


def test_a_frame_that_our_encoder_did_not_make() -> None:
    assert sum(BY_HAND) % 256 == 0
    assert VeDirectReader().feed(BY_HAND) == [{"V": "12800", "I": "15"}]


def test_a_frame_is_read_as_it_was_sent() -> None:
    reader = VeDirectReader()
    assert reader.feed(encode(MPPT)) == [MPPT]
    assert reader.damaged == 0


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_frames_come_in_any_pieces(size: int) -> None:
    reader, data = VeDirectReader(), encode(MPPT) * 3
    frames = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert frames == [MPPT] * 3


def test_a_reader_that_joins_in_the_middle_takes_the_next_frame() -> None:
    reader = VeDirectReader()
    assert reader.feed(encode(MPPT)[30:] + encode(MPPT)) == [MPPT]
    assert reader.damaged == 1


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(encode(MPPT)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_is_believed(at: int, bit: int) -> None:
    data = bytearray(encode(MPPT))
    data[at] ^= 1 << bit
    reader = VeDirectReader()
    assert reader.feed(bytes(data)) == []
    # the one after next is whole again, whatever the damage did to the boundary
    assert reader.feed(encode(MPPT) * 2)[-1] == MPPT


@settings(max_examples=50, deadline=None)
@given(at=st.integers(0, len(encode(MPPT)) - 2))
def test_a_hexadecimal_message_may_stand_anywhere(at: int) -> None:
    data = encode(MPPT)
    reader = VeDirectReader()
    assert reader.feed(data[:at] + b":7F0ED0071\n" + data[at:]) == [MPPT]


@pytest.mark.parametrize(
    "fields",
    [
        {f"H{number}": "1" for number in range(MAX_FIELDS + 1)},
        {"LABEL9999": "1"},
        {"V": "1" * 33},
    ],
)
def test_bounds(fields: dict[str, str]) -> None:
    reader = VeDirectReader()
    assert reader.feed(encode(fields)) == []
    assert reader.damaged == 1
    assert reader.feed(encode(MPPT)) == [MPPT]


def test_a_frame_at_its_bounds() -> None:
    fields = {f"LABEL{number:03}": "1" * 32 for number in range(MAX_FIELDS)}
    assert VeDirectReader().feed(encode(fields)) == [fields]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=600))
@example(b"\r\nA\t1" * 100_000)
@example(b"\nA" * 100_000)
@example(b":" + b"0" * 100_000)
def test_garbage_neither_breaks_nor_grows_it(data: bytes) -> None:
    reader = VeDirectReader()
    reader.feed(data)
    assert len(reader._fields) <= MAX_FIELDS
    assert len(reader._label) + len(reader._value) <= 40
    # where the garbage ended inside a hexadecimal message or a field, one frame may be lost, not two
    assert reader.feed(b"\n" + encode(MPPT) * 2)[-1] == MPPT
