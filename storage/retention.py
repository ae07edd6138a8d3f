# SPDX-License-Identifier: Apache-2.0
"""Rolling deletion: shares are destroyed first, then the files go, then a signed receipt says so.

Order of writes of a run that deletes:
1. the plan (the receipts' bodies, with numbers and links) replaces `retention.json`,
2. the shares leave the keyring, which is rewritten under a fresh key (the point of no return),
3. the segment files are unlinked, the folders synced,
4. the receipts are signed and appended to `receipts.jsonl`, and entered in the audit log,
5. the receipts are delivered, and the plan is cleared.
A run after a crash finishes the plan that it finds; every step may be done twice. On a full disk the ballast is
released first, and the run begins again.
"""

from __future__ import annotations

import json
import operator
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from storage.atomic import make_folder, write_atomic
from storage.audit import AuditLog
from storage.ballast import BALLAST_BYTES, BALLAST_FILE, Ballast
from storage.believed_time import TimeEvidence, believe, disputed
from storage.errors import (
    FormatError,
    PolicyInvalidError,
    ReceiptInvalidError,
    StateDamagedError,
    StorageError,
    WriteFailedError,
    is_disk_full,
)
from storage.files import OS_FILES, Files, write_all
from storage.keyring import Keyring
from storage.layout import RECEIPTS_FILE, RETENTION_FILE, SEGMENT_SUFFIX
from storage.primitives import canonical_json
from storage.receipts import GENESIS, ErasedSegment, Receipt, ReceiptBody, decode_body, sign_receipt
from storage.recovery import look, measure
from storage.store import Store
from storage.types import EPOCH_US, EpochId, SegmentKind

__all__ = ["Retention", "RetentionPolicy", "TimeEvidence", "expired_epochs", "read_receipts"]

MIN_RETENTION_S = 180
MAX_RETENTION_S = 5 * 366 * 86_400
PERSIST_EVERY_US = 600_000_000  # how far the believed time may run ahead of its file
MAX_PLAN_BYTES = 64 << 20
EXPIRE_EVERY_US = 600_000_000  # believed time between two looks at what else has expired
EPOCHS_A_RUN = 1000  # a longer backlog is worked off in later runs
_NAME = re.compile(r"(\d{1,12})-")


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long reads are kept, and which version of the agency's policy says so."""

    seconds: int
    version: str

    def __post_init__(self) -> None:
        """Raise PolicyInvalidError outside 3 minutes to 5 years."""
        if not MIN_RETENTION_S <= self.seconds <= MAX_RETENTION_S:
            raise PolicyInvalidError(f"retention of {self.seconds} s: it is {MIN_RETENTION_S} s to 5 years")


def expired_epochs(epochs: Iterable[EpochId], now: TimeEvidence, policy: RetentionPolicy) -> list[EpochId]:
    """Epochs whose last possible record is older than the policy even at the earliest time `now` can be."""
    limit_us = now.earliest_us - policy.seconds * 1_000_000
    return sorted(epoch for epoch in set(epochs) if (epoch + 1) * EPOCH_US <= limit_us)


@dataclass(frozen=True, slots=True)
class _State:
    believed_us: int | None
    plan: tuple[ReceiptBody, ...]

    def encode(self) -> bytes:
        return canonical_json({"believed_us": self.believed_us, "plan": [asdict(b) for b in self.plan]})


