# SPDX-License-Identifier: Apache-2.0
"""Lines come out whole however the bytes come; endless noise is dropped, told and costs no memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.line_buffer import ANY_END, LineBuffer


@given(st.lists(st.binary(max_size=20)))
def test_lines_do_not_depend_on_how_the_bytes_come(parts: list[bytes]) -> None:
    whole, bits = LineBuffer(1000), LineBuffer(1000)
    told = [line for part in parts for line in bits.feed(part)]
    assert told == whole.feed(b"".join(parts))


def test_endless_noise_is_dropped_and_told_once() -> None:
    buffer = LineBuffer(8)
    assert [line for _ in range(100) for line in buffer.feed(b"noise")] == []
    assert buffer.dropped == 1
    assert buffer.feed(b"its end\nwhole\n") == [b"whole"]
    assert buffer.feed(b"123456789") == []
    assert buffer.dropped == 2


def test_other_ends() -> None:
    assert LineBuffer(8, ANY_END).feed(b"a\r\nb\rc") == [b"a", b"", b"b"]
