# SPDX-License-Identifier: Apache-2.0
"""What time it surely is: the lower bound that deletion goes by. Pure; the rules are numbered below.

1. The bound advances with the monotonic clock, less its drift, whatever the wall clock says.
2. What two or more sources agree on is followed at once: forward, and back where the bound is ahead of it by more than
   the slack. Nothing else sets the bound back.
3. One source is followed forward only up to the limit: the slack after the time that was last agreed, and what the
   monotonic clock, with its drift, has added since. A source that lies a little at each look wins no more than that.
4. With no bound yet, what the clock says is followed only up to the end of the oldest epoch that the store holds: the
   same clock may have named the newer ones. While the store is empty it makes no bound: one that a wrong clock made
   before the first record would delete what follows.
5. The time without power counts only once two sources agree again: until then deletion is late by it, never early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from storage.types import EPOCH_US, EpochId, TimeEvidence

__all__ = ["Believed", "TimeEvidence", "believe"]

SLACK_US = 120_000_000  # what one source may win in all since the time was last agreed
DRIFT_PPM = 500  # the worst crystal that is let through
PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Believed:
    """Unix µs: the lower bound, how far one source may take it, and since when it goes on alone.

    `since_us` is the bound when two sources last agreed, or when it was first made.
    """

    bound_us: int
    limit_us: int
    since_us: int

    def after(self, elapsed_us: int) -> Believed:
        """The same when the monotonic clock has advanced; `elapsed_us` 0 when it is not known, as after a restart."""
        drift_us = elapsed_us * DRIFT_PPM // PPM
        bound = self.bound_us + elapsed_us - drift_us
        return replace(self, bound_us=bound, limit_us=self.limit_us + elapsed_us + drift_us)


def believe(last: Believed | None, now: TimeEvidence, oldest: EpochId | None) -> Believed | None:
    """What is believed after the clock said `now`, from what was believed just before; None while unknown.

    `oldest` is the oldest epoch that the store holds.
    """
    at_us = now.earliest_us
    if now.agreed:
        return _agreed(last, now)
    if last is None:
        return None if oldest is None else _alone(min(at_us, (oldest + 1) * EPOCH_US))
    if last.bound_us < at_us <= last.limit_us:
        return replace(last, bound_us=at_us)
    return last


def _agreed(last: Believed | None, now: TimeEvidence) -> Believed:
    if last is None or now.earliest_us > last.bound_us or now.latest_us < last.bound_us - SLACK_US:
        bound = now.earliest_us
    else:
        bound = last.bound_us
    return Believed(bound, bound + SLACK_US, bound)


def _alone(bound_us: int) -> Believed:
    return Believed(bound_us, bound_us + SLACK_US, bound_us)