class Retention:
    """Deletes what has expired in one store; call `run` every few minutes from the process that writes it."""

    def __init__(  # noqa: PLR0913 -- what a deletion touches, named at its one call
        self,
        store_root: Path,
        folder: Path,
        *,
        keyring: Keyring,
        policy: RetentionPolicy,
        signer: EllipticCurvePrivateKey,
        device_id: str,
        audit: AuditLog,
        store: Store | None = None,
        deliver: Callable[[Receipt], object] | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        files: Files = OS_FILES,
        ballast_bytes: int = BALLAST_BYTES,
        expire: Callable[[int], Sequence[str]] | None = None,
    ) -> None:
        """`folder` keeps the receipt chain; `deliver` gets each receipt at least once, before it is done.

        `expire` drops what else was queued before a time (`Spool.expire`); what it dropped is counted in the audit log.
        """
        self._root = store_root
        self._folder = folder
        self._keyring = keyring
        self.policy = policy
        self._signer = signer
        self._device_id = device_id
        self._audit = audit
        self._store = store
        self._deliver = deliver
        self._monotonic_ns = monotonic_ns
        self._files = files
        self._expire = expire
        self._expired_at_us = 0
        self.expired_items = 0
        self.disputed = False
        make_folder(folder)
        self._ballast = Ballast(folder / BALLAST_FILE, ballast_bytes, files=files)
        self._ballast.hold()
        self._state = self._load()
        self._persisted_us = self._state.believed_us
        self._seen_ns: int | None = None

    @property
    def believed_us(self) -> int | None:
        """Lower bound of the time that deletion goes by; None while unknown."""
        return self._state.believed_us

    def run(self, now: TimeEvidence) -> list[Receipt]:
        """Delete what has expired; the receipts, also those of a run that a crash cut off.

        Raises WriteFailedError or KeyringError kinds; the next run then goes on where this one stopped.
        """
        receipts: list[Receipt] = []
        try:
            try:
                self._work(now, receipts)
            except (OSError, StorageError) as error:
                if not (is_disk_full(error) and self._ballast.release()):
                    raise
                self._work(now, receipts)
        except OSError as error:
            raise WriteFailedError(f"deletion stopped in {self._folder}: check the disk") from error
        finally:
            self._ballast.hold()
        return receipts

    def _work(self, now: TimeEvidence, receipts: list[Receipt]) -> None:
        """One run from wherever the last one stopped; adds to `receipts` what is done."""
        receipts += self._carry_out()
        self._advance(now)
        bound = self._state.believed_us
        if bound is None or self.disputed:
            return
        evidence = TimeEvidence(bound, 0, now.sources)
        doomed = expired_epochs(self._held_epochs(), evidence, self.policy)[:EPOCHS_A_RUN]
        if doomed:
            self._plan(doomed, evidence)
        receipts += self._carry_out()
        self._expire_items(bound)

    def _expire_items(self, bound_us: int) -> None:
        if self._expire is None or bound_us - self._expired_at_us < EXPIRE_EVERY_US:
            return
        dropped = len(self._expire(bound_us - self.policy.seconds * 1_000_000))
        if dropped:
            self.expired_items += dropped
            self._audit.append("outbox_expired", {"items": dropped}, at_us=bound_us)
        self._expired_at_us = bound_us

    def _advance(self, now: TimeEvidence) -> None:
        dispute = disputed(self._state.believed_us, now)
        if dispute and not self.disputed:
            ahead_s = ((self._state.believed_us or 0) - now.now_us) // 1_000_000
            self._audit.append("time_disputed", {"ahead_s": ahead_s}, at_us=now.now_us)
        self.disputed = dispute
        seen = self._monotonic_ns()
        elapsed_us = 0 if self._seen_ns is None else max(0, seen - self._seen_ns) // 1000
        newest = max(self._held_epochs(), default=None)
        self._seen_ns = seen
        believed = believe(self._state.believed_us, elapsed_us, now, newest)
        self._state = replace(self._state, believed_us=believed)
        if believed is not None and believed - (self._persisted_us or 0) >= PERSIST_EVERY_US:
            self._save()

    def _held_epochs(self) -> set[EpochId]:
        return set(self._keyring.epochs()) | {epoch for epoch, _ in self._segment_files()}

    def _segment_files(self) -> list[tuple[EpochId, Path]]:
        """Segment files by the epoch in their name, which even a damaged header leaves readable."""
        paths = [
            path for kind in SegmentKind for path in (self._root / kind.value).glob(f"*{SEGMENT_SUFFIX}")
        ]
        named = ((_NAME.match(path.name), path) for path in sorted(paths))
        return [(int(match.group(1)), path) for match, path in named if match]

    def _plan(self, doomed: Sequence[EpochId], now: TimeEvidence) -> None:
        if self._store is not None:
            self._store.close_epochs(doomed)
        by_epoch: dict[EpochId, list[ErasedSegment]] = {epoch: [] for epoch in doomed}
        for epoch, path in self._segment_files():
            if epoch in by_epoch:
                by_epoch[epoch].append(_describe(path))
        n, prev = self._chain_end()
        bodies = []
        for epoch, segments in by_epoch.items():
            body = self._body(n, prev, epoch, segments, now)
            bodies.append(body)
            n, prev = n + 1, body.hash
        self._state = replace(self._state, plan=tuple(bodies))
        self._save()

    def _body(
        self, n: int, prev: str, epoch: EpochId, segments: Sequence[ErasedSegment], now: TimeEvidence
    ) -> ReceiptBody:
        return ReceiptBody(
            device_id=self._device_id,
            n=n,
            prev=prev,
            epoch=epoch,
            erased_us=now.now_us,
            time_sources=now.sources,
            policy_seconds=self.policy.seconds,
            policy_version=self.policy.version,
            root_of_trust=self._keyring.root.name,
            best_effort=self._keyring.root.best_effort,
            segments=tuple(segments),
        )

    def _carry_out(self) -> list[Receipt]:
        plan = self._state.plan
        if not plan:
            return []
        doomed = {body.epoch for body in plan}
        self._keyring.destroy(doomed)
        for epoch, path in self._segment_files():
            if epoch in doomed:
                self._files.unlink(path)
        for kind in SegmentKind:
            if (self._root / kind.value).is_dir():
                self._files.fsync_dir(self._root / kind.value)
        receipts = self._append_receipts(plan)
        if self._deliver is not None:
            for receipt in receipts:
                self._deliver(receipt)
        self._state = replace(self._state, plan=())
        self._save()
        return receipts

    def _append_receipts(self, plan: Sequence[ReceiptBody]) -> list[Receipt]:
        path = self._folder / RECEIPTS_FILE
        self._cut_torn_line(path)
        written = {item.body.n: item for item in read_receipts(path) if item.body.n >= plan[0].n}
        missing = [sign_receipt(body, self._signer) for body in plan if body.n not in written]
        if missing:
            self._append(path, b"".join(receipt.encode() + b"\n" for receipt in missing))
        receipts = [*written.values(), *missing]
        for receipt in receipts:
            self._audit.append("epoch_erased", _audit_fields(receipt), at_us=receipt.body.erased_us)
        return receipts

    def _append(self, path: Path, data: bytes) -> None:
        fd = self._files.append_to(path)
        try:
            write_all(self._files, fd, data)
            self._files.fsync(fd)
        finally:
            self._files.close(fd)
        self._files.fsync_dir(self._folder)

    def _cut_torn_line(self, path: Path) -> None:
        """A line without its newline was never acknowledged: its receipt is written again."""
        data = path.read_bytes() if path.exists() else b""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._files.truncate(path, whole)

    def _chain_end(self) -> tuple[int, str]:
        receipts = read_receipts(self._folder / RECEIPTS_FILE)
        return (receipts[-1].body.n + 1, receipts[-1].body.hash) if receipts else (0, GENESIS)

    def _load(self) -> _State:
        """The state of the last run; a damaged one is set aside, so that deletion goes on without a person."""
        path = self._folder / RETENTION_FILE
        try:
            return _load_state(path)
        except StateDamagedError:
            self._files.replace(path, path.with_name(path.name + ".damaged"))
            self._audit.append("retention_state_set_aside", {})
            return _State(None, ())

    def _save(self) -> None:
        write_atomic(self._folder / RETENTION_FILE, self._state.encode(), files=self._files)
        self._persisted_us = self._state.believed_us


