# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.errors import (
    BadMapping,
    FileTooLarge,
    FooterMismatch,
    LayoutError,
    SyncError,
    TruncatedFeed,
    UnknownLayout,
)
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.layouts import LAYOUTS, parse
from sync.hotlists.mapping import MAX_MAPPING_BYTES, load_mapping
from sync.hotlists.parsed import ParsedList
from sync.limits import ListLimits

DATA = Path(__file__).parent / "data"
MAPPING = load_mapping((DATA / "mapping.toml").read_bytes())


def parsed(layout: str, name: str) -> ParsedList:
    return parse(layout, (DATA / name).read_bytes(), MAPPING if layout == "mapped" else None)


def by_plate(result: ParsedList) -> dict[str, ListEntry]:
    return {entry.plate: entry for entry in result.entries}


@pytest.mark.parametrize(
    ("layout", "name", "records", "kept"),
    [
        ("leads", "leads.txt", 6, 5),
        ("sos", "sos.txt", 3, 2),
        ("ncic", "ncic.txt", 4, 4),
        ("california", "california.tbl", 3, 3),
        ("genetec", "genetec.csv", 7, 4),
        ("mapped", "mapped.csv", 2, 2),
    ],
)
def test_every_record_is_an_entry_or_a_reported_drop(layout: str, name: str, records: int, kept: int) -> None:
    result = parsed(layout, name)
    assert (result.records, len(result.entries)) == (records, kept)
    assert result.dropped == records - kept == sum(problem.dropped for problem in result.problems)
    assert all(problem.line > 0 and problem.what for problem in result.problems)


def test_the_published_leads_example() -> None:
    line = b"660JEM  WIPCSTOLEN VYR/05 VMA/DODG VMO/MAG VST/4D VCO/RED     DOT/010315 LDS/V16A0661\n"
    (entry,) = parse("leads", line).entries
    assert (entry.plate, entry.state, entry.category) == ("660JEM", "WI", Category.STOLEN_VEHICLE)
    vehicle = entry.vehicle
    assert (vehicle.year, vehicle.make, vehicle.model) == ("05", "DODG", "MAG")
    assert (vehicle.style, vehicle.colour) == ("4D", "RED")
    assert entry.reason == "date of theft 010315; type PC"
    assert entry.source == "LEADS V16A0661"


def test_the_published_secretary_of_state_example() -> None:
    (entry,) = parse("sos", b"15386VDE ILFMREVOKED DOT/032910 EXP/0721\n").entries
    assert (entry.plate, entry.state, entry.code) == ("15386VDE", "IL", "REVOKED")
    assert entry.category is Category.REVOKED_REGISTRATION
    assert entry.reason == "DOT/032910 EXP/0721; type FM"
    assert entry.expires_us is None  # EXP is the registration's, not the entry's


def test_the_published_ncic_example() -> None:
    data = b"HEADER\nV123456789LA057020020190509AB123456  CA2009MC2009YAMACYLMCBLK\n"
    (entry,) = parse("ncic", data).entries
    assert (entry.plate, entry.state, entry.category) == ("AB123456", "CA", Category.STOLEN_VEHICLE)
    vehicle = entry.vehicle
    assert (vehicle.year, vehicle.make, vehicle.model) == ("2009", "YAMA", "CYL")
    assert (vehicle.style, vehicle.colour) == ("MC", "BLK")
    assert entry.source == "NIC V123456789; ORI LA0570200"


def test_leads_people_bring_their_text_and_number() -> None:
    entries = by_plate(parsed("leads", "leads.txt"))
    assert entries["ZZ30043"].category is Category.MISSING_PERSON
    assert entries["ZZ30043"].reason == "ADULT MALE GREY JACKET"
    assert entries["ZZ30043"].source == "LEADS M26A0003"


def test_a_state_with_a_zero_for_an_o_is_repaired_and_said() -> None:
    result = parsed("leads", "leads.txt")
    assert by_plate(result)["ZZ2OO32"].state == "OH"
    assert [problem.line for problem in result.problems if "repaired to OH" in problem.what] == [2]


def test_an_unknown_code_is_kept_and_said() -> None:
    result = parsed("ncic", "ncic.txt")
    assert by_plate(result)["ZB55500"].category is Category.OTHER
    assert any("code" in problem.what and problem.line == 5 for problem in result.problems)


