# SPDX-License-Identifier: Apache-2.0
"""Whether the office's own clock may be deleted by: one jump ahead would destroy every share at once.

1. Each round of deletion leaves its time, this boot's id and its uptime, before it deletes.
2. Within a boot the clock may be ahead of that by the uptime since and NEAR_US; after another boot by OFF_US.
   What it is ahead within a boot is not left as believed: it cannot walk away by small steps.
3. What is further ahead must be confirmed: by a device that says the same time by two sources, or by a person.
4. A clock that is behind deletes nothing early: it is let through, and what was left stays until it is confirmed.

Order of writes: `retention-clock.json` is replaced whole (`atomic.write_atomic`, the sole commit point), then the round
deletes. The first round of an office has nothing to compare with. A damaged file is as old as can be: rule 3.
"""

from __future__ import annotations

import json
import operator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from backoffice.devices import Device, all_devices
from backoffice.errors import ClockInDoubt
from backoffice.office import Office
from storage.atomic import write_atomic
from storage.primitives import canonical_json
from storage.retention import uptime_ns
from storage.types import AGREEING_SOURCES
from sync.errors import BadRecord
from sync.schema import Heartbeat

NEAR_US: Final = 600_000_000  # as for a device's deletion: two clocks this close agree
OFF_US: Final = 2 * 86_400 * 1_000_000  # how long a server may be off before its clock must be confirmed
MAX_MARK_BYTES: Final = 4096
BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
EYE_TIME: Final = "time_us"  # what the eye's status calls the time that its sources agree on
PERSON: Final = "a person"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a round leaves: the clock (Unix µs), and the boot and its uptime (ns) at that moment."""

    at_us: int
    boot_id: str
    uptime_ns: int


OLDEST: Final = Mark(0, "", 0)  # what a damaged file counts as


def this_boot() -> tuple[str, int]:
    """(id of this boot, its uptime in ns); sleep counts."""
    try:
        boot_id = BOOT_ID_FILE.read_text("ascii").strip()
    except OSError:
        boot_id = ""  # not known: then no two boots are the same
    return boot_id, uptime_ns()


def ahead_us(office: Office) -> int:
    """By how much the clock is further ahead than may be believed, µs; 0 where it may, or is confirmed."""
    mark = _load(office.layout.retention_clock)
    by = 0 if mark is None else office.clock() - _latest_us(mark)
    return 0 if by <= 0 or _confirmed_by(office) else by


def doubt(office: Office) -> str:
    """Why the office deletes nothing now, and what to do; empty where it deletes."""
    by = ahead_us(office)
    if not by:
        return ""
    return (
        f"the office deletes nothing: its clock is {by / 3_600_000_000:.1f} hours further than the last round of "
        "deletion allows. Set it right. Where it is right, the next round goes on when a device with two time sources "
        "says the same time, or after `wayside-office retention --clock-is-right`"
    )


def trust_clock(office: Office, by: str, *, clock_is_right: bool = False) -> None:
    """Before a round of `by`: leaves the mark. ClockInDoubt, and nothing changed, where the clock is not believed.

    `clock_is_right`: the person `by` has looked.
    """
    now, (boot_id, uptime) = office.clock(), this_boot()
    mark = _load(office.layout.retention_clock)
    confirmed = PERSON if clock_is_right else _confirmed_by(office)
    is_ahead = mark is not None and now > _latest_us(mark)
    if is_ahead and not confirmed:
        raise ClockInDoubt(doubt(office))
    if is_ahead:
        office.audit.record("retention_clock_confirmed", user=by, at_us=now, confirmed_by=confirmed)
    if mark is None or confirmed or now >= mark.at_us:
        believed = now if mark is None or confirmed else min(now, _by_uptime_us(mark, now))
        left = Mark(believed, boot_id, uptime)
        write_atomic(office.layout.retention_clock, canonical_json(asdict(left)), mode=0o600)


def _latest_us(mark: Mark) -> int:
    """What the clock may say now at the latest, Unix µs."""
    return _by_uptime_us(mark, mark.at_us + OFF_US) + NEAR_US


def _by_uptime_us(mark: Mark, after_a_boot_us: int) -> int:
    """The mark's time and the uptime since, Unix µs; `after_a_boot_us` where that is not known."""
    boot_id, uptime = this_boot()
    if boot_id and boot_id == mark.boot_id:
        return mark.at_us + (uptime - mark.uptime_ns) // 1000
    return after_a_boot_us


def _confirmed_by(office: Office) -> str:
    """The device whose sources say the time of our clock; empty where none does."""
    now = office.clock()
    found = (device.device_id for device in all_devices(office) if _confirms(device, now))
    return next(found, "")


def _confirms(device: Device, now_us: int) -> bool:
    if device.heartbeat is None or device.heartbeat_us is None or device.revoked_us is not None:
        return False
    try:
        beat = Heartbeat.decode(device.heartbeat.encode())
    except BadRecord:
        return False
    said = beat.health.get(EYE_TIME)
    if not isinstance(said, int) or len(set(beat.time_sources)) < AGREEING_SOURCES:
        return False
    heard_us = device.heartbeat_us  # by our clock, as it was then
    return max(abs(said - heard_us), abs(now_us - heard_us)) <= NEAR_US


def _load(path: Path) -> Mark | None:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_MARK_BYTES))
        at_us, uptime = operator.index(value["at_us"]), operator.index(value["uptime_ns"])
        return Mark(at_us, str(value["boot_id"]), uptime) if min(at_us, uptime) >= 0 else OLDEST
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return OLDEST
