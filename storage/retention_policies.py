# SPDX-License-Identifier: Apache-2.0
"""`policies.json`: the retention policies that hold for a store, each with the document that the agency signed.

Order of writes: the file is replaced whole (`atomic.write_atomic`, the rename is the sole commit point), and only then
is the new policy obeyed. A crash before leaves the old policy, and the document is offered again.

A file that is damaged, or missing while epochs are held, is made anew: the shortest of the policies at hand holds for
every epoch that is held, the newest of them for new ones. `lost` then says so; nothing is kept longer in silence. On a
disk that refuses it, the book holds in memory until `keep` could write it: deletion, which makes room, needs it first.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from storage.atomic import make_folder, write_atomic
from storage.errors import PolicyInvalidError, PolicyRolledBackError, StateDamagedError, is_bad_sector
from storage.files import OS_FILES, Files
from storage.primitives import canonical_json
from storage.retention_schedule import Overtaken, RetentionPolicy, RetentionSchedule, Step
from storage.types import EpochId, epoch_of

MAX_POLICIES_BYTES = 16 << 20
MAX_STEPS = 64  # policies, each longer than the one before, while epochs of the first are still held
MAX_BEGUN_EPOCHS = 100_000  # epochs held when a policy came: over eleven years of hours


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """A policy with the document that says so; `signed` is empty for the policy of the enrolment bundle.

    `overtaken` are shorter ones before it, by number, which who obeys it may have missed.
    """

    policy: RetentionPolicy
    signed: bytes = b""
    overtaken: tuple[Overtaken, ...] = ()


class PolicyBook:
    """The schedule of one store, durable. One writer: the process that deletes."""

    def __init__(self, path: Path, schedule: RetentionSchedule, *, lost: bool, files: Files) -> None:
        self._path = path
        self._files = files
        self._damaged = False  # what lies there has to be set aside first
        self._kept = True
        self.schedule = schedule
        self.lost = lost

    @classmethod
    def open(
        cls,
        path: Path,
        at_hand: Sequence[SignedPolicy],
        held: Collection[EpochId],
        *,
        files: Files = OS_FILES,
    ) -> Self:
        """The schedule on disk; else one from the policies `at_hand`, the bundle's first. Raises OSError of a read."""
        try:
            return cls(path, load_schedule(path), lost=False, files=files)
        except FileNotFoundError:
            book = cls(path, _afresh(at_hand, held), lost=bool(held), files=files)
        except StateDamagedError:
            book = cls(path, _afresh(at_hand, held), lost=True, files=files)
            book._damaged = True
        book._kept = False
        with contextlib.suppress(OSError):
            book.keep()
        return book

    def keep(self) -> None:
        """Write what the disk has not taken yet; raises OSError while it refuses."""
        if not self._kept:
            self._save(self.schedule)

    def take(self, offered: SignedPolicy, held: Collection[EpochId]) -> bool:
        """Obeys a policy: shortened for all, lengthened for epochs that are not held. False when it is in force.

        Raises PolicyRolledBackError for an older number, or for another policy under the number in force,
        PolicyInvalidError after MAX_STEPS lengthenings, OSError.
        """
        policy, newest = offered.policy, self.schedule.newest
        if policy == newest:
            return False
        replaces_bundle = policy.number == newest.number == 0 and not offered.signed
        if policy.number <= newest.number and not replaces_bundle:
            raise PolicyRolledBackError(
                f"retention policy {policy.number} is refused: {newest.number} is in force; sign one with a new number"
            )
        schedule = self.schedule
        for missed in offered.overtaken:
            if missed.policy.number > newest.number:
                last = epoch_of(missed.until_us)
                schedule = schedule.with_overtaken(missed.policy, {epoch for epoch in held if epoch <= last})
        schedule = schedule.with_policy(policy, begun=held, signed=offered.signed).only_for(held)
        if len(schedule.steps) > MAX_STEPS:
            raise PolicyInvalidError(
                f"retention policy {policy.number} is one lengthening too many: shorten first, or wait until hours die"
            )
        self._save(schedule)
        return True

    def _save(self, schedule: RetentionSchedule) -> None:
        make_folder(self._path.parent, files=self._files)
        if self._damaged:
            self._files.replace(self._path, self._path.with_name(self._path.name + ".damaged"))
            self._damaged = False
        write_atomic(self._path, encode_schedule(schedule), files=self._files)
        self.schedule, self._kept = schedule, True


