# SPDX-License-Identifier: Apache-2.0
"""Records and entries for the tests; every plate is made up."""

from __future__ import annotations

from typing import Any

from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.listfile import HotList, ListDocument
from sync.schema import CharReading, HitRecord, MatchKind, MatchRecord, ReadRecord, hit_id

NOW_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000


def read_record(text: str = "AB12345", **changes: Any) -> ReadRecord:
    fields: dict[str, Any] = {
        "read_id": "r-1",
        "device_id": "dev-1",
        "camera": "sim",
        "captured_us": NOW_US,
        "time_uncertainty_us": 1000,
        "time_sources": ("gnss",),
        "text": text,
        "confidence": 0.93,
        "chars": tuple(CharReading(c=c, p=0.99) for c in text),
        "frames_seen": 7,
        "frames_agreed": 6,
        "box": (10.0, 20.0, 110.0, 60.0),
        "corners": ((10.0, 20.0), (110.0, 20.0), (110.0, 60.0), (10.0, 60.0)),
        "width_px": 100.0,
        "ir": False,
    }
    return ReadRecord(**(fields | changes))


def entry(plate: str = "AB12345", **changes: Any) -> ListEntry:
    fields: dict[str, Any] = {
        "entry_id": f"e-{plate.lower().replace('?', 'q').replace('*', 's')}",
        "plate": plate,
        "state": "IL",
        "category": Category.STOLEN_VEHICLE,
        "code": "STOLEN",
    }
    return ListEntry(**(fields | changes))


def hit_record(**changes: Any) -> HitRecord:
    read = read_record()
    match = MatchRecord(
        kind=MatchKind.EXACT,
        explanation="all characters equal",
        list_id="leads",
        list_version=3,
        list_age_s=60,
        stale=False,
    )
    fields: dict[str, Any] = {
        "hit_id": hit_id("dev-1", "r-1", "leads", "e-1"),
        "read": read,
        "match": match,
        "entry": entry(),
        "crop_jpeg": b"\xff\xd8\xff",
        "raised_us": NOW_US,
        "probability": 0.93,
    }
    return HitRecord(**(fields | changes))


def document(entries: Any = None, **changes: Any) -> ListDocument:
    fields: dict[str, Any] = {
        "list_id": "leads",
        "version": 3,
        "created_us": NOW_US - HOUR_US,
        "as_of_us": NOW_US - HOUR_US,
        "expires_us": NOW_US + 24 * HOUR_US,
        "entries": tuple([entry()] if entries is None else entries),
    }
    return ListDocument(**(fields | changes))


def hot_list(entries: Any = None, **changes: Any) -> HotList:
    return HotList(document(entries, **changes), "0" * 16, "0" * 64, 1)


def chars(text: str, p: float = 0.99, **alternatives: tuple[str, float]) -> tuple[CharReading, ...]:
    """Readings of a text; `at2=("O", 0.1)` gives position 2 an alternative and the rest of its probability."""
    found = []
    for at, char in enumerate(text):
        other = alternatives.get(f"at{at}")
        found.append(
            CharReading(c=char, p=p) if other is None else CharReading(c=char, p=1 - other[1], alt=(other,))
        )
    return tuple(found)