def read_receipts(path: Path) -> list[Receipt]:
    """The receipt chain of a device, oldest first; raises ReceiptInvalidError. A torn last line is left out."""
    data = path.read_bytes() if path.exists() else b""
    receipts = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        try:
            receipts.append(Receipt.decode(line))
        except ReceiptInvalidError as error:
            raise ReceiptInvalidError(f"{path}, line {number}: {error}") from error
    return receipts


def _describe(path: Path) -> ErasedSegment:
    """What a receipt says of a segment file; a damaged one is named all the same."""
    segment_id, kind, size = path.name.removesuffix(SEGMENT_SUFFIX), path.parent.name, path.stat().st_size
    try:
        header, footer, _ = look(path)
        records = footer.footer.records if footer else measure(path).records
    except FormatError:
        return ErasedSegment(segment_id, kind, size, None, "", closed=False)
    return ErasedSegment(segment_id, kind, size, records, header.digest.hex(), closed=footer is not None)


def _audit_fields(receipt: Receipt) -> dict[str, object]:
    body = receipt.body
    return {"epoch": body.epoch, "receipt": body.n, "receipt_hash": body.hash, "segments": len(body.segments)}


def _load_state(path: Path) -> _State:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_PLAN_BYTES))
        believed = None if value["believed_us"] is None else operator.index(value["believed_us"])
        return _State(believed, tuple(decode_body(body) for body in value["plan"]))
    except FileNotFoundError:
        return _State(None, ())
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StateDamagedError(f"{path} is damaged: set it aside; deletion then starts anew") from error
