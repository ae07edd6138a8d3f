# SPDX-License-Identifier: Apache-2.0
"""Watches the receiver: where each read was made, what time it says, whether the pole still stands.

A thread of its own asks the receiver, so a port that hangs holds up nobody; what others ask is what it last saw.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Self

from drivers.ports import Gnss
from drivers.types import Fix, GnssCounters
from firmware.attended import Attended
from firmware.clock import DeviceClock, TimeOffer
from firmware.gnss_check import GnssCheck
from firmware.health import Condition, Finding
from firmware.track import Place, Track

ASK_EVERY_S: Final = 0.1  # the longer a fix lies in the port, the less sure its time is
OFFER_EVERY_S: Final = 10.0
SILENT_S: Final = 10.0  # a receiver tells every second at least that it has no fix: else its cable is cut
HUNG_S: Final = 10.0  # a receiver's driver never waits: a thread that is away for longer hangs
LONGEST_PAUSE_S: Final = 10.0  # between two tries to open the port
SURVEY_ACCURACY_M: Final = 5.0  # of a place that a technician typed in
NS_PER_S: Final = 1_000_000_000
NS_PER_US: Final = 1_000


class PlaceWatch:
    """Thread-safe. `open_gnss` None: the unit has no receiver. `surveyed`: latitude, longitude of a fixed unit."""

    def __init__(
        self,
        open_gnss: Callable[[], Gnss] | None,
        surveyed: Place | None,
        clock: DeviceClock,
        deployment: str,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock, self._monotonic_ns = clock, monotonic_ns
        self._place = _surveyed(surveyed) if surveyed is not None and deployment == "fixed" else None
        self._receiver = open_gnss and Attended(
            "gnss",
            open_gnss,
            self._look,
            every_s=ASK_EVERY_S,
            longest_pause_s=LONGEST_PAUSE_S,
            monotonic_s=lambda: monotonic_ns() / NS_PER_S,
        )
        self._check = GnssCheck(surveyed, mobile=deployment == "mobile")
        self._lock = threading.Lock()
        self._track = Track()
        self._fix: Fix | None = None
        self._counters = GnssCounters()
        self._heard_ns = monotonic_ns()
        self._offered_ns: int | None = None

    def start(self) -> None:
        """Begins to ask the receiver."""
        if self._receiver is not None:
            self._receiver.start()

    def step(self) -> None:
        """Asks the receiver once, where nobody called `start`."""
        if self._receiver is not None:
            self._receiver.step()

    def close(self) -> None:
        """Ends the thread and gives the port back."""
        if self._receiver is not None:
            self._receiver.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look(self, receiver: Gnss) -> None:
        fix, counters = receiver.fix(), receiver.counters
        with self._lock:
            unmeasured = fix is not None and fix.monotonic_ns is None
            if unmeasured or counters != self._counters:
                self._heard_ns = self._monotonic_ns()
            self._fix, self._counters = fix, counters
            believed = fix is not None and fix.monotonic_ns is not None and self._track.add(fix)
        if fix is not None and believed:
            self._offer(fix)

    def _offer(self, fix: Fix) -> None:
        """Tells the clock what time the receiver says it is."""
        if fix.time_us is None or fix.monotonic_ns is None or fix.time_uncertainty_us is None:
            return
        if self._offered_ns is None or fix.monotonic_ns - self._offered_ns >= OFFER_EVERY_S * NS_PER_S:
            self._offered_ns = fix.monotonic_ns
            self._clock.offer(TimeOffer("gnss", fix.time_us, fix.monotonic_ns, fix.time_uncertainty_us))

    def poll(self) -> list[Finding]:
        """What is to be said of the receiver now; at once, whatever the receiver does. Call it every second."""
        if self._receiver is None:
            return [Finding("gnss", Condition.ABSENT)]
        now_s = self._monotonic_ns() / NS_PER_S
        away = bool(self._receiver.problem) or self._receiver.away_s() > HUNG_S
        with self._lock:
            lost = away or now_s - self._heard_ns / NS_PER_S > SILENT_S
            fix, counters = None if lost else self._fix, self._counters
        return [self._check.look(now_s, lost=lost, fix=fix, counters=counters)]

    def position(self, at_us: int) -> Fix | None:
        """Where the unit was at Unix µs of the device's clock; None when nobody knows.

        A fixed unit was where it was surveyed. Else the fix is interpolated, with its accuracy and age.
        """
        if self._place is not None:
            return self._place
        now_ns = self._monotonic_ns()
        at_ns = now_ns - (self._clock.to_wall_us(now_ns) - at_us) * NS_PER_US
        with self._lock:
            if self._fix is not None and self._fix.monotonic_ns is None:  # a place that nobody measures
                return self._fix
            return self._track.at(at_ns)

    def status(self) -> dict[str, bool | int | float | str | None]:
        """For the status socket and the technician who turns the antenna; no position."""
        problem = "" if self._receiver is None else self._receiver.problem
        with self._lock:
            fix, counters, jumps = None if problem else self._fix, self._counters, self._track.jumps
        away_m = None if fix is None else self._check.distance_m(fix)
        return {
            "fix": fix is not None,
            "satellites": 0 if fix is None else fix.satellites,
            "accuracy_m": None if fix is None else round(fix.accuracy_m, 1),
            "from_survey_m": None if away_m is None else round(away_m, 1),
            "sentences": counters.used,
            "damaged": counters.damaged,
            "jumps": jumps,
            "problem": problem,
        }


def _surveyed(place: Place) -> Fix:
    return Fix(place[0], place[1], 0.0, None, SURVEY_ACCURACY_M, "surveyed")
