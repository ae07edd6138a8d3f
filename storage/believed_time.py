# SPDX-License-Identifier: Apache-2.0
"""What time it surely is: the lower bound that deletion goes by. Pure; the rules are numbered below.

1. The bound never goes back.
2. It advances with the monotonic clock, less its drift, whatever the wall clock says.
3. A wall clock that is ahead of that by no more than the slack is followed.
4. A wall clock that is further ahead is followed only when two or more sources agree on it.
5. With no bound yet: two sources are followed; one source is followed only up to the end of the newest
   epoch that the store holds (or wholly, when the store is empty: nothing can be deleted early there).
"""

from __future__ import annotations

from storage.types import EPOCH_US, EpochId, TimeEvidence

__all__ = ["TimeEvidence", "believe"]

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
    advanced = last_us + elapsed_us - elapsed_us * DRIFT_PPM // 1_000_000
    if now.earliest_us <= advanced:
        return advanced
    if now.agreed or now.earliest_us <= last_us + elapsed_us + SLACK_US:
        return now.earliest_us
    return advanced


def _first(now: TimeEvidence, newest_epoch: EpochId | None) -> int | None:
    if now.agreed:
        return now.earliest_us
    if not now.sources:
        return None
    if newest_epoch is None:
        return now.earliest_us
    return min(now.earliest_us, (newest_epoch + 1) * EPOCH_US)
