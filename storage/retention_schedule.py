# SPDX-License-Identifier: Apache-2.0
"""Which retention holds for an epoch. Pure.

A policy is shortened at once and lengthened for new epochs only: for each epoch the least counts of the policy that was
in force when the epoch began and of every later one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from storage.epoch_dates import EpochDates
from storage.errors import PolicyInvalidError
from storage.types import EpochId, TimeEvidence

US_PER_S = 1_000_000
MIN_RETENTION_S = 180  # seconds
MAX_RETENTION_S = 5 * 366 * 86_400  # seconds


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long reads are kept, the agency's name for that policy, and its number, which only grows."""

    seconds: int
    version: str
    number: int = 0

    def __post_init__(self) -> None:
        """Raise PolicyInvalidError outside 3 minutes to 5 years."""
        if not MIN_RETENTION_S <= self.seconds <= MAX_RETENTION_S:
            raise PolicyInvalidError(f"retention of {self.seconds} s: it is {MIN_RETENTION_S} s to 5 years")


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A policy that a longer one followed at `until_us` (Unix µs): whoever missed it still shortens what had begun."""

    policy: RetentionPolicy
    until_us: int


@dataclass(frozen=True, slots=True)
class Step:
    """A policy that came into force: for epochs from `from_epoch` on, but for those that had begun already.

    `signed` is the document that the agency signed; empty for the policy of the enrolment bundle.
    """

    policy: RetentionPolicy
    from_epoch: EpochId = 0
    begun: frozenset[EpochId] = field(default=frozenset())
    signed: bytes = b""

    def began(self, epoch: EpochId) -> bool:
        """Whether an epoch began under this policy, or under a later one."""
        return epoch >= self.from_epoch and epoch not in self.begun


@dataclass(frozen=True, slots=True)
class RetentionSchedule:
    """The policies in the order in which they came into force; never empty."""

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, policy: RetentionPolicy) -> Self:
        """The schedule of an agency that never changed its policy."""
        return cls((Step(policy),))

    @property
    def newest(self) -> RetentionPolicy:
        """The policy for epochs that begin now."""
        return self.steps[-1].policy

    def policy_for(self, epoch: EpochId) -> RetentionPolicy:
        """The policy that an epoch dies by; of equally short ones the newest."""
        shortest = self.newest
        for later, step in zip(reversed(self.steps), reversed(self.steps[:-1]), strict=False):
            if later.began(epoch):
                break
            if step.policy.seconds < shortest.seconds:
                shortest = step.policy
        return shortest

    def seconds_for(self, epoch: EpochId) -> int:
        """How long an epoch is kept after its end, in seconds."""
        return self.policy_for(epoch).seconds

    def version_for(self, epoch: EpochId) -> str:
        """The agency's name for the policy that an epoch dies by."""
        return self.policy_for(epoch).version

    def with_policy(
        self,
        policy: RetentionPolicy,
        from_epoch: EpochId = 0,
        *,
        begun: Iterable[EpochId] = (),
        signed: bytes = b"",
    ) -> Self:
        """As this, and a policy for epochs from `from_epoch` on that are not among `begun`."""
        return replace(self, steps=(*self.steps, Step(policy, from_epoch, frozenset(begun), signed)))

    def with_overtaken(self, policy: RetentionPolicy, begun: Iterable[EpochId]) -> Self:
        """As this, but `begun`, and what began before the newest, die by this one where it is shorter."""
        newest = self.steps[-1]
        if policy.seconds >= newest.policy.seconds:
            return self
        again = replace(newest, begun=newest.begun | frozenset(begun))
        return replace(self, steps=(*self.steps, Step(policy, begun=again.begun), again))

    def only_for(self, held: Iterable[EpochId]) -> Self:
        """The same for epochs that are held and for new ones; forgets what none of them needs."""
        epochs = frozenset(held)
        steps: list[Step] = []
        for step in (replace(step, begun=step.begun & epochs) for step in self.steps):
            # where a later policy is as short, it decides for the epochs of the one before as well
            while steps and steps[-1].policy.seconds >= step.policy.seconds:
                step = replace(step, from_epoch=steps[-1].from_epoch, begun=steps.pop().begun)  # noqa: PLW2901
            steps.append(step)
        while len(steps) > 1 and all(steps[1].began(epoch) for epoch in epochs) and not steps[1].from_epoch:
            del steps[0]
        return replace(self, steps=tuple(steps))


@dataclass(frozen=True, slots=True)
class Calendar:
    """When each epoch dies: after its end, by the policy that holds for it."""

    schedule: RetentionSchedule
    dates: EpochDates = field(default_factory=EpochDates)

    def dies_us(self, epoch: EpochId) -> int:
        """The time at which an epoch is past its retention, Unix µs."""
        return self.dates.ends_us(epoch) + self.schedule.seconds_for(epoch) * US_PER_S


def expired_epochs(epochs: Iterable[EpochId], now: TimeEvidence, calendar: Calendar) -> list[EpochId]:
    """Epochs that are past their retention even at the earliest time `now` can be, in order."""
    return sorted(epoch for epoch in set(epochs) if calendar.dies_us(epoch) <= now.earliest_us)
