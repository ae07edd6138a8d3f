# SPDX-License-Identifier: Apache-2.0
"""Feeds in their published layouts to entries; each line becomes an entry or a problem, none is lost."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sync.errors import BadMapping, FileTooLarge, FooterMismatch, LayoutError, TruncatedFeed, UnknownLayout
from sync.hotlists.codes import NCIC_CODES
from sync.hotlists.entry import Category, VehicleDescription
from sync.hotlists.mapping import FeedMapping
from sync.hotlists.parsed import Collector, FeedRecord, ParsedList
from sync.limits import ListLimits

DEFAULT_LIMITS = ListLimits()
_DOS_END = b"\x1a"
_CA_FOOTER = re.compile(r"^TOTAL RECORDS?\s*:?\s*(\d{1,9})\s*$")
_NCIC_RECORD = re.compile(r"^[A-Z]\d{9}[A-Z0-9 ]{9}\d{8}")
_GENETEC = ("category", "platestate", "platenumber", "effectivedate", "expirydate")
_DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%m/%d/%Y")
_STAMP_FORMATS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")
_CA_KINDS = {
    "california-svs": Category.STOLEN_VEHICLE,
    "california-sfr": Category.FELONY_VEHICLE,
    "california-slr": Category.STOLEN_PLATE,
}

Line = tuple[int, bytes, str]  # 1-based number, raw bytes without line end, text (one character a byte)


@dataclass(frozen=True, slots=True)
class _Feed:
    lines: list[Line]
    collector: Collector
    mapping: FeedMapping | None
    ends_whole: bool

    def too_short(self, line: Line, minimum: int) -> bool:
        """Drop a line that is too short; a short last line without a line end refuses the whole file."""
        if len(line[2]) >= minimum:
            return False
        self.refuse_if_cut(line)
        self.collector.drop(line[0], f"shorter than {minimum} characters")
        return True

    def refuse_if_cut(self, line: Line) -> None:
        """Called for a line that is not whole."""
        if line is self.lines[-1] and not self.ends_whole:
            raise TruncatedFeed(f"the file breaks off in line {line[0]}; fetch it again")


Parser = Callable[[_Feed], int | None]


def parse(
    layout: str, data: bytes, mapping: FeedMapping | None = None, limits: ListLimits = DEFAULT_LIMITS
) -> ParsedList:
    """Parse a feed file; raises LayoutError when the file as a whole cannot be trusted."""
    parser = _PARSERS.get(layout)
    if parser is None:
        raise UnknownLayout(f"no layout {layout[:40]!r}; there are: {', '.join(sorted(_PARSERS))}")
    if len(data) > limits.max_feed_bytes:
        raise FileTooLarge(f"{len(data)} bytes, at most {limits.max_feed_bytes} allowed")
    collector = Collector(layout, limits)
    lines = list(_lines(data, collector, limits))
    if not lines:
        raise TruncatedFeed("the file holds no lines; fetch it again")
    ends_whole = data.rstrip(_DOS_END).endswith((b"\n", b"\r"))
    as_of_us = parser(_Feed(lines, collector, mapping, ends_whole))
    return collector.finish(as_of_us)


def _lines(data: bytes, collector: Collector, limits: ListLimits) -> Iterator[Line]:
    for number, raw in enumerate(data.rstrip(_DOS_END).splitlines(), start=1):
        if len(raw) > limits.max_line_bytes:
            collector.drop(number, f"the line has more than {limits.max_line_bytes} bytes")
        elif raw.strip():
            yield number, raw.rstrip(), raw.rstrip().decode("latin-1")


def _stamped(label: str, value: str) -> str:
    return f"{label} {value}" if value else ""


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _or_none(text: str) -> str | None:
    return text.strip()[:64] or None


def _leads(feed: _Feed) -> None:
    for line in feed.lines:
        number, raw, text = line
        if feed.too_short(line, 13):
            continue
        code = text[12:19].strip()
        vehicle = VehicleDescription()
        if code.upper() == "STOLEN":
            reason = _join(
                _stamped("date of theft", text[66:73].strip()), _stamped("type", text[10:12].strip())
            )
            source = _stamped("LEADS", text[77:85].strip())
            vehicle = VehicleDescription(
                year=_or_none(text[23:25]),
                make=_or_none(text[30:35]),
                model=_or_none(text[39:43]),
                style=_or_none(text[47:50]),
                colour=_or_none(text[54:62]),
            )
        else:
            reason, source = text[19:77].strip(), _stamped("LEADS", text[81:].strip())
        record = FeedRecord(
            text[0:8], text[8:10], code, vehicle=vehicle, reason=reason, source=source or "LEADS"
        )
        feed.collector.add(number, raw, record)


def _sos(feed: _Feed) -> None:
    for line in feed.lines:
        number, raw, text = line
        if feed.too_short(line, 14):
            continue
        reason = _join(text[21:40].strip(), _stamped("type", text[11:13].strip()))
        feed.collector.add(
            number, raw, FeedRecord(text[0:9], text[9:11], text[13:21].strip(), reason=reason, source="SOS")
        )


def _ncic(feed: _Feed) -> None:
    records = feed.lines[1:]
    if _NCIC_RECORD.match(feed.lines[0][2]):
        feed.collector.note(feed.lines[0][0], "there is no header line; the first line was taken as a record")
        records = feed.lines
    for line in records:
        number, raw, text = line
        if feed.too_short(line, 39):
            continue
        code = text[0:1]
        vehicle = VehicleDescription(
            year=_or_none(text[45:49]),
            make=_or_none(text[49:53]),
            model=_or_none(text[53:56]),
            style=_or_none(text[56:58]),
            colour=_or_none(text[58:]),
        )
        reason = _join(
            _stamped("entered", text[19:27].strip()),
            _stamped("plate year", text[39:43].strip()),
            _stamped("type", text[43:45].strip()),
        )
        source = _join(_stamped("NIC", text[0:10].strip()), _stamped("ORI", text[10:19].strip()))
        category = NCIC_CODES.get(code)
        record = FeedRecord(text[27:37], text[37:39], code, category, vehicle, reason, source)
        feed.collector.add(number, raw, record)


def _california(category: Category | None) -> Parser:
    def parser(feed: _Feed) -> int | None:
        lines, collector, mapping = feed.lines, feed.collector, feed.mapping
        chosen = category or (mapping.default_category if mapping else Category.OTHER)
        if not lines[0][2].startswith("DATE"):
            raise LayoutError("the first line does not start with DATE: not a California DOJ table")
        footer = _CA_FOOTER.match(lines[-1][2])
        if footer is None or len(lines) < 2:
            raise TruncatedFeed("the last line is not TOTAL RECORD n: the file is cut; fetch it again")
        records = lines[1:-1]
        held = len(records) + collector.dropped
        if int(footer[1]) != held:
            raise FooterMismatch(
                f"the footer says {int(footer[1])} records, the file holds {held}; fetch it again"
            )
        for number, raw, text in records:
            reason = _join(_stamped("date", text[12:].strip()), _stamped("county", text[10:12].strip()))
            record = FeedRecord(text[0:8], text[8:10], "", chosen, reason=reason, source="CA DOJ")
            collector.add(number, raw, record)
        return _day_us(re.sub(r"\D", "", lines[0][2])[:8])

    return parser


def _day_us(text: str) -> int | None:
    try:
        return to_us(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC))
    except ValueError:
        return None


def to_us(moment: datetime) -> int:
    """Unix microseconds of an aware time, without going through a float."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _read_date(text: str, formats: tuple[str, ...], *, end_of_day: bool) -> int | None:
    """Unix microseconds UTC; a day alone means its first, or for an expiry its last, microsecond."""
    for style in formats:
        try:
            moment = datetime.strptime(text, style).replace(tzinfo=UTC)
        except ValueError:
            continue
        if end_of_day and "%H" not in style:
            moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
        return to_us(moment)
    raise LayoutError("a date cannot be read")


