# SPDX-License-Identifier: Apache-2.0
"""What the templates show, computed here: pure functions over hits, devices and times."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass

from backoffice.devices import Device
from backoffice.hits import Hit
from backoffice.tickets import Ticket
from sync.schema import HitRecord, StateAgreement

AGEING_S = 120  # an open hit older than this asks for attention
OVERDUE_S = 600  # ... and older than this is overdue
STATE_UNREAD = "not read - verify"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Character:
    """One character read: percent None where the reader gave none; `listed` where the entry differs."""

    text: str
    percent: int | None
    alternatives: tuple[tuple[str, int], ...]
    listed: str | None
    why: str
    unsure: bool


@dataclass(frozen=True, slots=True)
class ListedCharacter:
    """One character of the listed plate: `same`, `differs`, or `wild` for a wildcard."""

    text: str
    how: str


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago, in words, and how urgent: `fresh`, `ageing`, `overdue`, `done`."""

    words: str
    urgency: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device as the devices page shows it."""

    device_id: str
    state: str  # ok, late, never, revoked
    heartbeat: str
    software: str
    waiting: str
    lists: str
    clock: str
    problems: tuple[str, ...]
    health: tuple[tuple[str, str], ...]


def characters(record: HitRecord) -> list[Character]:
    """The read, character by character, differences and doubts marked."""
    differences = {difference.pos: difference for difference in record.match.differences}
    doubts = {doubt.pos for doubt in record.match.doubts}
    shown = []
    for pos, text in enumerate(record.read.text):
        reading = record.read.chars[pos] if pos < len(record.read.chars) else None
        difference = differences.get(pos)
        shown.append(
            Character(
                text=text,
                percent=percent(reading.p) if reading else None,
                alternatives=tuple((c, percent(p)) for c, p in reading.alt[:3]) if reading else (),
                listed=difference.listed if difference else None,
                why=difference.why if difference else "",
                unsure=pos in doubts,
            )
        )
    return shown


def listed_characters(record: HitRecord) -> list[ListedCharacter]:
    """The listed plate; differing positions are marked only where both plates line up."""
    plate = record.entry.plate
    aligned = "*" not in plate and len(plate) == len(record.read.text)
    differing = {difference.pos for difference in record.match.differences} if aligned else set()
    return [
        ListedCharacter(char, "wild" if char in "?*" else "differs" if pos in differing else "same")
        for pos, char in enumerate(plate)
    ]


def percent(p: float) -> int:
    """A probability as a whole percentage; only certainty itself shows as 100, only impossibility as 0."""
    return 100 if p >= 1 else 0 if p <= 0 else max(1, min(99, round(p * 100)))


def state_words(record: HitRecord) -> str:
    """The state of issuance as read, never without the call to verify it."""
    read = record.read
    if read.state is None:
        return STATE_UNREAD
    sure = f" {percent(read.state_confidence)} %" if read.state_confidence is not None else ""
    return f"{read.state}{sure} - verify"


def state_warning(record: HitRecord) -> str | None:
    """A sentence when the state does not simply agree with the entry."""
    agreement = record.match.state_agreement
    listed = record.entry.state or "no state"
    if agreement is StateAgreement.DIFFERS:
        return f"The state differs: read {record.read.state}, listed {listed}."
    if agreement is StateAgreement.UNKNOWN:
        return f"The state was not compared: the list says {listed}."
    return None


def alerts(hit: Hit) -> bool:
    """Whether it is announced: open, not silent, neither taken back nor a correction."""
    silent = hit.record is not None and hit.record.match.silent
    return not (hit.decision or silent or hit.taken_back or hit.follow_up)


def category_words(record: HitRecord) -> str:
    """The list category in plain words."""
    return str(record.entry.category).replace("_", " ")


def early_words(record: HitRecord) -> str | None:
    """What to say of a hit that was raised while the vehicle was still in sight."""
    return f"early: from the first {record.read.frames_seen} frames" if record.preliminary else None


def vehicle_words(record: HitRecord) -> str:
    """The vehicle as the list describes it."""
    vehicle = record.entry.vehicle
    known = (vehicle.colour, vehicle.year, vehicle.make, vehicle.model, vehicle.style)
    return " ".join(part for part in known if part) or "not described"


def span(seconds: float) -> str:
    """A length of time for a glance."""
    whole = max(0, int(seconds))
    for least, size, unit in ((2 * 86_400, 86_400, "d"), (3_600, 3_600, "h"), (60, 60, "min")):
        if whole >= least:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def uncertainty(time_us: int) -> str:
    """A clock's uncertainty: milliseconds below one second."""
    return f"{time_us / 1e6:.1f} s" if time_us >= 1_000_000 else f"{time_us // 1000} ms"


def when(time_us: int) -> str:
    """A time in UTC, to the second."""
    return (EPOCH + dt.timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S UTC")


def age(hit: Hit, now_us: int) -> Age:
    """How long a hit has been open, or how it was decided. A unit's clock that is ahead keeps no hit young."""
    if hit.decision is not None:
        return Age(str(hit.decision), "done")
    if hit.follow_up:
        return Age("correction", "done")
    seconds = (now_us - min(hit.raised_us, hit.received_us)) / 1e6
    urgency = "overdue" if seconds >= OVERDUE_S else "ageing" if seconds >= AGEING_S else "fresh"
    return Age(f"open {span(seconds)}", urgency)


def ticket_state(ticket: Ticket) -> str:
    """A ticket's state in plain words."""
    if not ticket.open:
        return "closed"
    if ticket.well_us is not None:
        return f"well again since {when(ticket.well_us)}"
    return "open again" if ticket.returns else "open"


def device_row(device: Device, now_us: int) -> DeviceRow:
    """One row of the devices page."""
    beat = json.loads(device.heartbeat) if device.heartbeat else {}
    state = (
        "revoked" if device.revoked_us else "never" if not beat else "late" if device.late(now_us) else "ok"
    )
    ago = span((now_us - device.heartbeat_us) / 1e6) + " ago" if device.heartbeat_us else "none yet"
    clock_us = beat.get("time_uncertainty_us")
    return DeviceRow(
        device_id=device.device_id,
        state=state,
        heartbeat=ago,
        software=str(beat.get("software", "")),
        waiting=", ".join(f"{count} {name}" for name, count in sorted(beat.get("waiting", {}).items())),
        lists=", ".join(
            f"{item['list_id']} v{item['version']}{' STALE' if item['stale'] else ''}"
            for item in beat.get("lists", [])
        ),
        clock=f"±{uncertainty(clock_us)}" if clock_us is not None else "",
        problems=tuple(beat.get("problems", [])),
        health=tuple((key, str(value)) for key, value in sorted(beat.get("health", {}).items())),
    )
