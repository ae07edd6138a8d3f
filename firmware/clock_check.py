# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the time: never set, not confirmed, or contradicted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from firmware.clock import ClockState, DeviceClock, Grade
from firmware.health import Condition, Finding, well
from firmware.lasting import Lasting

UNSET_S: Final = 60.0  # receiver and office need a moment after a start
UNCONFIRMED_S: Final = 900.0
SURE_US: Final = 10_000_000  # vaguer than that, a confirmation is too long ago
JUMPED_S: Final = 30.0
SETTLED_S: Final = 120.0

UNSET = Finding(
    "clock",
    Condition.FAILED,
    "unset",
    "nobody tells the time and the board's clock has lost it: connect the office or a receiver, renew its battery",
)
JUMPED = Finding(
    "clock",
    Condition.DEGRADED,
    "jumped",
    "a source tells another time than the one that was confirmed, which is kept: see who in `wayside status`",
)
UNCONFIRMED = Finding(
    "clock",
    Condition.DEGRADED,
    "unconfirmed",
    "no two sources agree on the time: connect the office, give the receiver a view of the sky",
)


class ClockCheck:
    """Looks at the clock's own state; a battery clock that was wrong from the start is no jump."""

    def __init__(self, clock: DeviceClock, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._monotonic_s = clock, monotonic_s
        self._system_was_right = False
        self._unset = Lasting(UNSET_S, 0.0)
        self._jumped = Lasting(JUMPED_S, SETTLED_S)
        self._unconfirmed = Lasting(UNCONFIRMED_S, 0.0)

    def poll(self) -> list[Finding]:
        """What is to be said of the time now; call it every second or so."""
        state, now_s = self._clock.state(), self._monotonic_s()
        vague = state.grade < Grade.CONFIRMED or state.evidence.uncertainty_us > SURE_US
        unset = self._unset.step(state.grade is Grade.UNSET, now_s)
        jumped = self._jumped.step(self._is_contradicted(state), now_s)
        unconfirmed = self._unconfirmed.step(vague, now_s)
        if unset:
            return [UNSET]
        return [JUMPED if jumped else UNCONFIRMED if unconfirmed else well("clock")]

    def _is_contradicted(self, state: ClockState) -> bool:
        if state.grade < Grade.CLAIMED:
            return False
        self._system_was_right |= "system" in state.evidence.sources or "ntp" in state.evidence.sources
        return any(source != "system" or self._system_was_right for source in state.contradicting)

    def status(self) -> dict[str, object]:
        """For the status socket: `grade`, `uncertainty_us`, `sources`, and who contradicts by how many seconds."""
        state = self._clock.state()
        return {
            "grade": state.grade.name.lower(),
            "uncertainty_us": state.evidence.uncertainty_us,
            "sources": list(state.evidence.sources),
            "contradicting_s": {source: round(us / 1e6, 1) for source, us in state.contradicting.items()},
        }