def _dates(effective: str, expires: str, formats: tuple[str, ...]) -> tuple[int | None, int | None]:
    start = _read_date(effective.strip(), formats, end_of_day=False) if effective.strip() else None
    end = _read_date(expires.strip(), formats, end_of_day=True) if expires.strip() else None
    return start, end


def _cells(line: Line, delimiter: str, collector: Collector) -> list[str] | None:
    """One line's cells; each line stands alone, so that an open quote cannot swallow the rest."""
    try:
        text = line[1].decode("utf-8-sig")
    except UnicodeDecodeError:
        text = line[2]
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        collector.drop(line[0], "the quotes or cells of the line cannot be read")
        return None


def _genetec(feed: _Feed) -> None:
    collector = feed.collector
    delimiter = max(";,\t", key=feed.lines[0][2].count)
    for index, line in enumerate(feed.lines):
        cells = _cells(line, delimiter, collector)
        if cells is None or (index == 0 and _is_header(cells)):
            continue
        if len(cells) < 3:
            feed.refuse_if_cut(line)
            collector.drop(line[0], "fewer than three cells; is the delimiter one of ; , tab?")
            continue
        category, state, plate, effective, expires = (*cells, "", "")[:5]
        try:
            start, end = _dates(effective, expires, (*_DATE_FORMATS, *_STAMP_FORMATS))
        except LayoutError:
            collector.drop(line[0], "a date cannot be read, so nobody knows whether the entry is still valid")
            continue
        record = FeedRecord(plate, state, category, source="CSV", effective_us=start, expires_us=end)
        collector.add(line[0], line[1], record)


