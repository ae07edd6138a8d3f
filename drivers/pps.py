# SPDX-License-Identifier: Apache-2.0
"""A receiver's pulse at the start of each second, as the kernel's `pps-gpio` stamps it (its driver-api/pps.rst)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from drivers.errors import BadOption

PULSE_UNCERTAINTY_US: Final = 5_000  # the interrupt's latency on a busy board, and the reading of two clocks
NEWEST_NS: Final = 1_500_000_000  # an older pulse belongs to another second
MAX_STAMP_BYTES: Final = 64
STAMP: Final = re.compile(r"(\d{1,12})\.(\d{9})#\d+")


class Pulse:
    """Reads `/sys/class/pps/pps0/assert`: `seconds.nanoseconds#number` of the last pulse, on the system clock."""

    def __init__(
        self,
        path: Path,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._path, self._wall_ns, self._monotonic_ns = path, wall_ns, monotonic_ns

    def last_ns(self) -> int | None:
        """The last pulse on the monotonic clock, None when there was none within the last second and a half."""
        try:
            with self._path.open("rb") as file:
                stamp = STAMP.match(file.read(MAX_STAMP_BYTES).decode("ascii", "replace"))
        except OSError:
            return None
        if stamp is None:
            return None
        age_ns = self._wall_ns() - int(stamp[1]) * 1_000_000_000 - int(stamp[2])
        return self._monotonic_ns() - age_ns if 0 <= age_ns <= NEWEST_NS else None


def open_pulse(path: Path) -> Pulse:
    """The pulse at `path`; raises BadOption where the kernel has none."""
    if not path.exists():
        raise BadOption(f"there is no pulse at {path}: load the pps-gpio overlay, or leave the option out")
    return Pulse(path)
