# SPDX-License-Identifier: Apache-2.0
"""When the last record of an epoch can have been made, where the epoch's own hour cannot be trusted. Pure.

1. While no two sources agree on the time, an epoch that is written to is *undated*: its own hour may be wrong, both
   ways. It counts as ended an hour after it was first met, by the unit's own lower bound of the time (`believed_time`).
2. When two sources agree again and that moves the bound, the undated epochs move with it: they are as young as before.
3. They are then settled: each keeps the end that it got, or the end of its own hour if that is later.
4. An epoch that has not begun by an agreed time was written by a wrong clock: it keeps the end that it got, or counts
   as ended an hour from now, until its hour really comes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from storage.types import EPOCH_US, EpochId

SPARE_US = 300_000_000  # what may be written between two looks
ROUND_US = 600_000_000  # ends are rounded up to this, so that those of hours in a row differ by an hour


def end_us(epoch: EpochId) -> int:
    """The end of an epoch by its own hour, Unix µs."""
    return (epoch + 1) * EPOCH_US


def _begins_after(epoch: EpochId, at_us: int) -> bool:
    return epoch * EPOCH_US > at_us + SPARE_US


@dataclass(frozen=True, slots=True)
class EpochDates:
    """Ends (Unix µs) of epochs that do not go by their own hour: `undated` still move, `settled` do not."""

    undated: Mapping[EpochId, int] = field(default_factory=dict)
    settled: Mapping[EpochId, int] = field(default_factory=dict)

    def ends_us(self, epoch: EpochId) -> int:
        """When its last record was made at the latest."""
        return self.undated.get(epoch, self.settled.get(epoch, end_us(epoch)))

    def written(self, epochs: Iterable[EpochId], bound_us: int) -> Self:
        """Rule 1: these are written to now, at the lower bound `bound_us`. Itself when nothing changes."""
        end = -(-(bound_us + EPOCH_US + 2 * SPARE_US) // ROUND_US) * ROUND_US
        met = [epoch for epoch in epochs if self.undated.get(epoch, 0) < bound_us + SPARE_US]
        if not met:
            return self
        return replace(self, undated={**self.undated, **dict.fromkeys(met, end)})

    def agreed(self, at_us: int, moved_us: int, held: Collection[EpochId]) -> Self:
        """Rules 2 to 4: two sources agree that it is at most `at_us`, which moves the bound by `moved_us`."""
        ends = {**self.settled, **{epoch: end + moved_us for epoch, end in self.undated.items()}}
        for epoch in held:
            if _begins_after(epoch, at_us):
                ends.setdefault(epoch, at_us + EPOCH_US)
        settled = {
            epoch: end for epoch, end in ends.items() if end > end_us(epoch) or _begins_after(epoch, at_us)
        }
        return replace(self, undated={}, settled=settled)

    def only_for(self, epochs: Collection[EpochId]) -> Self:
        """Forgets every other epoch."""
        return replace(
            self,
            undated={epoch: end for epoch, end in self.undated.items() if epoch in epochs},
            settled={epoch: end for epoch, end in self.settled.items() if epoch in epochs},
        )
