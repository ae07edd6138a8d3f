# SPDX-License-Identifier: Apache-2.0
"""Composes the sync service: the wire to the office, the pull service, and nothing that could open a read."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import structlog

from drivers.registry import open_modem
from firmware.clock import DeviceClock, TimeOffer, write_offer
from firmware.config import DeviceConfig
from firmware.enrolled import (
    LIST_BOX,
    enrolled,
    enrolment_stamp,
    offer_path,
    open_keyring,
    open_service_watchdog,
)
from firmware.health import Change, Health
from firmware.health_book import book, device_health
from firmware.ledger import Ledger
from firmware.link_check import LinkCheck
from firmware.retention_watch import CalendarReader
from firmware.status import ask, own_use
from firmware.wiring_board import opener
from storage.audit import AuditLog
from storage.layout import DataLayout
from storage.recovery import list_segments
from storage.retention_schedule import expired_epochs
from storage.spool import Spool
from storage.witness import OF_OFFICE, Witness, statement
from sync.agent import AgentConfig, AgentHooks, SyncAgent
from sync.budget import BudgetLimits
from sync.certificates import load_public_key
from sync.hotlists.store import ListStore
from sync.pull import PullService, TlsFiles
from sync.retention_document import KIND as RETENTION
from sync.retention_document import PolicyOffer
from sync.transport import HttpsTransport

TICK_S = 1.0
STOP_WAIT_S = 10.0
MB = 1_000_000

log = structlog.get_logger(__name__)


class SyncParts:
    """The agent and the pull service of an enrolled device. Opens the keyring read-only: shares, never keys."""

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        self.layout = DataLayout(config.data_dir)
        self._enrolment = enrolment_stamp(self.layout)
        self.enrolment_changed = False
        self._failure: BaseException | None = None
        who = enrolled(self.layout)
        self.device_id = who.identity.device_id
        self.clock = DeviceClock(self.layout.root / "clock.json")
        self.keyring = open_keyring(config.storage, self.layout, read_only=True)
        self.audit = AuditLog.open_or_begin(self.layout.audit, who.identity.key)
        self._witness = Witness(OF_OFFICE, self._audited, self.layout.audit)
        self.hits = Spool.open(self.layout.hits_spool, now_us=self.clock.now_us)
        self.receipts = Spool.open(self.layout.receipts_spool, now_us=self.clock.now_us)
        self._calendar = CalendarReader(self.layout, who.bundle)
        list_keys = [load_public_key(pem) for pem in who.bundle.list_keys]
        self._policies = PolicyOffer(self.layout.policy_offer, list_keys, who.bundle.retention.number)
        files = who.identity.tls_files()
        self._transport = HttpsTransport(who.bundle.office_url, files.certificate, files.key, files.ca)
        self.agent = SyncAgent(
            self._agent_config(),
            self._transport,
            self.hits,
            ListStore(self.layout.lists, self.keyring.box(LIST_BOX)),
            list_keys=list_keys,
            receipts=self.receipts,
            hooks=self._hooks(),
        )
        self.pull = PullService(
            config.sync.pull_bind,
            config.sync.pull_port,
            TlsFiles(files.certificate, files.key, files.ca),
            self.layout.store,
            self.keyring.peek,
            self._audited,
            device_id=self.device_id,
            in_retention=self._in_retention,
        )
        self.ledger = Ledger(self.layout.root / "ledger-sync.json")
        self._book = book(self.ledger, self.audit, "sync")
        self.health = Health(self._note)
        self.link_check = LinkCheck(opener(config.modem, open_modem))
        self._watchdog = open_service_watchdog()

    def _agent_config(self) -> AgentConfig:
        sync = self.config.sync
        return AgentConfig(
            device_id=self.device_id,
            boot_id=uuid.uuid4().hex,
            software=metadata.version("wayside"),
            poll_s=sync.upload_s,
            heartbeat_s=sync.heartbeat_s,
            lists_s=sync.lists_s,
            budget=BudgetLimits(day_bytes=int(sync.daily_budget_mb * MB)),
            budget_path=self.layout.root / "budget.json",
        )

    def _hooks(self) -> AgentHooks:
        return AgentHooks(
            alarm=self._audited,
            office_time=self._office_time,
            document=self._document,
            health=self._health,
            find_segment=self._find_segment,
            audit_end=lambda: statement(self.audit.signed_head(at_us=self.clock.now_us())),
            office_audit_end=lambda text: self._witness.saw("office", text, self.clock.now_us()),
        )

    def _in_retention(self, epoch: int) -> bool:
        """A share past its time is not handed out, even where its deletion is still to come."""
        return not expired_epochs([epoch], self.clock.evidence(), self._calendar.now())

    def _document(self, kind: str, signed: bytes) -> bool:
        """Leaves a retention policy for the eye; no other kind of document is acted on."""
        if kind != RETENTION:
            return False
        self._policies.put(signed)
        return True

    def _audited(self, event: str, fields: Mapping[str, Any]) -> None:
        self.audit.append(event, fields, at_us=self.clock.now_us())

    def _note(self, change: Change) -> None:
        """Changes are rare: each is on disk before it is forgotten."""
        self._book(change)
        try:
            self.ledger.persist()
        except OSError as error:
            log.error("state_not_saved", part="Ledger", reason=str(error.strerror))

    def _office_time(self, at_us: int, uncertainty_us: int) -> None:
        offer = TimeOffer("office", at_us, time.monotonic_ns(), uncertainty_us)
        self.clock.offer(offer)
        try:
            write_offer(offer_path(self.layout), offer)
        except OSError as error:
            log.warning("office_time_not_kept", reason=str(error.strerror))

    def _health(self) -> Mapping[str, Any]:
        """Health for the heartbeat: counters and states of the eye, what waits, what was seen and not read."""
        eye = ask(self.layout.root, "eye")
        return {
            "waiting": {"hits": self.hits.count(), "receipts": self.receipts.count()},
            **device_health(eye, self.health.snapshot(), self.ledger.totals()),
        }

    def _find_segment(self, segment_id: str) -> Path | None:
        """The file of a closed segment; one that still grows is pulled later."""
        found = (info for info in list_segments(self.layout.store) if info.segment_id == segment_id)
        return next((info.path for info in found if info.closed), None)

    @property
    def pull_port(self) -> int:
        """Where the pull service listens."""
        return self.pull.port

    def run(self, stop: threading.Event) -> None:
        """Runs agent and pull service until stopped; ends by itself when the agent's thread dies, or after a new
        enrolment.
        """
        self.pull.start()
        self.link_check.start()
        agent = threading.Thread(target=self._drive, args=(stop,), name="agent", daemon=True)
        agent.start()
        while agent.is_alive():
            self._watchdog.feed()
            for finding in self.link_check.poll():
                self.health.report(finding, self.clock.now_us())
            if enrolment_stamp(self.layout) != self._enrolment:
                self.enrolment_changed = True
                stop.set()
            agent.join(TICK_S)
        if self._failure is not None:
            raise self._failure

    def _drive(self, stop: threading.Event) -> None:
        try:
            self.agent.run(stop, self.clock.now_us)
        except BaseException as error:  # noqa: BLE001 -- carried to the service's edge, which ends with it
            self._failure = error

    def close(self) -> None:
        """Closes the port and the connection."""
        self.pull.stop()
        self.link_check.close()
        self._transport.close()
        self._watchdog.close()

    def status(self) -> dict[str, object]:
        """For the status socket."""
        status = self.agent.status
        return {
            "service": "sync",
            **own_use(),
            "health": self.health.snapshot(),
            "modem": None if self.config.modem.name == "none" else self.link_check.status(),
            "link": status.halted or ("up" if status.link_up else "down"),
            "last_contact_us": status.last_contact_us,
            "waiting": self.hits.count(),
            "uploaded": status.hits_sent,
            "set_aside": self.hits.quarantined_count(),
            "receipts_waiting": self.receipts.count(),
            "lists": status.lists_installed,
            "list_problems": [reason for _, reason in status.list_problems],
            "pull_port": self.pull.port,
            "last_error": status.last_error,
        }