def _is_header(cells: list[str]) -> bool:
    names = [cell.strip().lower().replace(" ", "") for cell in cells]
    return "platenumber" in names and set(names) & {_GENETEC[0], _GENETEC[1]} != set()


def _mapped(feed: _Feed) -> None:
    mapping = feed.mapping
    if mapping is None:
        raise BadMapping("the layout `mapped` needs a mapping file")
    if mapping.format == "fixed":
        columns = {name: span for name, span in mapping.columns.used().items() if isinstance(span, tuple)}
        for line in feed.lines[1:] if mapping.header else feed.lines:
            if feed.too_short(line, columns["plate"][0] + 1):
                continue
            cells = {name: line[2][start:end].strip() for name, (start, end) in columns.items()}
            _add_mapped(line, cells, mapping, feed.collector)
        return
    _mapped_csv(feed, mapping)


def _mapped_csv(feed: _Feed, mapping: FeedMapping) -> None:
    lines, collector = feed.lines, feed.collector
    header = _cells(lines[0], mapping.delimiter, collector) if mapping.header else []
    places = _places(mapping, [cell.strip() for cell in header or []])
    for line in lines[1:] if mapping.header else lines:
        cells = _cells(line, mapping.delimiter, collector)
        if cells is None:
            continue
        if places["plate"] >= len(cells):
            feed.refuse_if_cut(line)
            collector.drop(line[0], "too few cells")
            continue
        named = {name: cells[at].strip() for name, at in places.items() if at < len(cells)}
        _add_mapped(line, named, mapping, collector)


def _places(mapping: FeedMapping, header: list[str]) -> dict[str, int]:
    places = {}
    for name, column in mapping.columns.used().items():
        if isinstance(column, str):
            if column not in header:
                raise BadMapping(
                    f"the feed has no column for {name}: the mapping names one that is not there"
                )
            places[name] = header.index(column)
        elif isinstance(column, int):
            places[name] = column
    return places


def _add_mapped(line: Line, cells: dict[str, str], mapping: FeedMapping, collector: Collector) -> None:
    code = cells.get("code", "")
    try:
        start, end = _dates(cells.get("effective", ""), cells.get("expires", ""), (mapping.date_format,))
    except LayoutError:
        collector.drop(line[0], "a date cannot be read, so nobody knows whether the entry is still valid")
        return
    record = FeedRecord(
        plate=cells.get("plate", ""),
        state=cells.get("state", "") or mapping.default_state or "",
        code=code,
        category=mapping.codes.get(code) or (None if code else mapping.default_category),
        vehicle=VehicleDescription(
            **{name: _or_none(cells.get(name, "")) for name in ("year", "make", "model", "style", "colour")}
        ),
        reason=cells.get("reason", ""),
        source=cells.get("source", "") or "mapped",
        effective_us=start,
        expires_us=end,
    )
    collector.add(line[0], line[1], record)


_PARSERS: dict[str, Parser] = {
    "leads": _leads,
    "sos": _sos,
    "ncic": _ncic,
    "california": _california(None),
    "genetec": _genetec,
    "mapped": _mapped,
} | {name: _california(category) for name, category in _CA_KINDS.items()}

LAYOUTS = tuple(sorted(_PARSERS))
