# SPDX-License-Identifier: Apache-2.0
"""Opening damaged, cut and made-up bytes: documented errors or told problems, never anything else."""

from __future__ import annotations

import io

import pytest
import vector_maker
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import reader as reader_module
from storage.errors import FormatError, HeaderDamagedError, StorageError, TooLargeError
from storage.format import (
    MAX_HEADER_JSON_BYTES,
    MAX_RECORD_BYTES,
    MAX_SIGNATURE_BYTES,
    FrameWalker,
    footer_start,
    pack_frame,
    parse_footer,
)
from storage.reader import MAX_PROBLEMS, parse_header, read_segment

MADE = vector_maker.segment([b"record %d" % i for i in range(5)])
DATA = MADE.bytes()
RECORDS = [b"record %d" % i for i in range(5)]
HEAD = len(MADE.header)


def read(data: bytes):
    return read_segment(
        data,
        share=vector_maker.SHARE,
        private_key=vector_maker.AGENCY,
        verify_key=vector_maker.DEVICE.public_key(),
    )


def test_it_reads_from_a_file_too() -> None:
    content = read_segment(
        io.BytesIO(DATA), share=vector_maker.SHARE, private_key=vector_maker.AGENCY, verify_key=None
    )
    assert content.records == RECORDS
    assert parse_header(io.BytesIO(DATA)) == parse_header(DATA) == content.header
    assert content.header.segment_id.startswith("491000-reads-")
    assert content.header.recipients == (vector_maker.other.key_id(vector_maker.AGENCY.public_key()),)
    assert content.header.boot_id == "boot-1"


def test_cut_anywhere_it_opens_up_to_the_last_whole_record() -> None:
    ends = [HEAD]
    for record in MADE.records:
        ends.append(ends[-1] + len(record))
    for cut in range(HEAD, len(DATA)):
        content = read(DATA[:cut])
        assert content.records == RECORDS[: sum(end <= cut for end in ends) - 1]
        assert not content.closed
        assert content.complete == (cut in ends)


@settings(max_examples=50)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed_unseen(at, change) -> None:
    data = DATA[:at] + bytes([DATA[at] ^ change]) + DATA[at + 1 :]
    try:
        content = read(data)
    except StorageError:
        assert at < HEAD
        return
    # The checksums of frames are not looked at where a tag is: a change there changes nothing that is opened.
    assert not content.complete or content.records == RECORDS
    assert content.records == RECORDS[: len(content.records)]
    for index, payload in content.salvaged:
        assert payload == RECORDS[index]


EDITS = st.lists(
    st.tuples(st.integers(0, len(DATA)), st.integers(0, 60), st.binary(max_size=40)), min_size=1, max_size=4
)


@settings(max_examples=50)
@given(EDITS)
def test_any_edit_gives_documented_errors_only(edits) -> None:
    data = DATA
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    try:
        content = read(data)
    except StorageError:
        return
    assert content.records == RECORDS[: len(content.records)]


@settings(max_examples=50)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"WAYSEGM\n", b"WAYSEGM\n\0\1", b"WAYSEGM\n\0\1\0\0\0\x40"]),
)
def test_made_up_bytes_are_no_segment(rest, start) -> None:
    with pytest.raises(FormatError):
        read(start + rest)


HOSTILE = [
    b"[" * 10_000,
    b"{}",
    b"null",
    b'{"recipients":[]}',
    b'{"recipients":[{}],"kind":[]}',
    b'{"kind":"reads","recipients":1}',
    b"1" * 5000,
    b'"\\ud800"',
    b"\xff",
]


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_headers_are_refused(raw) -> None:
    data = DATA[:10] + len(raw).to_bytes(4, "big") + raw + b"\0\0" + bytes(32)
    with pytest.raises(HeaderDamagedError):
        parse_header(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seq":0', b'"seq":-1'),
        (b'"seq":0', b'"seq":0.0'),
        (b'"seq":0', b'"seq":true'),
        (b'"seq":0', b'"seq":9223372036854775808'),
        (b'"epoch":491000', b'"epoch":"491000"'),
        (b'"kind":"reads"', b'"kind":"films"'),
        (b'"device_id":"pole-7"', b'"device_id":"../../x"'),
        (b'"device_id":"pole-7"', b'"device_id":7'),
        (b'"prev":"0', b'"prev":"X'),
        (b'"boot_id":"boot-1",', b""),
        (b'"boot_id":"boot-1",', b'"boot_id":"boot-1","boot_id":"boot-2",'),
        (b'{"boot_id"', b'{"aaa":1,"boot_id"'),
        (b'"wrapped":"', b'"wrapped":"00'),
    ],
)
def test_headers_out_of_bounds_are_refused(old, new) -> None:
    size = int.from_bytes(DATA[10:14], "big")
    raw = DATA[14 : 14 + size].replace(old, new, 1)
    assert raw != DATA[14 : 14 + size]
    with pytest.raises(HeaderDamagedError):
        parse_header(DATA[:10] + len(raw).to_bytes(4, "big") + raw + DATA[14 + size :])


def test_bounds(monkeypatch) -> None:
    with pytest.raises(HeaderDamagedError):
        parse_header(DATA[:10] + (MAX_HEADER_JSON_BYTES + 1).to_bytes(4, "big") + bytes(30_000))
    size = int.from_bytes(DATA[10:14], "big")
    with pytest.raises(HeaderDamagedError):
        parse_header(DATA[: 14 + size] + (MAX_SIGNATURE_BYTES + 1).to_bytes(2, "big") + bytes(500))
    giant = b"R" + (MAX_RECORD_BYTES + 17).to_bytes(4, "big") + bytes(4)
    content = read(MADE.header + giant + bytes(100))
    assert (content.records, content.complete) == ([], False)
    tiny = b"R" + (15).to_bytes(4, "big") + bytes(4) + bytes(15)
    assert not read(MADE.header + tiny).complete
    monkeypatch.setattr(reader_module, "MAX_SEGMENT_BYTES", len(DATA) - 1)
    for source in (DATA, io.BytesIO(DATA)):
        with pytest.raises(TooLargeError):
            read_segment(source, share=vector_maker.SHARE, private_key=vector_maker.AGENCY, verify_key=None)


def test_what_follows_damage_is_salvaged_under_its_own_index() -> None:
    at = HEAD + len(MADE.records[0]) + 9
    content = read(DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :])
    assert content.records == RECORDS[:1]
    assert content.salvaged == tuple((i, RECORDS[i]) for i in (2, 3, 4))
    assert not content.complete
    assert len(content.problems) == 1


def test_problems_are_bounded() -> None:
    made = vector_maker.segment([b"x"] * (3 * MAX_PROBLEMS))
    broken = made.header + b"".join(pack_frame(0x52, bytes(20)) for _ in made.records)
    problems = read(broken).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == f"and {2 * MAX_PROBLEMS} more"


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_frames_and_footers_of_any_bytes(data) -> None:
    walker = FrameWalker(memoryview(data), 0)
    for frame in walker:
        assert frame.end <= len(data)
    assert walker.stop or walker.end == len(data)
    assert parse_footer(data) is None
    assert footer_start(data, len(data)) is None


@settings(max_examples=50)
@given(st.integers(0, len(MADE.footer) - 10), st.integers(1, 255))
def test_no_byte_of_a_footer_can_be_changed_unseen(at, change) -> None:
    body = MADE.footer[9:]
    changed = body[:at] + bytes([body[at] ^ change]) + body[at + 1 :]
    content = read(MADE.header + b"".join(MADE.records) + pack_frame(0x46, changed))
    assert not content.closed
    assert not content.complete
