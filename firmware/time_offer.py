# SPDX-License-Identifier: Apache-2.0
"""What another source says the time is, and how one service hands it to another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.atomic import write_atomic

DRIFT_PPM: Final = 100  # of a board's crystal in frost and heat; deletion counts with a worse one
PPM: Final = 1_000_000
NS_PER_US: Final = 1_000
BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class TimeOffer:
    """What another source said the time was, and when on the monotonic clock it said so."""

    source: str
    at_us: int
    monotonic_ns: int
    uncertainty_us: int

    def at(self, monotonic_ns: int) -> int:
        """What the source would say at another moment, Unix µs."""
        return self.at_us + (monotonic_ns - self.monotonic_ns) // NS_PER_US

    def doubt_at(self, monotonic_ns: int) -> int:
        """How far off that may be, µs: the crystal has drifted since."""
        return self.uncertainty_us + drifted(self.monotonic_ns, monotonic_ns)


def drifted(from_ns: int, to_ns: int) -> int:
    """How far the crystal may have drifted between two moments, µs."""
    return (to_ns - from_ns) // NS_PER_US * DRIFT_PPM // PPM


def boot_id() -> str:
    """Names this boot of the machine: offers of an earlier boot have another monotonic clock."""
    try:
        return BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def write_offer(path: Path, offer: TimeOffer) -> None:
    """How the sync service hands the office's time to the eye (both share the machine's monotonic clock)."""
    document = {
        "source": offer.source,
        "at_us": offer.at_us,
        "monotonic_ns": offer.monotonic_ns,
        "boot": boot_id(),
    }
    write_atomic(path, json.dumps({**document, "uncertainty_us": offer.uncertainty_us}).encode())


def read_offer(path: Path) -> TimeOffer | None:
    """The offer in `path`, or None where there is none, it is of another boot, or it is damaged."""
    try:
        raw = json.loads(path.read_bytes())
        if raw["boot"] != boot_id():
            return None
        return TimeOffer(
            str(raw["source"]), int(raw["at_us"]), int(raw["monotonic_ns"]), int(raw["uncertainty_us"])
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