@pytest.mark.parametrize("layout", ["leads", "sos"])
def test_a_repeated_line_is_said(layout: str) -> None:
    line = b"ZZ12345  ILPCSUSPEND \n" if layout == "sos" else b"ZZ12345 ILPCSTOLEN \n"
    result = parse(layout, line + line)
    assert len(result.entries) == 1
    assert [(problem.line, problem.dropped) for problem in result.problems] == [(2, True)]


def test_immigration_is_its_own_category_however_it_is_written() -> None:
    assert by_plate(parsed("ncic", "ncic.txt"))["ZB999001"].category is Category.IMMIGRATION_VIOLATOR
    assert by_plate(parsed("genetec", "genetec.csv"))["ZG20032"].category is Category.IMMIGRATION_VIOLATOR
    for word in ("Immigration Violator", "DEPORTED FELON", "immigration_violator"):
        (entry,) = parse("genetec", f"{word};TX;ZZ12345;;\n".encode()).entries
        assert entry.category is Category.IMMIGRATION_VIOLATOR


def test_genetec_dates_wildcards_calibration_and_bad_lines() -> None:
    result = parsed("genetec", "genetec.csv")
    entries = by_plate(result)
    first = entries["ZG10021"]
    assert first.effective_us == 1_788_220_800_000_000
    assert first.expires_us == 1_798_761_599_999_999  # the last microsecond of the last day
    assert entries["ZG3?04*"].state == "OK"
    assert entries["ZGCAL01"].category is Category.CALIBRATION
    assert [problem.line for problem in result.problems if problem.dropped] == [6, 7, 8]


def test_a_mapping_names_columns_codes_and_dates() -> None:
    result = parsed("mapped", "mapped.csv")
    first, second = result.entries
    assert (first.category, first.reason) == (Category.SCOFFLAW, "unpaid, 7 tickets")
    assert second.category is Category.OTHER
    assert any(problem.line == 3 and "code" in problem.what for problem in result.problems)


def test_a_mapping_of_fixed_columns() -> None:
    toml = b'format="fixed"\nheader=false\ndefault_category="scofflaw"\ndefault_state="IL"\n[columns]\nplate=[0,8]\n'
    (entry,) = parse("mapped", b"ZZ12345 x\n", load_mapping(toml)).entries
    assert (entry.plate, entry.state, entry.category) == ("ZZ12345", "IL", Category.SCOFFLAW)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        (b"= 1", "not TOML"),
        (b"format='csv'", "columns"),
        (b"[columns]\nplate=[3,1]", "does not fit"),
        (b"format='fixed'\n[columns]\nplate=[3,1]", "ends before"),
        (b"header=false\n[columns]\nplate='Tag'", "header = false"),
        (b"delimiter='\"'\n[columns]\nplate=1", "delimiter"),
        (b"typo=1\n[columns]\nplate=1", "typo"),
        (b"#" * (MAX_MAPPING_BYTES + 1), "bytes"),
        (b"a=" + b"[" * 9000, "nested|not TOML"),
    ],
)
def test_a_bad_mapping_says_what_is_wrong(toml: bytes, says: str) -> None:
    with pytest.raises(BadMapping, match=says):
        load_mapping(toml)


def test_a_mapping_that_names_a_missing_column_is_refused() -> None:
    with pytest.raises(BadMapping, match="no column for plate"):
        parse("mapped", b"A,B\n1,2\n", MAPPING)
    with pytest.raises(BadMapping, match="needs a mapping"):
        parse("mapped", b"A,B\n1,2\n")


def test_california_takes_its_day_and_its_category() -> None:
    result = parse("california-svs", (DATA / "california.tbl").read_bytes())
    assert result.as_of_us == 1_789_344_000_000_000
    assert {entry.category for entry in result.entries} == {Category.STOLEN_VEHICLE}
    assert by_plate(result)["ZC5B678"].state is None  # C4 is no state, and that is said
    assert any("cannot be read" in problem.what for problem in result.problems)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data.replace(b"RECORD 3", b"RECORD 4"), FooterMismatch),
        (lambda data: data.replace(b"ZC9C012 NV0020260903\n", b""), FooterMismatch),
        (lambda data: data.rsplit(b"TOTAL", 1)[0], TruncatedFeed),
        (lambda data: data[: len(data) // 2], TruncatedFeed),
        (lambda data: data.replace(b"DATE", b"DITE"), LayoutError),
    ],
)
def test_california_refuses_a_file_that_does_not_add_up(change: object, error: type[LayoutError]) -> None:
    data = (DATA / "california.tbl").read_bytes()
    with pytest.raises(error):
        parse("california", change(data))  # type: ignore[operator]


