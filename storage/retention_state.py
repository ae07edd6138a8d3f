# SPDX-License-Identifier: Apache-2.0
"""`retention.json`: the believed time, the epochs that do not go by their own hour, and the plan under way."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from storage.believed_time import SLACK_US, Believed
from storage.epoch_dates import EpochDates
from storage.errors import StateDamagedError, is_bad_sector
from storage.primitives import canonical_json
from storage.receipts import ReceiptBody, decode_body
from storage.types import EPOCH_US, EpochId

MAX_STATE_BYTES = 64 << 20
MAX_DATED_EPOCHS = 200_000  # that do not go by their own hour; five years are 44,000
_FIRST_FORM = {"believed_us", "plan"}  # before one source was bounded, and hours were dated


@dataclass(frozen=True, slots=True)
class RetentionState:
    """What a run needs of the last one; `plan` holds the receipts' bodies of a deletion that is not finished."""

    believed: Believed | None = None
    dates: EpochDates = field(default_factory=EpochDates)
    plan: tuple[ReceiptBody, ...] = ()

    def encode(self) -> bytes:
        """The file's content, canonical JSON."""
        believed = self.believed
        return canonical_json(
            {
                "believed_us": believed and believed.bound_us,
                "limit_us": believed and believed.limit_us,
                "since_us": believed and believed.since_us,
                "undated": _runs(self.dates.undated),
                "settled": _runs(self.dates.settled),
                "plan": [asdict(body) for body in self.plan],
            }
        )


def load_state(path: Path) -> RetentionState:
    """The state of the last run, an empty one where there is none; raises StateDamagedError."""
    try:
        with path.open("rb") as file:
            return _decode(json.loads(file.read(MAX_STATE_BYTES)))
    except FileNotFoundError:
        return RetentionState()
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError, OverflowError) as error:
        raise StateDamagedError(f"{path} is damaged: set it aside; deletion then starts anew") from error
    except OSError as error:
        if not is_bad_sector(error):
            raise
        raise StateDamagedError(
            f"{path} is on a bad sector: set it aside; deletion then starts anew"
        ) from error


def _decode(value: Mapping[str, Any]) -> RetentionState:
    if set(value) == _FIRST_FORM:  # of a device that was updated: its time and its plan go on
        at_us = value["believed_us"]
        limit_us = at_us and at_us + SLACK_US
        value = {**value, "limit_us": limit_us, "since_us": at_us, "undated": (), "settled": ()}
    return RetentionState(
        believed=None if value["believed_us"] is None else _believed(value),
        dates=EpochDates(undated=_ends(value["undated"]), settled=_ends(value["settled"])),
        plan=tuple(decode_body(body) for body in value["plan"]),
    )


def _believed(value: Mapping[str, Any]) -> Believed:
    return Believed(
        bound_us=operator.index(value["believed_us"]),
        limit_us=operator.index(value["limit_us"]),
        since_us=operator.index(value["since_us"]),
    )


def _runs(ends: Mapping[EpochId, int]) -> list[list[int]]:
    """Runs of epochs that end an hour apart: [first, last, end of the first]. Years of hours are a few of them."""
    runs: list[list[int]] = []
    for epoch, end in sorted(ends.items()):
        if runs and runs[-1][1] + 1 == epoch and end == runs[-1][2] + (epoch - runs[-1][0]) * EPOCH_US:
            runs[-1][1] = epoch
        else:
            runs.append([epoch, epoch, end])
    return runs


def _ends(runs: Iterable[Sequence[int]]) -> dict[EpochId, int]:
    ends: dict[EpochId, int] = {}
    for first, last, end in runs:
        if not 0 <= last - first < MAX_DATED_EPOCHS - len(ends):
            raise ValueError("a run of epochs is out of bounds")
        ends.update((epoch, end + (epoch - first) * EPOCH_US) for epoch in range(first, last + 1))
    return ends
