# SPDX-License-Identifier: Apache-2.0
"""Rolling deletion: shares are destroyed first, then the files go, then a signed receipt says so.

Order of writes of a run that deletes:
1. the plan (the receipts' bodies, with numbers and links) replaces `retention.json`,
2. the shares leave the keyring, which is rewritten under a fresh key (the point of no return),
3. the segment files are unlinked, the folders synced,
4. the receipts are signed and appended to `receipts.jsonl`, and entered in the audit log,
5. the receipts are delivered, and the plan is cleared.
A file that the disk does not remove is passed over: its share is gone, so that it opens nothing. The audit log names
it (`segments_not_removed`), and each run tries again. A run after a crash finishes the plan that it finds; every step
may be done twice. On a full disk the ballast is released first, and the run begins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from storage.atomic import make_folder, remove_stray_temps, write_atomic
from storage.audit import AuditLog
from storage.ballast import BALLAST_BYTES, BALLAST_FILE, Ballast
from storage.believed_time import Believed, TimeEvidence, believe
from storage.epoch_dates import SPARE_US
from storage.errors import StateDamagedError, StorageError, WriteFailedError, is_disk_full
from storage.files import OS_FILES, Files
from storage.keyring import Keyring
from storage.layout import RECEIPTS_FILE, RETENTION_FILE, SEGMENT_SUFFIX
from storage.receipt_file import ReceiptFile, read_receipts
from storage.receipts import ErasedSegment, Receipt, ReceiptBody
from storage.retention_files import describe, held_epochs, named_files, segment_files
from storage.retention_schedule import (
    MAX_RETENTION_S,
    MIN_RETENTION_S,
    Calendar,
    RetentionPolicy,
    RetentionSchedule,
    expired_epochs,
)
from storage.retention_state import RetentionState, load_state
from storage.store import Store
from storage.types import EPOCH_US, EpochId, SegmentKind, epoch_of

__all__ = [
    "MAX_RETENTION_S",
    "MIN_RETENTION_S",
    "Retention",
    "RetentionPolicy",
    "TimeEvidence",
    "expired_epochs",
    "held_epochs",
    "read_receipts",
]

PERSIST_ALONE_US = 60_000_000  # how far the believed time may run ahead of its file, which a restart costs
PERSIST_AGREED_US = 600_000_000  # the same while two sources agree: they give it back after a restart
EXPIRE_EVERY_US = 600_000_000  # believed time between two looks at what else has expired
EPOCHS_A_RUN = 1000  # a longer backlog is worked off in later runs
MAX_NAMED = 500  # segments that one entry of the audit log names
Past = Callable[[int], bool]  # whether what was queued at a Unix time (µs) is past its retention


def uptime_ns() -> int:
    """A monotonic clock that goes on while the machine is suspended."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


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
        monotonic_ns: Callable[[], int] = uptime_ns,
        files: Files = OS_FILES,
        ballast_bytes: int = BALLAST_BYTES,
        expire: Callable[[Past], Sequence[str]] | None = None,
    ) -> None:
        """`folder` keeps the receipt chain; `deliver` gets each receipt at least once, before it is done.

        `policy` holds for every epoch until `obey` gives a schedule. `expire` drops what else was queued and is past
        its retention (`Spool.expire`); what it dropped is counted in the audit log.
        """
        self._root = store_root
        self._folder = folder
        self._keyring = keyring
        self.schedule = RetentionSchedule.of(policy)
        self._device_id = device_id
        self._audit = audit
        self._store = store
        self._deliver = deliver
        self._monotonic_ns = monotonic_ns
        self._files = files
        self._expire = expire
        self._expired_at_us = 0
        self.expired_items = 0
        self.late_us = 0
        make_folder(folder, files=files)
        remove_stray_temps(folder, files=files)
        self._receipts = ReceiptFile(folder / RECEIPTS_FILE, signer, files=files)
        self._ballast = Ballast(folder / BALLAST_FILE, ballast_bytes, files=files)
        self._ballast.hold()
        self._state = self._load()
        self._saved = self._state
        self._stuck = self._left_over()  # names of files that the disk did not remove, and nothing opens
        self._held = self._held_epochs()  # at the start
        self._seen_ns: int | None = None
        self._said_us: int | None = None  # what the clock said last, unless that was agreed

    @property
    def believed(self) -> Believed | None:
        """The time that deletion goes by; None while unknown."""
        return self._state.believed

    @property
    def alone_us(self) -> int:
        """How long no two sources have agreed on the time, µs of this unit's running time."""
        believed = self._state.believed
        return 0 if believed is None else believed.bound_us - believed.since_us

    def obey(self, schedule: RetentionSchedule) -> None:
        """From the next run on epochs die by this schedule."""
        self.schedule = schedule

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
        if self._stuck:
            self._unlink(())
        held = self._held_epochs()
        self._advance(now, held)
        if self._state.believed is None:
            return
        evidence = TimeEvidence(self._state.believed.bound_us, 0, now.sources)
        calendar = Calendar(self.schedule, self._state.dates)
        doomed = expired_epochs(held, evidence, calendar)[:EPOCHS_A_RUN]
        if doomed:
            self._plan(doomed, evidence)
        receipts += self._carry_out()
        self._expire_items(evidence.now_us, calendar)

    def _expire_items(self, bound_us: int, calendar: Calendar) -> None:
        if self._expire is None or 0 <= bound_us - self._expired_at_us < EXPIRE_EVERY_US:
            return
        dropped = len(self._expire(lambda queued_us: calendar.dies_us(epoch_of(queued_us)) <= bound_us))
        if dropped:
            self.expired_items += dropped
            self._audit.append("outbox_expired", {"items": dropped}, at_us=bound_us)
        self._expired_at_us = bound_us

    def _advance(self, now: TimeEvidence, held: set[EpochId]) -> None:
        """Moves the believed time on, and notes which epochs are written to without two sources that agree."""
        seen = self._monotonic_ns()
        elapsed_us = 0 if self._seen_ns is None else max(0, seen - self._seen_ns) // 1000
        before = self._state.believed and self._state.believed.after(elapsed_us)
        believed = believe(before, now, min(held, default=None))
        self._tell_if_set_back(before, believed, now)
        written = self._written(now, elapsed_us, held)
        dates = self._state.dates
        if believed is not None:
            then = before if before is not None and now.agreed else believed
            dates = dates.written(written, then.bound_us)
        if believed is not None and now.agreed:
            moved_us = 0 if before is None else believed.bound_us - before.bound_us
            dates = dates.agreed(now.latest_us, moved_us, held)
        dates = dates.only_for(held | written)
        self._seen_ns, self._said_us = seen, None if now.agreed else now.now_us
        self.late_us = max(0, now.earliest_us - believed.bound_us) if believed and now.sources else 0
        self._state = replace(self._state, believed=believed, dates=dates)
        if self._is_due(now):
            self._save()

    def _tell_if_set_back(
        self, before: Believed | None, believed: Believed | None, now: TimeEvidence
    ) -> None:
        if before is not None and believed is not None and believed.bound_us < before.bound_us:
            by_s = (before.bound_us - believed.bound_us) // 1_000_000
            self._audit.append(
                "time_set_back", {"by_s": by_s, "sources": list(now.sources)}, at_us=now.now_us
            )

    def _written(self, now: TimeEvidence, elapsed_us: int, held: set[EpochId]) -> set[EpochId]:
        """Epochs that records since the last look, and until soon after this one, can be in without agreement.

        A leap has two sides. What came before the first look of a process was written by a clock that nobody knows.
        """
        reach_us = min(elapsed_us, EPOCH_US)
        times = [] if self._said_us is None else [self._said_us, self._said_us + reach_us]
        if not now.agreed:
            times += [now.now_us - reach_us, now.now_us, now.now_us + SPARE_US]
        return {epoch_of(at_us) for at_us in times} | (held - self._held if self._seen_ns is None else set())

    def _is_due(self, now: TimeEvidence) -> bool:
        """Whether the state must be written: a restart may not cost more than a minute or so of running time."""
        believed, saved = self._state.believed, self._saved.believed
        if self._state.dates != self._saved.dates or (believed is None) != (saved is None):
            return True
        every_us = PERSIST_AGREED_US if now.agreed else PERSIST_ALONE_US
        return (
            believed is not None
            and saved is not None
            and not 0 <= believed.bound_us - saved.bound_us < every_us
        )

    def _held_epochs(self) -> set[EpochId]:
        files = {epoch for epoch, _, name in named_files(self._root) if name not in self._stuck}
        return files | set(self._keyring.epochs())

    def _left_over(self) -> set[str]:
        """Files without a share that a receipt names already: none of them gets another one."""
        shares = set(self._keyring.epochs())
        names = {name for epoch, _, name in named_files(self._root) if epoch not in shares}
        return names & {f"{name}{SEGMENT_SUFFIX}" for name in self._receipts.segments()} if names else names

    def _plan(self, doomed: Sequence[EpochId], now: TimeEvidence) -> None:
        if self._store is not None:
            self._store.close_epochs(doomed)
        by_epoch: dict[EpochId, list[ErasedSegment]] = {epoch: [] for epoch in doomed}
        for epoch, path in segment_files(self._root):
            if epoch in by_epoch:
                by_epoch[epoch].append(describe(path))
        n, prev = self._receipts.end()
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
        policy = self.schedule.policy_for(epoch)
        return ReceiptBody(
            device_id=self._device_id,
            n=n,
            prev=prev,
            epoch=epoch,
            erased_us=now.now_us,
            time_sources=now.sources,
            policy_seconds=policy.seconds,
            policy_version=policy.version,
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
        self._unlink(doomed)
        receipts = self._receipts.write(plan)
        for receipt in receipts:
            self._audit.append("epoch_erased", _audit_fields(receipt), at_us=receipt.body.erased_us)
        if self._deliver is not None:
            for receipt in receipts:
                self._deliver(receipt)
        self._state = replace(self._state, plan=())
        self._save()
        return receipts

    def _unlink(self, doomed: Collection[EpochId]) -> None:
        """Removes the files of these epochs, and those that could not be removed before."""
        stuck: set[str] = set()
        tried = [
            path for epoch, path in segment_files(self._root) if epoch in doomed or path.name in self._stuck
        ]
        for path in tried:
            try:
                self._files.unlink(path)
            except OSError as error:
                if is_disk_full(error):  # the ballast helps
                    raise
                stuck.add(path.name)
        if doomed or len(stuck) < len(tried):
            for kind in SegmentKind:
                if (self._root / kind.value).is_dir():
                    self._files.fsync_dir(self._root / kind.value)
        self._pass_over(stuck)

    def _pass_over(self, stuck: set[str]) -> None:
        new = sorted(name.removesuffix(SEGMENT_SUFFIX) for name in stuck - self._stuck)
        if new:
            self._audit.append("segments_not_removed", {"segments": new[:MAX_NAMED], "count": len(new)})
        self._stuck = stuck

    def _load(self) -> RetentionState:
        """The state of the last run; a damaged one is set aside, so that deletion goes on without a person."""
        path = self._folder / RETENTION_FILE
        try:
            return load_state(path)
        except StateDamagedError:
            self._files.replace(path, path.with_name(path.name + ".damaged"))
            self._audit.append("retention_state_set_aside", {})
            return RetentionState()

    def _save(self) -> None:
        write_atomic(self._folder / RETENTION_FILE, self._state.encode(), files=self._files)
        self._saved = self._state


def _audit_fields(receipt: Receipt) -> dict[str, object]:
    body = receipt.body
    return {"epoch": body.epoch, "receipt": body.n, "receipt_hash": body.hash, "segments": len(body.segments)}
