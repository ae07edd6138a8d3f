# SPDX-License-Identifier: Apache-2.0
"""The composition root: the only place where parts meet. Everything here opens real things from a configuration."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime

import structlog

from drivers.registry import open_camera
from firmware.alerts import Alerts
from firmware.camera_check import CameraCheck
from firmware.clock import DeviceClock, read_offer
from firmware.config import DeviceConfig, PositionConfig
from firmware.disk_watch import DiskWatch
from firmware.enrolled import (
    LIST_BOX,
    Enrolled,
    enrolled,
    enrolment_stamp,
    learn_path,
    offer_path,
    open_keyring,
    retention_policy,
)
from firmware.eye import Eye
from firmware.health import Finding, Health
from firmware.health_book import book
from firmware.ledger import Ledger
from firmware.light import Light
from firmware.matching import Watch
from firmware.patience import Patience
from firmware.policy import match_policy
from firmware.power_watch import request_poweroff
from firmware.reader import Reader
from firmware.records import Origin
from firmware.sealing import Vault
from firmware.status import own_use
from firmware.surroundings import Surroundings
from firmware.tap import Tap
from firmware.watchdog_feed import Feeder
from firmware.wiring_board import light_parts, watchdogs
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.tracker import Tracker
from storage.audit import AuditLog
from storage.errors import StorageError
from storage.layout import DataLayout
from storage.retention import Retention
from storage.spool import Spool
from storage.store import Store
from sync.certificates import load_public_key
from sync.hotlists.listfile import HotList
from sync.hotlists.store import ListStore

MB = 1_000_000
PERSIST_S = 10.0
LOOK_S = 1.0
DEFAULT_FPS = 15.0  # until the camera says how many it gives

log = structlog.get_logger(__name__)


class Pace:
    """Says every so many seconds, and the first time at once, that something is due."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last_s = -every_s

    def due(self) -> bool:
        """Whether it is time; if so, the next time is `every_s` from now."""
        now_s = time.monotonic()
        if now_s - self._last_s < self._every_s:
            return False
        self._last_s = now_s
        return True


