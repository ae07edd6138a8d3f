# SPDX-License-Identifier: Apache-2.0
"""The sync service's work: hits first, then heartbeat, receipts, lists, segments; stops when refused (401/403)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from storage.errors import StorageError
from sync.alarms import Alarms
from sync.budget import BudgetLimits, DailyBudget, MeteredTransport, Purpose
from sync.errors import AuthRejected, BadRecord, BadReply, ListError, OverBudget, SyncError, TransportError
from sync.heartbeat import compose
from sync.hotlists.envelope import open_envelope
from sync.hotlists.store import ListStore
from sync.limits import MAX_DOCUMENT_BYTES, WireLimits
from sync.listsync import ListSync, ListSyncReport
from sync.schema import Heartbeat, HeartbeatReply
from sync.segment_push import SegmentPush
from sync.uploader import Backoff, SpoolLike, Uploader, UploadReport, UploadSettings
from sync.wire import AUDIT_HEADER, HEARTBEAT, HITS, RECEIPTS, Transport, expect

log = structlog.get_logger(__name__)
_UPLOAD = UploadSettings()
_BUDGET = BudgetLimits()
_WIRE = WireLimits()


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Who we are and how often we do what."""

    device_id: str
    boot_id: str
    software: str = ""
    poll_s: float = 0.25  # seconds between looks at the spool: a hit leaves within a second
    heartbeat_s: float = 60.0  # seconds
    lists_s: float = 120.0  # seconds between looks at the manifest
    probe_s: float = 900.0  # seconds between heartbeats that ask whether a refusal still stands
    upload: UploadSettings = _UPLOAD
    budget: BudgetLimits = _BUDGET
    budget_path: Path | None = None
    chunk_bytes: int = _WIRE.chunk_bytes


@dataclass(frozen=True, slots=True)
class AgentHooks:
    """How the agent tells the rest of the device. OSError and StorageError are logged, others not expected.

    `document` gets each signed document, verified, and returns whether this device acts on its kind; it raises a
    ListError for one that it refuses.
    """

    alarm: Callable[[str, Mapping[str, Any]], None] = lambda _event, _fields: None
    office_time: Callable[[int, int], None] = lambda _time_us, _uncertainty_us: None
    document: Callable[[str, bytes], bool] = lambda _kind, _signed: False
    health: Callable[[], Mapping[str, Any]] = dict
    find_segment: Callable[[str], Path | None] = lambda _segment_id: None
    audit_end: Callable[[], str] = str
    office_audit_end: Callable[[str], None] = lambda _statement: None


NO_HOOKS = AgentHooks()


@dataclass(slots=True)
class AgentStatus:
    """The agent's state, for `status` and health."""

    link_up: bool = False
    halted: str = ""
    last_contact_us: int | None = None
    hits_sent: int = 0
    hits_set_aside: int = 0  # since the start
    hits_quarantined: int = 0  # lying there now
    receipts_sent: int = 0
    lists_installed: int = 0
    segments_sent: int = 0
    last_error: str = ""
    list_problems: list[tuple[str, str]] = field(default_factory=list)