def _afresh(at_hand: Sequence[SignedPolicy], held: Collection[EpochId]) -> RetentionSchedule:
    overtaken = [SignedPolicy(missed.policy) for item in at_hand for missed in item.overtaken]
    shortest = min([*at_hand, *overtaken], key=lambda item: item.policy.seconds)
    newest = max(at_hand, key=lambda item: item.policy.number)
    schedule = RetentionSchedule((Step(shortest.policy, signed=shortest.signed),))
    if newest != shortest:
        schedule = schedule.with_policy(newest.policy, begun=held, signed=newest.signed)
    return schedule.only_for(held)


def encode_schedule(schedule: RetentionSchedule) -> bytes:
    """The file's content: canonical JSON with a SHA-256 over the steps, which tells damage."""
    steps = [
        {
            "seconds": step.policy.seconds,
            "version": step.policy.version,
            "number": step.policy.number,
            "from_epoch": step.from_epoch,
            "begun": _ranges(step.begun),
            "signed": base64.b64encode(step.signed).decode(),
        }
        for step in schedule.steps
    ]
    return canonical_json({"v": 1, "steps": steps, "sha256": _digest(steps)})


def load_schedule(path: Path) -> RetentionSchedule:
    """The schedule of a store; raises FileNotFoundError, StateDamagedError."""
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_POLICIES_BYTES))
        return RetentionSchedule(tuple(_step(step) for step in _as_written(value)))
    except (ValueError, TypeError, KeyError, RecursionError, PolicyInvalidError, binascii.Error) as error:
        raise StateDamagedError(
            f"{path} is damaged: the eye makes it anew at its next start, by the shortest policy at hand"
        ) from error
    except OSError as error:
        if not is_bad_sector(error):
            raise
        raise StateDamagedError(
            f"{path} is on a bad sector: the eye makes it anew at its next start"
        ) from error


def verify_policies(path: Path, policy_of: Callable[[bytes], RetentionPolicy | None]) -> tuple[str, ...]:
    """What is wrong with the policies of a store; `policy_of` a document is None where nobody trusted signed it.

    Empty for a store that has none yet. Never raises on what is in the file.
    """
    try:
        steps = load_schedule(path).steps
    except FileNotFoundError:
        return ()
    except StateDamagedError as error:
        return (str(error),)
    return tuple(
        f"{path}: policy {step.policy.number} is not what the agency signed: ask the office for its newest"
        for step in steps
        if step.signed and policy_of(step.signed) != step.policy
    )


def _as_written(value: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    steps: Sequence[Mapping[str, Any]] = value["steps"]
    if value["v"] != 1 or value["sha256"] != _digest(steps) or not 0 < len(steps) <= MAX_STEPS:
        raise ValueError("not the steps that were written")
    return steps


def _step(value: Mapping[str, Any]) -> Step:
    return Step(
        RetentionPolicy(
            operator.index(value["seconds"]), str(value["version"]), operator.index(value["number"])
        ),
        operator.index(value["from_epoch"]),
        frozenset(_epochs(value["begun"])),
        base64.b64decode(value["signed"], validate=True),
    )


def _digest(steps: object) -> str:
    return hashlib.sha256(canonical_json(steps)).hexdigest()


def _ranges(epochs: Iterable[EpochId]) -> list[list[EpochId]]:
    """Runs of epochs as [first, last]."""
    runs: list[list[EpochId]] = []
    for epoch in sorted(epochs):
        if runs and runs[-1][1] + 1 == epoch:
            runs[-1][1] = epoch
        else:
            runs.append([epoch, epoch])
    return runs


def _epochs(runs: Iterable[Sequence[EpochId]]) -> Iterable[EpochId]:
    left = MAX_BEGUN_EPOCHS
    for first, last in runs:
        left -= last - first + 1
        if last < first or left < 0:
            raise ValueError("a range of epochs is out of bounds")
        yield from range(first, last + 1)
