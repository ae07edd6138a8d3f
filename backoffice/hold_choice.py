# SPDX-License-Identifier: Apache-2.0
"""Which reads and hits a hold asks for: found by plate, by device and time, or named one by one; and their pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from backoffice.errors import BadRequest, NotFound
from backoffice.hits import Hit, HitStore
from backoffice.hold_file import MAX_HITS, MAX_READS, ChosenHit, ChosenRead
from backoffice.office import Office
from backoffice.opening import Opened, Opener, pictures_elsewhere
from backoffice.retention_policy import hit_since_us, schedule
from backoffice.search import Query, in_time, make_query, matches
from backoffice.segments import SegmentFolder
from storage.types import SegmentKind, is_id
from sync.errors import BadRecord
from sync.schema import ImageRecord, ReadRecord

MAX_SPAN_US = 6 * 3600 * 1_000_000  # of a choice by device and time alone: a canvass, not a day of a road
MAX_NAMED = 1000  # reads named one by one


@dataclass(frozen=True, slots=True)
class Selection:
    """What a clerk typed. `why` is a query whose pattern is empty unless they search by plate.

    `records` are DEVICE/SEGMENT:INDEX as `open` prints them, `reads` DEVICE/READ_ID, `hits` ids of hits.
    """

    why: Query
    records: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    hits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was found of a selection, and how many pictures belong to it here."""

    reads: tuple[ChosenRead, ...]
    hits: tuple[ChosenHit, ...]
    pictures: int


Wanted = Callable[[Opened, ReadRecord], bool]
Told = Callable[[str], None]


def check_selection(selection: Selection) -> Selection:
    """The selection with a normalised pattern; BadRequest when it is too wide, malformed or chooses nothing."""
    why = selection.why
    named = (*selection.records, *selection.reads, *selection.hits)
    if len(selection.records) + len(selection.reads) > MAX_NAMED or len(selection.hits) > MAX_HITS:
        raise BadRequest(f"at most {MAX_NAMED} reads and {MAX_HITS} hits are named one by one")
    bad = [name for name in (*selection.records, *selection.reads) if not is_id(name.partition("/")[0])]
    if bad:
        raise BadRequest(f"{bad[0]!r} does not begin with a device's id and a '/'")
    if why.pattern:
        return Selection(make_query(why), selection.records, selection.reads, selection.hits)
    if why.since_us is None and why.until_us is None and named:
        return selection
    if why.device_id is None or why.since_us is None or why.until_us is None:
        raise BadRequest("choose by --plate, by --device with --since and --until, or name reads or hits")
    if not 0 <= why.until_us - why.since_us <= MAX_SPAN_US:
        raise BadRequest(
            f"without a plate --since and --until span at most {MAX_SPAN_US // 3_600_000_000} hours"
        )
    return selection


def choose(office: Office, opener: Opener, hits: HitStore, selection: Selection, told: Told) -> Chosen:
    """What is here of a checked selection; what is not is told. NotFound for nothing, BadRequest for too much."""
    found_hits = [hit for name in selection.hits if (hit := _hit(hits, name, told)) is not None]
    names = {*selection.reads, *(_read_of(hit) for hit in found_hits)}
    records = set(selection.records)

    def wanted(opened: Opened, read: ReadRecord) -> bool:
        place = f"{opened.device}/{opened.segment}:{opened.index}"
        named = f"{opened.device}/{read.read_id}"
        by_name = place in records or named in names
        records.discard(place)
        names.discard(named)
        return by_name or _by_search(selection.why, opened, read)

    reads: list[ChosenRead] = []
    missing: set[str] = set()
    folder = SegmentFolder(office.layout.segments)
    for opened, read in _candidates(opener, selection, found_hits):
        if not wanted(opened, read):
            continue
        if len(reads) == MAX_READS:
            raise BadRequest(
                f"these are more than {MAX_READS} reads: choose a shorter time, or several holds"
            )
        reads.append(_chosen(opened, read))
        missing |= set(pictures_elsewhere(folder, opened.device, read))
    for name in (*sorted(records), *sorted(names)):
        told(f"{name}: no such read is here: pull its device first, unless its retention ended")
    for place in sorted(missing):
        told(f"{place} holds pictures of these reads and is not here: pull them before the hold is approved")
    chosen_hits = tuple(_chosen_hit(office, hit) for hit in found_hits)
    if not (reads or chosen_hits):
        raise NotFound("nothing that is here fits: no hold was made")
    return Chosen(tuple(reads), chosen_hits, sum(1 for _ in pictures_of(opener, reads)))


def pictures_of(opener: Opener, reads: Iterable[ChosenRead]) -> Iterator[Opened]:
    """Every picture here that belongs to one of these reads."""
    by_device: dict[str, tuple[set[str], set[int]]] = {}
    for read in reads:
        ids, epochs = by_device.setdefault(read.device, (set(), set()))
        ids.add(read.read_id)
        epochs |= {
            read.epoch - 1,
            read.epoch,
            read.epoch + 1,
        }  # a picture may be sealed a moment across the hour
    for device, (ids, epochs) in sorted(by_device.items()):
        for opened in opener.records(device, SegmentKind.IMAGES, epochs):
            try:
                image = ImageRecord.decode(opened.payload)
            except BadRecord as error:
                opener.tell(f"{device}/{opened.segment}:{opened.index}: {error}")
                continue
            if image.read_id in ids:
                yield opened


def _candidates(
    opener: Opener, selection: Selection, hits: Iterable[Hit]
) -> Iterator[tuple[Opened, ReadRecord]]:
    """Every read that may be meant."""
    why = selection.why
    named = {name.partition("/")[0] for name in (*selection.records, *selection.reads)}
    named |= {hit.device_id for hit in hits}
    searches = bool(why.pattern) or why.since_us is not None
    if searches and why.device_id is None:
        yield from opener.reads()
        return
    for device in sorted(named | ({why.device_id} if searches and why.device_id else set())):
        yield from opener.reads(device)


def _by_search(why: Query, opened: Opened, read: ReadRecord) -> bool:
    if not why.pattern and why.since_us is None:
        return False  # only what was named
    if why.device_id not in {None, opened.device} or not in_time(why, read):
        return False
    return not why.pattern or matches(why.pattern, read.text) is not None


def _hit(hits: HitStore, hit_id: str, told: Told) -> Hit | None:
    try:
        hit = hits.get(hit_id)
    except NotFound as error:
        told(f"{hit_id}: {error}")
        return None
    if hit.record is None:
        told(f"{hit_id}: the hit was deleted, or does not open with the hits key")
        return None
    return hit


def _read_of(hit: Hit) -> str:
    return f"{hit.device_id}/{hit.record.read.read_id}" if hit.record else ""


def _chosen_hit(office: Office, hit: Hit) -> ChosenHit:
    since = hit_since_us(schedule(office), hit.raised_us, hit.received_us)
    return ChosenHit(hit_id=hit.hit_id, device=hit.device_id, since_us=since)


def _chosen(opened: Opened, read: ReadRecord) -> ChosenRead:
    return ChosenRead(
        device=opened.device,
        segment=opened.segment,
        index=opened.index,
        sha256=opened.sha256,
        read_id=read.read_id,
        epoch=opened.epoch,
    )
