# SPDX-License-Identifier: Apache-2.0
"""Segments of a case: as FORMAT.md says, apart from everything else in the keyring, and gone with their share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import independent_reader as other
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_world import AGENCY_KEY, DEVICE_KEY, HOUR, OTHER_KEY, T0, World

from storage import hold
from storage.errors import HeldRecordError
from storage.format import parse_header
from storage.hold import (
    CaseSeal,
    CaseWriter,
    HeldKind,
    HeldRecord,
    HeldSegment,
    case_files,
    case_scope,
    case_share,
    end_case,
    read_case,
)
from storage.hold_proof import check_proof, source_proof
from storage.types import Recipient, SegmentKind

SCOPE = case_scope("0a1b2c3d")
OFFICE_KEY = OTHER_KEY
READ = HeldRecord(HeldKind.READ, "pole-7", "500000-reads-x-0", 3, "ab" * 32, b"a read")


def write(world: World, *records: HeldRecord, scope: str = SCOPE) -> tuple[HeldSegment, ...]:
    recipients = [Recipient.of(AGENCY_KEY.public_key())]
    share = case_share(world.keyring(), scope, HOUR)
    writer = CaseWriter(world.root / scope, CaseSeal(scope, HOUR, share, recipients, OFFICE_KEY))
    for record in records:
        writer.add(record, T0)
    return writer.finish()


def read(world: World, paths: list[Path], scope: str = SCOPE) -> tuple[list[HeldRecord], list[str]]:
    problems: list[str] = []
    found = read_case(
        paths,
        scope,
        world.keyring(),
        private_key=AGENCY_KEY,
        verify_key=OFFICE_KEY.public_key(),
        on_problem=problems.append,
    )
    return list(found), problems


def test_a_stranger_opens_a_case_by_what_the_format_says(world: World) -> None:
    picture = replace(READ, kind=HeldKind.IMAGE, payload=b"\xff" * 9000)
    segments = write(world, READ, picture)
    assert [segment.records for segment in segments] == [1, 1]
    share = world.keyring().peek(HOUR, scope=SCOPE)
    assert share
    kinds = {}
    for segment in segments:
        data = (world.root / SCOPE / segment.name).read_bytes()
        found = other.open_segment(data, share, AGENCY_KEY, OFFICE_KEY.public_key())
        assert (found.closed, found.problems, found.header["device_id"]) == (True, [], SCOPE)
        (payload,) = found.records
        size = int.from_bytes(payload[:4], "big")
        said = json.loads(payload[4 : 4 + size])
        assert other.canonical(said) == payload[4 : 4 + size]
        assert set(said) == {"device", "header_sha256", "index", "kind", "segment"}
        kinds[found.header["kind"]] = payload[4 + size :]
    assert kinds == {"reads": READ.payload, "images": picture.payload}


def test_a_case_has_a_share_of_its_own_and_ends_alone(world: World) -> None:
    second = case_scope("ffffffff")
    store = world.store()
    store.append(SegmentKind.READS, b"of the device", at_us=T0)
    store.close()
    paths = [world.root / SCOPE / s.name for s in write(world, READ)]
    others = [world.root / second / s.name for s in write(world, READ, scope=second)]
    shares = {world.keyring().peek(HOUR, scope=scope) for scope in (SCOPE, second, "self")}
    assert len(shares) == 3
    saved = [path.read_bytes() for path in paths]
    end_case(world.keyring(), world.root / SCOPE, SCOPE)
    assert case_files(world.root / SCOPE) == []
    for path, data in zip(paths, saved, strict=True):
        path.write_bytes(data)  # from a copy
    assert read(world, paths) == ([], [f"{paths[0].name}: the case's share is destroyed: the hold was ended"])
    assert read(world, others, second) == ([READ], [])
    (info,) = store.segments()
    assert world.open(info).records == [b"of the device"]
    end_case(world.keyring(), world.root / SCOPE, SCOPE)  # safe to repeat


@pytest.mark.parametrize("scope", ["self", "pole-7", "case-../x", "case-"])
def test_only_a_cases_share_can_be_ended(world: World, scope: str) -> None:
    world.keyring().share(HOUR)
    if scope == "case-":
        end_case(world.keyring(), world.root / "nothing", scope)  # a plain id, and nothing there
    else:
        with pytest.raises(HeldRecordError):
            end_case(world.keyring(), world.root / "nothing", scope)
    assert world.keyring().epochs() == [HOUR]


def test_what_belongs_to_another_case_or_is_damaged_is_told(world: World) -> None:
    second = case_scope("ffffffff")
    others = [world.root / second / s.name for s in write(world, READ, scope=second)]
    found, (problem,) = read(world, others)
    assert found == []
    assert "not to this case" in problem
    (segment,) = write(world, READ, replace(READ, index=4))
    path = world.root / SCOPE / segment.name
    data = bytearray(path.read_bytes())
    data[parse_header(bytes(data)).size + 20] ^= 1  # in the first record
    path.write_bytes(data)
    found, problems = read(world, [path, path.with_name("gone.wseg")])
    assert found == [replace(READ, index=4)]
    assert [problem.partition(":")[0] for problem in problems] == [path.name, "gone.wseg"]


def test_a_big_case_goes_on_in_another_segment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "MAX_CASE_SEGMENT_BYTES", 3000)
    monkeypatch.setattr(hold, "FLUSH_BYTES", 500)
    records = [replace(READ, index=index, payload=b"x" * 400) for index in range(9)]
    segments = write(world, *records)
    assert len(segments) > 1
    paths = [world.root / SCOPE / segment.name for segment in segments]
    assert read(world, paths) == (records, [])
    assert all(path.stat().st_size == s.size <= 3000 + 500 for path, s in zip(paths, segments, strict=True))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_held_record(raw: bytes) -> None:
    for data in (raw, READ.encode()[:9] + raw, len(raw).to_bytes(4, "big") + raw):
        try:
            record = HeldRecord.decode(data)
        except HeldRecordError:
            continue
        assert record.encode() == data


def test_the_header_of_a_held_record_is_exact() -> None:
    assert HeldRecord.decode(READ.encode()) == READ
    said = json.loads(READ.encode()[4:].split(b"}")[0] + b"}")
    for bad in ({**said, "more": 1}, {**said, "index": "3"}, {**said, "kind": "x"}, {**said, "index": True}):
        header = other.canonical(bad)
        with pytest.raises(HeldRecordError):
            HeldRecord.decode(len(header).to_bytes(4, "big") + header + b"payload")


def test_what_the_device_signed_is_kept_and_checked(world: World) -> None:
    store = world.store()
    for number in range(3):
        store.append(SegmentKind.READS, b"read %d" % number, at_us=T0 + number)
    store.commit()
    (info,) = store.segments()
    open_one = check_proof(source_proof("pole-7", info.path), DEVICE_KEY.public_key())
    assert (open_one.header_signed, open_one.footer_signed, open_one.records) == (True, None, None)
    store.close()
    kept = source_proof("pole-7", info.path)
    facts = check_proof(kept, DEVICE_KEY.public_key())
    assert (facts.device, facts.segment, facts.epoch) == ("pole-7", info.segment_id, HOUR)
    assert (facts.header_signed, facts.footer_signed, facts.records) == (True, True, 3)
    assert facts.closed_us == T0 + 2
    forger = check_proof(kept, OTHER_KEY.public_key())
    assert (forger.header_signed, forger.footer_signed) == (False, False)
    value = json.loads(kept.payload)
    for change in ({"header": value["header"][:-2] + "00"}, {"footer": "{"}, {"header": "zz"}, {"more": 1}):
        with pytest.raises(HeldRecordError):
            check_proof(replace(kept, payload=other.canonical({**value, **change})), DEVICE_KEY.public_key())
    altered = value["footer"].replace('"records":3', '"records":2')
    facts = check_proof(
        replace(kept, payload=other.canonical({**value, "footer": altered})), DEVICE_KEY.public_key()
    )
    assert facts.footer_signed is False
    for rubbish in (b"", b"[]", b"{}", b"[" * 5000):
        with pytest.raises(HeldRecordError):
            check_proof(replace(kept, payload=rubbish), DEVICE_KEY.public_key())
