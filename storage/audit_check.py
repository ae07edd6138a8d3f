# SPDX-License-Identifier: Apache-2.0
"""The check of an audit log, offline: hashes, numbers, signatures, and a checkpoint that was kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from storage.audit_entry import CHECKPOINT, GENESIS, MAX_LINE_BYTES, AuditEntry, Checkpoint, parse_entry
from storage.errors import AuditError

MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check of a log found. `unsigned`: entries after the last good checkpoint."""

    entries: int
    head: str
    checkpoints: int
    unsigned: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems


def verify_audit(
    path: Path, public_key: EllipticCurvePublicKey | None = None, *, checkpoint: Checkpoint | None = None
) -> AuditReport:
    """Check a whole log offline, line by line; a checkpoint kept elsewhere shows a cut tail.

    Raises AuditError when the file cannot be opened; everything else is a problem in the report.
    """
    check = _Check(public_key, checkpoint)
    try:
        file = path.open("rb")
    except OSError as error:
        raise AuditError(f"cannot read {path}: check the path") from error
    with file:
        try:
            while (line := file.readline(MAX_LINE_BYTES)) and check.take(line):
                pass
        except OSError:
            check.unreadable()
    return check.report()


class _Check:
    """Running state of a verification."""

    def __init__(self, public_key: EllipticCurvePublicKey | None, checkpoint: Checkpoint | None) -> None:
        self._public_key = public_key
        self._expected = checkpoint
        self._seen_expected = checkpoint is not None and (checkpoint.n, checkpoint.head) == (-1, GENESIS)
        self._line = 0
        self._n = 0
        self._head = GENESIS
        self._checkpoints = 0
        self._signed_to = 0
        self._problems: list[str] = []

    def take(self, line: bytes) -> bool:
        """Check one line; False when going on makes no sense."""
        self._line += 1
        raw = line.removesuffix(b"\n")
        entry = parse_entry(raw)
        if entry is None or raw == line:
            what = "is cut" if raw == line else "is no entry"
            return self._problem(f"line {self._line} {what}: the log was edited or its last write was torn")
        if entry.n != self._n or entry.prev != self._head:
            self._problem(f"line {self._line} does not follow the one before: edited, removed or inserted")
        if entry.event == CHECKPOINT:
            self._check_signature(entry)
        self._n, self._head = entry.n + 1, entry.hash
        if self._expected is not None and entry.n == self._expected.n:
            self._seen_expected = entry.hash == self._expected.head
        return len(self._problems) < MAX_PROBLEMS

    def unreadable(self) -> None:
        """The disk gave an error instead of the next line."""
        self._problem(
            f"the disk cannot read line {self._line + 1} and what follows it: copy the disk, replace it"
        )

    def report(self) -> AuditReport:
        """The finished report."""
        if self._expected is not None:
            self._check_expected(self._expected)
        unsigned = self._n - self._signed_to
        return AuditReport(self._n, self._head, self._checkpoints, unsigned, tuple(self._problems))

    def _check_expected(self, expected: Checkpoint) -> None:
        if self._public_key is not None and not expected.signed_by(self._public_key):
            self._problem("the given checkpoint is not signed by this key: get the right one")
        elif not self._seen_expected:
            self._problem(f"entry {expected.n} of the checkpoint is missing or differs: cut or rewritten")

    def _check_signature(self, entry: AuditEntry) -> None:
        try:
            checkpoint = Checkpoint.from_fields(entry.fields)
        except AuditError:
            self._problem(f"entry {entry.n} is a malformed checkpoint")
            return
        if (checkpoint.n, checkpoint.head, checkpoint.at_us) != (entry.n - 1, entry.prev, entry.at_us):
            self._problem(f"checkpoint at entry {entry.n} is of another log or was moved")
        elif self._public_key is not None and not checkpoint.signed_by(self._public_key):
            self._problem(f"checkpoint at entry {entry.n} is not signed by this key")
        else:
            self._checkpoints += 1
            self._signed_to = entry.n + 1

    def _problem(self, text: str) -> bool:
        self._problems.append(text)
        return False