class SyncAgent:
    """One step does what is due; `run` repeats it. Not thread-safe: one thread drives it."""

    def __init__(
        self,
        config: AgentConfig,
        transport: Transport,
        spool: SpoolLike,
        list_store: ListStore,
        *,
        list_keys: Sequence[ec.EllipticCurvePublicKey],
        receipts: SpoolLike | None = None,
        hooks: AgentHooks = NO_HOOKS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.status = AgentStatus()
        self._hooks = hooks
        self._spool = spool
        self._store = list_store
        self._keys = list_keys
        self._monotonic = monotonic
        self._now_us = 0
        self.budget = DailyBudget(config.budget, config.budget_path)
        links = {
            purpose: MeteredTransport(transport, self.budget, purpose, lambda: self._now_us)
            for purpose in Purpose
        }
        self._heartbeat_link = links[Purpose.HEARTBEAT]
        rng = random.Random()  # noqa: S311 - jitter is no secret
        self._hits = Uploader(
            links[Purpose.HITS], spool, route=HITS, settings=config.upload, rng=rng, monotonic=monotonic
        )
        self._receipts = (
            None
            if receipts is None
            else Uploader(
                links[Purpose.RECEIPTS],
                receipts,
                route=RECEIPTS,
                content_type="application/json",
                settings=config.upload,
                rng=rng,
                monotonic=monotonic,
            )
        )
        self._lists = ListSync(links[Purpose.LISTS], list_store, list_keys)
        self.segments = SegmentPush(
            links[Purpose.SEGMENTS], hooks.find_segment, chunk_bytes=config.chunk_bytes
        )
        self._push_backoff = Backoff(config.upload, rng, monotonic)
        self._alarms = Alarms(self._send_alarm)
        self._requeued = False
        self._started = monotonic()
        self._due = {"heartbeat": self._started, "lists": self._started}

    def step(self, now_us: int) -> AgentStatus:
        """Do what is due; never raises SyncError: what went wrong is in the status and the log."""
        self._now_us = now_us
        self._begin()
        if self.status.halted:
            self._probe(now_us)
            return self.status
        try:
            self._upload()
            self._when_due("heartbeat", self.config.heartbeat_s, lambda: self._heartbeat(now_us))
            self._when_due("lists", self.config.lists_s, lambda: self._sync_lists(now_us))
            self._push_segment()
        except AuthRejected as error:
            self._halt(error)
        return self.status

    def run(self, stop: threading.Event, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        """Step until told to stop."""
        while not stop.is_set():
            self.step(now_us())
            stop.wait(self.config.poll_s)
        self.budget.save()

    def sync_lists_soon(self) -> None:
        """Look at the manifest at the next step (a manual entry was announced)."""
        self._due["lists"] = self._monotonic()

    def _begin(self) -> None:
        """Once, at the first step: what an office refused yesterday it may take today."""
        if self._requeued:
            return
        self._requeued = True
        try:
            if self._store.bind(self._keys):
                self._alarms.once("lists_of_another_agency_forgotten", {})
        except ListError as error:
            self._failed("lists", str(error), down=False)  # the next look at the lists tries again
        for what, uploader in (("hits", self._hits), ("receipts", self._receipts)):
            count = 0 if uploader is None else uploader.requeue()
            if count:
                self._alarms.once("requeued", {"what": what, "count": count})

    def _upload(self) -> None:
        report = self._hits.step()
        self.status.hits_sent += report.acknowledged
        self.status.hits_set_aside += report.set_aside
        self._note_upload(report, "hits")
        if self._receipts is not None and report.wait_s == 0:
            sent = self._receipts.step()
            self.status.receipts_sent += sent.acknowledged
            self._note_upload(sent, "receipts")

    def _note_upload(self, report: UploadReport, what: str) -> None:
        if report.acknowledged:
            self._contact()
        if report.set_aside:
            self._alarms.once("upload_refused_for_good", {"what": what, "count": report.set_aside})
        if report.failed:
            self._failed(what, report.reason)

    def _heartbeat(self, now_us: int) -> None:
        started = self._monotonic()
        beat = self._beat(now_us, started)
        answer = expect(self._heartbeat_link.post(HEARTBEAT, beat.encode(), self._beat_headers()), 200)
        try:
            reply = HeartbeatReply.decode(answer.body)
        except BadRecord as error:
            raise BadReply(str(error)) from None
        round_trip_us = int((self._monotonic() - started) * 1e6)
        self._contact()
        for uploader in (self._hits, self._receipts):
            if uploader is not None:
                uploader.backoff.wake()
        self._tell(
            lambda: self._hooks.office_time(reply.server_time_us + round_trip_us // 2, round_trip_us // 2 + 1)
        )
        if theirs := answer.headers.get(AUDIT_HEADER.lower()):
            self._tell(lambda: self._hooks.office_audit_end(theirs))
        self.segments.request(reply.pull_requests)
        for document in reply.documents:
            self._document(document.kind, document.signed)

    def _beat_headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        ends: list[str] = []
        self._tell(lambda: ends.append(self._hooks.audit_end()))
        if any(ends):
            headers[AUDIT_HEADER] = ends[0]
        return headers

    def _beat(self, now_us: int, started: float) -> Heartbeat:
        ours: dict[str, Any] = {
            "device_id": self.config.device_id,
            "boot_id": self.config.boot_id,
            "software": self.config.software,
            "sent_us": now_us,
            "uptime_s": int(started - self._started),
            "lists": self._store.statuses(now_us),
        }
        try:
            self.status.hits_quarantined = self._spool.quarantined_count()
        except (OSError, StorageError) as error:
            log.error("spool_unreadable", reason=type(error).__name__)
        return compose(ours, self._hooks.health, self.status.hits_quarantined)

    def _document(self, kind: str, signed: bytes) -> None:
        taken: list[bool] = []
        try:
            open_envelope(kind, signed, self._keys, max_bytes=MAX_DOCUMENT_BYTES)
            if not self._tell(lambda: taken.append(self._hooks.document(kind, signed))):
                return
        except ListError as error:
            self._alarms.stand(f"document:{kind}", "document_refused", {"kind": kind, "reason": str(error)})
            return
        if taken == [True]:
            self._alarms.clear(f"document:{kind}")
        else:
            self._alarms.stand(f"document:{kind}", "document_not_supported", {"kind": kind})

    def _sync_lists(self, now_us: int) -> None:
        report: ListSyncReport = self._lists.step(now_us)
        self._contact()
        self.status.lists_installed += len(report.installed)
        if not report.unchanged:
            self.status.list_problems = report.problems
            self._alarms.keep_only("list:", {f"list:{list_id}" for list_id, _ in report.problems})
        for list_id, reason in report.problems:
            fields = {"list_id": list_id, "reason": reason}
            self._alarms.stand(f"list:{list_id}", "hot_list_not_installed", fields)

    def _push_segment(self) -> None:
        if not self.segments.waiting or self._push_backoff.remaining_s() > 0:
            return
        try:
            if self.segments.step() is not None:
                self.status.segments_sent += 1
            self._push_backoff.success()
        except AuthRejected:
            raise
        except SyncError as error:
            self._push_backoff.failure()
            self._failed("segments", str(error))

    def _when_due(self, task: str, every_s: float, work: Callable[[], None]) -> None:
        now = self._monotonic()
        if now < self._due[task]:
            return
        self._due[task] = now + every_s
        try:
            work()
            self._alarms.clear(task)
        except AuthRejected:
            raise
        except (TransportError, ListError) as error:
            if not isinstance(error, TransportError):
                self._alarms.stand(task, f"{task}_refused", {"reason": str(error)})
            # A link that comes back is used soon, without hammering one that is down.
            self._due[task] = now + min(every_s, 15.0)
            self._failed(
                task, str(error), down=isinstance(error, TransportError) and not isinstance(error, OverBudget)
            )

    def _probe(self, now_us: int) -> None:
        if self._monotonic() < self._due["heartbeat"]:
            return
        self._due["heartbeat"] = self._monotonic() + self.config.probe_s
        try:
            self._heartbeat(now_us)
        except SyncError as error:
            self.status.last_error = str(error)
            return
        log.warning("office_accepts_again")
        self.status.halted = ""
        self._alarms.once("office_accepts_again", {})

    def _halt(self, error: AuthRejected) -> None:
        self.status.halted = str(error)
        self.status.link_up = False
        self._due["heartbeat"] = self._monotonic() + self.config.probe_s
        log.error("office_refuses_device", status=error.status)
        self._alarms.once("office_refuses_device", {"status": error.status})

    def _send_alarm(self, event: str, fields: Mapping[str, Any]) -> bool:
        return self._tell(lambda: self._hooks.alarm(event, fields))

    def _tell(self, hook: Callable[[], None]) -> bool:
        """A hook that cannot write (a full disk) must not stop the uploads that would empty it; whether it could."""
        try:
            hook()
        except (OSError, StorageError) as error:
            log.error("hook_failed", reason=type(error).__name__)
            return False
        return True

    def _contact(self) -> None:
        self.status.link_up = True
        self.status.last_contact_us = self._now_us
        self.status.last_error = ""

    def _failed(self, task: str, reason: str, *, down: bool = True) -> None:
        if down:
            self.status.link_up = False
        self.status.last_error = f"{task}: {reason}"
        log.warning("sync_task_failed", task=task, reason=reason)
