# SPDX-License-Identifier: Apache-2.0
"""What time it surely is: the lower bound that deletion goes by. Pure; the rules are numbered below.

1. The bound never goes back.
2. It advances with the monotonic clock, less its drift, whatever the wall clock says.
3. A wall clock that is ahead of that by no more than the slack is followed.
4. A wall clock that is further ahead is followed only when two or more sources agree on it.
5. With no bound yet: two sources are followed; one source is followed only up to the end of the newest
   epoch that the store holds. While the store is empty one source makes no bound: a bound never goes back, and
   one that a wrong clock made before the first record would delete every record after it.
6. When two or more sources agree on a time that is behind the bound by more than the slack, the bound is
   disputed: it stands still, and nothing is deleted, until they meet.
"""

from __future__ import annotations

from storage.types import EPOCH_US, EpochId, TimeEvidence

__all__ = ["TimeEvidence", "believe", "disputed"]

SLACK_US = 120_000_000  # a step this small needs no second source
DRIFT_PPM = 500  # the worst crystal that is let through


def believe(
    last_us: int | None, elapsed_us: int, now: TimeEvidence, newest_epoch: EpochId | None
) -> int | None:
    """New lower bound of the time, from the last one and the monotonic time since; None while unknown.

    `elapsed_us` is 0 when it is not known, as after a restart.
    """
    if last_us is None:
        return _first(now, newest_epoch)
    if disputed(last_us, now):
        return last_us
    advanced = last_us + elapsed_us - elapsed_us * DRIFT_PPM // 1_000_000
    if now.earliest_us <= advanced:
        return advanced
    if now.agreed or now.earliest_us <= last_us + elapsed_us + SLACK_US:
        return now.earliest_us
    return advanced


def disputed(bound_us: int | None, now: TimeEvidence) -> bool:
    """Whether agreeing sources say that it is earlier than the bound, slack and uncertainty allowed."""
    latest_us = now.now_us + max(0, now.uncertainty_us)
    return bound_us is not None and now.agreed and latest_us < bound_us - SLACK_US


def _first(now: TimeEvidence, newest_epoch: EpochId | None) -> int | None:
    if now.agreed:
        return now.earliest_us
    if not now.sources or newest_epoch is None:
        return None
    return min(now.earliest_us, (newest_epoch + 1) * EPOCH_US)
