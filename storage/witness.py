# SPDX-License-Identifier: Apache-2.0
"""Two audit logs that witness each other: each keeps signed statements of where the other one ended.

Whoever holds a log's own key can cut its end or write it anew. What somebody else noted of it beforehand stays true.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from storage.audit_check import MAX_PROBLEMS
from storage.audit_entry import GENESIS, Checkpoint, read_entries
from storage.errors import AuditError
from storage.primitives import canonical_json

MAX_STATEMENT_CHARS = 1024
EVERY_US = 24 * 3_600_000_000  # between two notes of one log
ODD_EVERY_US = 3_600_000_000  # ... when it contradicts itself: nobody fills a log with contradictions
OF_OFFICE, OF_DEVICE = "office_audit_head", "device_audit_head"  # events: what a device, an office notes
WENT_BACK = "audit_went_back"

Note = Callable[[str, Mapping[str, Any]], None]


def statement(head: Checkpoint) -> str:
    """A signed end as one line of ASCII."""
    return canonical_json(head.as_fields()).decode("ascii")


def read_statement(text: str) -> Checkpoint:
    """What `statement` made, unchecked; raises AuditError."""
    try:
        head = Checkpoint.from_fields(json.loads(text[:MAX_STATEMENT_CHARS]))
    except (ValueError, TypeError, RecursionError) as error:
        raise AuditError("this is no statement of a log's end: it is passed over") from error
    if head.n < -1 or len(head.head) != len(GENESIS):
        raise AuditError("this is no statement of a log's end: it is passed over")
    return head


class Witness:
    """Notes other logs' ends: once a day each, and soon when one contradicts what was seen. Not thread-safe.

    It begins with what `log`, the file that its notes go to, says of them: a restart forgets nothing that was noted.
    """

    def __init__(self, event: str, note: Note, log: Path) -> None:
        self._event = event
        self._note = note
        self._seen = _last_noted(log, event)  # the last statement of each log
        self._noted_us: dict[str, int] = {}

    def saw(self, whose: str, text: str, now_us: int) -> None:
        """Take a statement; raises AuditError for what is none, and what `note` raises: then it is noted later."""
        head = read_statement(text)
        before = self._seen.get(whose, head)
        odd = _contradicts(before, head)
        if abs(now_us - self._noted_us.get(whose, -EVERY_US)) >= (ODD_EVERY_US if odd else EVERY_US):
            if odd:
                self._note(WENT_BACK, {"of": whose, "before": before.as_fields(), "now": head.as_fields()})
            self._note(self._event, {"of": whose, "end": head.as_fields()})
            self._noted_us[whose] = now_us
        elif odd:
            return  # what was seen stays, until this may be noted
        self._seen[whose] = head


def _contradicts(before: Checkpoint, now: Checkpoint) -> bool:
    """Whether a log that only grows cannot have had both ends."""
    shorter = now.n < before.n or (now.n == before.n and now.head != before.head)
    return shorter or now.key_id != before.key_id


def noted(path: Path, event: str, whose: str) -> Iterator[Checkpoint]:
    """What a log notes of another one's ends, also of ends that were gone later; raises OSError, AuditError."""
    for entry in read_entries(path, event, WENT_BACK):
        if entry.fields.get("of") == whose:
            said = entry.fields.get("end" if entry.event == event else "before")
            yield Checkpoint.from_fields(said if isinstance(said, dict) else {})


def _last_noted(path: Path, event: str) -> dict[str, Checkpoint]:
    """The last noted end of each log; what cannot be read was not seen: its own check tells of that."""
    found: dict[str, Checkpoint] = {}
    with contextlib.suppress(OSError):
        for entry in read_entries(path, event):
            whose, said = entry.fields.get("of"), entry.fields.get("end")
            if isinstance(whose, str) and isinstance(said, dict):
                with contextlib.suppress(AuditError):
                    found[whose] = Checkpoint.from_fields(said)
    return found


def compare(path: Path, public_key: EllipticCurvePublicKey, kept: Iterable[Checkpoint]) -> list[str]:
    """Problems of a log against ends that others noted: what is missing or differs. Raises OSError."""
    ends = list(kept)
    strange = {head.n for head in ends if not head.signed_by(public_key)}
    missing = {(head.n, head.head) for head in ends if head.n not in strange and head.n >= 0}
    for entry in read_entries(path):
        missing.discard((entry.n, entry.hash))
    problems = [f"the noted end at entry {n} is not signed by this log's key" for n in sorted(strange)]
    problems += [
        f"entry {n}, which a witness noted, is missing or differs: the end was cut, or the log written anew"
        for n, _ in sorted(missing)
    ]
    return problems[:MAX_PROBLEMS]