@pytest.mark.parametrize(("layout", "name", "cut"), [("leads", "leads.txt", 5), ("sos", "sos.txt", 5)])
def test_a_file_that_breaks_off_is_refused(layout: str, name: str, cut: int) -> None:
    lines = (DATA / name).read_bytes().splitlines()
    data = b"\n".join([*lines[:2], lines[0][:cut]])
    with pytest.raises(TruncatedFeed, match="line 3"):
        parse(layout, data)


def test_ncic_without_its_header_loses_no_record() -> None:
    lines = (DATA / "ncic.txt").read_bytes().splitlines()[1:]
    result = parse("ncic", b"\n".join(lines) + b"\n")
    assert len(result.entries) == 4
    assert any("no header" in problem.what for problem in result.problems)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x1a"])
def test_an_empty_file_is_refused(data: bytes) -> None:
    for layout in LAYOUTS:
        with pytest.raises((TruncatedFeed, BadMapping)):
            parse(layout, data)


def test_bounds_hold() -> None:
    line = b"ZZ1234%d ILPCSTOLEN\n"
    with pytest.raises(FileTooLarge, match="at most 10"):
        parse("leads", line, limits=ListLimits(max_feed_bytes=10))
    with pytest.raises(FileTooLarge, match="more than 2 entries"):
        parse("leads", b"".join(line % at for at in range(3)), limits=ListLimits(max_entries=2))
    result = parse("leads", b"x" * 60 + b"\n" + line % 1, limits=ListLimits(max_line_bytes=50))
    assert [(problem.line, problem.dropped) for problem in result.problems] == [(1, True)]
    many = parse("leads", b"ZZ\n" * 9, limits=ListLimits(max_problems=4))
    assert (len(many.problems), many.unlisted_problems, many.dropped) == (4, 5, 9)


def test_an_unknown_layout_lists_those_there_are() -> None:
    with pytest.raises(UnknownLayout, match="genetec, leads"):
        parse("nope", b"x")


@pytest.mark.parametrize(
    ("plate", "says"), [("*", "two"), ("A*", "two"), ("???", "two"), ("A" * 13, "12"), ("--", "no plate")]
)
def test_plates_that_cannot_be_listed_are_dropped_with_the_reason(plate: str, says: str) -> None:
    result = parse("genetec", f"Stolen;IL;{plate};;\n".encode())
    assert result.entries == ()
    assert says in result.problems[0].what


def test_odd_letters_never_turn_into_plain_ones() -> None:
    (entry,) = parse("genetec", "Stolen;IL;ZZ1\u00df2\u01313;;\n".encode()).entries
    assert entry.plate == "ZZ123"


def test_a_feed_that_folds_o_is_noticed() -> None:
    folding = b"".join(b"ZZ%05d ILPCSTOLEN\n" % at for at in range(40))
    assert parse("leads", folding).folds_o
    assert not parse("leads", folding + b"ZZO1234 ILPCSTOLEN\n").folds_o
    assert parse("leads", b"ZZ12345 0HPCSTOLEN\n").folds_o


def test_the_same_line_is_the_same_entry_in_every_version() -> None:
    line = b"ZZ12345 ILPCSTOLEN\n"
    assert parse("leads", line).entries == parse("leads", line[:-1] + b"\r\n\x1a").entries


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(LAYOUTS),
    st.binary(max_size=300) | st.text('ZIL0123 ;,"\t\nDATETOTAL RECORD?*VN', max_size=300).map(str.encode),
)
def test_no_bytes_raise_anything_but_our_errors(layout: str, data: bytes) -> None:
    try:
        result = parse(layout, data, MAPPING)
    except SyncError:
        return
    assert result.records == len(result.entries) + result.dropped