class EyeParts:
    """The eye with everything that it holds; `close` gives it all back."""

    def __init__(self, config: DeviceConfig, tap_fd: int | None) -> None:
        self.config = config
        self.layout = DataLayout(config.data_dir)
        self._enrolment = enrolment_stamp(self.layout)
        who = enrolled(self.layout)
        self.device_id = who.identity.device_id
        self.boot_id = uuid.uuid4().hex
        self.clock = DeviceClock(self.layout.root / "clock.json")
        self.ledger = Ledger(self.layout.root / "ledger.json")
        self.tap = Tap(tap_fd)
        self.audit = AuditLog.open(self.layout.audit, who.identity.key)
        self.health = Health(book(self.ledger, self.audit, config.camera.id))
        self.disk = DiskWatch(self.layout.root)
        self.feeder = Feeder(watchdogs(config))
        self.keyring = open_keyring(self.layout, read_only=False)
        self.policy = retention_policy(who.bundle)
        self.vault = self._vault(who)
        self.surroundings = Surroundings(config, self.clock, self._position(who))
        self.alerts = Alerts(
            self.vault,
            self.ledger,
            self.tap,
            self.layout.run / "alerts.json",
            config.eye.realert_s,
            self.surroundings.announcer.hit,
        )
        self.watch = self._watch(who)
        self.reader = self._make_reader(who)
        self.camera_check = self._camera_check()
        self.light = Light(config.exposure, light_parts(config))
        self.eye = self._eye()
        self._tended = Pace(config.eye.retention_poll_s)
        self._polled = Pace(config.eye.list_poll_s)
        self._looked = Pace(LOOK_S)
        self._persisted = Pace(PERSIST_S)
        self._stop = threading.Event()
        self._told: dict[str, int] = {}  # drops that are in the ledger already
        self.enrolment_changed = False

    def _vault(self, who: Enrolled) -> Vault:
        store = Store.open(
            self.layout.store,
            keyring=self.keyring,
            recipients=who.recipients("reads"),
            signer=who.identity.key,
            device_id=who.identity.device_id,
            boot_id=self.boot_id,
        )
        receipts = Spool.open(self.layout.receipts_spool, now_us=self.clock.now_us)
        hits = Spool.open(self.layout.hits_spool, now_us=self.clock.now_us)
        self.retention = Retention(
            self.layout.store,
            self.layout.retention,
            keyring=self.keyring,
            policy=self.policy,
            signer=who.identity.key,
            device_id=who.identity.device_id,
            audit=self.audit,
            store=store,
            deliver=lambda receipt: receipts.put(receipt.body.hash[:32], receipt.encode(), kind="receipt"),
            expire=hits.expire,
        )
        return Vault(store, hits, self.retention, who.recipients("hits"))

    def _watch(self, who: Enrolled) -> Watch:
        lists = ListStore(self.layout.lists, self.keyring.box(LIST_BOX))
        keys = [load_public_key(pem) for pem in who.bundle.list_keys]
        return Watch(
            lambda: lists.load(keys, now_us=self.clock.now_us()),
            lists.generation,
            match_policy(who.bundle, self.config.match.silent_categories),
            ring_reads=self.config.eye.ring_reads,
            ring_hours=self.config.eye.ring_hours,
        )

    def _position(self, who: Enrolled) -> PositionConfig | None:
        """The configured position, else the one that the bundle was issued for."""
        placed = who.bundle.placement.position
        if self.config.position is not None or placed is None:
            return self.config.position
        return PositionConfig(lat=placed.lat, lon=placed.lon)

    def _make_reader(self, who: Enrolled) -> Reader:
        return Reader(
            Pipeline(load_models(threads=self.config.eye.threads)),
            Tracker(),
            self.vault,
            self.watch,
            self.alerts,
            clock=self.clock,
            ledger=self.ledger,
            tap=self.tap,
            origin=Origin(who.identity.device_id, self.config.camera.id),
            settings=self.config.eye,
            place=self.surroundings.position,
        )

    def _camera_check(self) -> CameraCheck:
        return CameraCheck(
            self.layout.root / "camera.bin",
            fps=DEFAULT_FPS,
            live=self.config.camera.name != "replay",
            fixed=self.config.deployment == "fixed",
        )

    def _eye(self) -> Eye:
        camera = self.config.camera
        return Eye(
            lambda: open_camera(camera.name, camera.options),
            self.reader,
            self.vault,
            self.camera_check,
            self.light,
            tap=self.tap,
            settings=self.config.eye,
            lossless=camera.name == "replay",
            tend=self._tend,
            feed=self.feeder.feed,
            last_word=self.alerts.retry_owed,
            report=self._report,
            disk=self.disk,
            patience=Patience(self.layout.run / "camera-restarts"),
        )

    def _report(self, finding: Finding) -> None:
        self.health.report(finding, self.clock.now_us())

    def _tend(self) -> None:
        """What has to be looked after now and then, each at its own pace; deletion first, it also frees space."""
        if self._tended.due():
            offer = read_offer(offer_path(self.layout))
            if offer is not None:
                self.clock.offer(offer)
            self.vault.tend(self.clock.evidence())
        if self._looked.due():
            self._look_around()
        self.alerts.retry_owed()
        if self._polled.due():
            self.alerts.raise_all(self.watch.refresh(self.clock.now_us()))
        if self._persisted.due():
            self._persist()
            if enrolment_stamp(self.layout) != self._enrolment:
                self.enrolment_changed = True
                self._stop.set()

    def _look_around(self) -> None:
        """How place, time and supply are, and what the supply allows."""
        for finding in self.surroundings.poll():
            self._report(finding)
        budget = self.surroundings.budget
        self.reader.scenes = budget.scenes
        self.eye.capture.share = budget.frame_share
        self.light.lamp_allowed = budget.ir
        if self.surroundings.empty:
            self._stop.set()
        if learn_path(self.layout).exists():
            self.camera_check.forget()
            learn_path(self.layout).unlink()
            log.info("camera_learns_anew")

    def _persist(self) -> None:
        """Clock and ledger to disk; a disk that refuses them costs at most these counts."""
        for what, number in {**self.eye.dropped(), **self.surroundings.given_up()}.items():
            if number > self._told.get(what, 0):
                self.ledger.count(
                    self.config.camera.id, self.clock.now_us(), what, number - self._told.get(what, 0)
                )
                self._told[what] = number
        for part in (self.clock, self.ledger, self.camera_check):
            try:
                part.persist()
            except (OSError, StorageError) as error:
                log.error("state_not_saved", part=type(part).__name__, reason=str(error))

    def run(self, stop: threading.Event) -> None:
        """Runs the eye to its end; ends by itself when the device was enrolled anew (`enrolment_changed`)."""
        self._stop = stop
        self.surroundings.start()
        self.eye.run(stop)
        if self.surroundings.empty:
            request_poweroff(self.layout.run)

    def close(self) -> None:
        """Persists what is counted; the watchdog is told last, whatever the others do."""
        with ExitStack() as ends:
            ends.callback(self.feeder.close)
            ends.callback(self.surroundings.close)
            ends.callback(self.light.close)
            self._persist()

    def status(self) -> dict[str, object]:
        """For the status socket: counters and states, never a text."""
        epochs = self.keyring.epochs()
        evidence = self.clock.evidence()
        return {
            "service": "eye",
            "device_id": self.device_id,
            "deployment": self.config.deployment,
            "boot_id": self.boot_id,
            "health": self.health.snapshot(),
            **self.eye.rates(),
            **own_use(),
            "light": self.light.status(),
            **self.surroundings.status(evidence.now_us),
            "disk_free_mb": None if self.disk.free is None else self.disk.free // MB,
            "hits": self.alerts.raised,
            "hits_owed": self.alerts.owed,
            "epochs": len(epochs),
            "oldest_epoch": _hour(min(epochs)) if epochs else "none",
            "root_of_trust": f"{self.keyring.root.name}{' (best effort)' if self.keyring.root.best_effort else ''}",
            "retention_days": round(self.policy.seconds / 86_400, 2),
            "outbox_expired": self.retention.expired_items,
            "time_disputed": self.retention.disputed,
            "time_us": evidence.now_us,
            "time_uncertainty_us": evidence.uncertainty_us,
            "time_sources": list(evidence.sources),
            "lists": [_list_state(hot, evidence.now_us) for hot in self.watch.lists],
            "ledger": self.ledger.totals(),
        }


def _list_state(hot: HotList, now_us: int) -> dict[str, object]:
    document = hot.document
    return {
        "list_id": hot.list_id,
        "version": hot.version,
        "age_s": document.age_s(now_us),
        "stale": document.stale(now_us),
    }


def _hour(epoch: int) -> str:
    """An epoch as a person reads it: the UTC hour."""
    return datetime.fromtimestamp(epoch * 3600, tz=UTC).strftime("%Y-%m-%d %H:00 UTC")
