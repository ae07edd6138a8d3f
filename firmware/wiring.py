# SPDX-License-Identifier: Apache-2.0
"""The composition root: the only place where parts meet. Everything here opens real things from a configuration."""

from __future__ import annotations

import threading
import uuid
from contextlib import ExitStack

import structlog

from drivers.registry import open_camera
from firmware.alerts import Alerts
from firmware.camera_check import CameraCheck
from firmware.chores import Chores, Pace
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
)
from firmware.eye import Eye
from firmware.health import Finding, Health
from firmware.health_book import book
from firmware.keeper import Keeper
from firmware.ledger import Ledger
from firmware.light import Light
from firmware.matching import Watch
from firmware.patience import Patience
from firmware.policy import match_policy
from firmware.power_watch import request_poweroff
from firmware.reader import Reader
from firmware.records import Origin
from firmware.retention_watch import PolicyWatch, retention_finding
from firmware.sealing import Vault
from firmware.status import hour_words, list_state, own_use
from firmware.surroundings import Surroundings
from firmware.tap import Tap
from firmware.trust_watch import trust_finding
from firmware.watchdog_feed import Feeder
from firmware.wiring_board import light_parts, watchdogs
from inference.models import load_models
from inference.pipeline import Pipeline
from inference.tracker import Tracker
from storage.atomic import remove_old_temps
from storage.audit import AuditLog
from storage.ballast import BALLAST_FILE, Ballast
from storage.errors import StorageError
from storage.giving_way import GivingWay
from storage.layout import DataLayout
from storage.retention import Retention, held_epochs
from storage.spool import Spool
from storage.store import Store
from sync.certificates import load_public_key
from sync.hotlists.store import ListStore

MB = 1_000_000
PERSIST_S = 60.0  # each costs a card some 150 kB (docs/hardware/disk.md), and a crash what was counted since
LOOK_S = 1.0
DEFAULT_FPS = 15.0  # until the camera says how many it gives

log = structlog.get_logger(__name__)


class EyeParts:
    """The eye with everything that it holds; `close` gives it all back."""

    def __init__(self, config: DeviceConfig, tap_fd: int | None) -> None:
        self.config = config
        self.layout = DataLayout(config.data_dir)
        remove_old_temps((self.layout.root, self.layout.identity, self.layout.lists))
        self._enrolment = enrolment_stamp(self.layout)
        who = enrolled(self.layout)
        self.device_id = who.identity.device_id
        self.boot_id = uuid.uuid4().hex
        self.clock = DeviceClock(self.layout.root / "clock.json")
        self.ledger = Ledger(self.layout.root / "ledger.json")
        self.tap = Tap(tap_fd)
        self.audit = AuditLog.open_or_begin(self.layout.audit, who.identity.key)
        self.keeper = Keeper()
        self.health = Health(book(self.ledger, self.audit, config.camera.id, self.keeper))
        self.disk = DiskWatch(self.layout.root)
        self.feeder = Feeder(watchdogs(config))
        self.keyring = open_keyring(config.storage, self.layout, read_only=False)
        self._epochs = self.keyring.epochs()  # as the disk's thread saw them last: to ask may take long
        self.policies = PolicyWatch(
            self.layout,
            who.bundle,
            self.audit,
            lambda: held_epochs(self.layout.store, self.keyring),
        )
        self.vault = self._vault(who)
        self.surroundings = Surroundings(config, self.clock, self._position(who))
        self.alerts = Alerts(
            self.vault,
            self.ledger,
            self.tap,
            self.layout.run / "alerts.json",
            config.eye.realert_s,
            self.surroundings.announcer.hit,
            self.keeper,
        )
        self.watch = self._watch(who)
        self.reader = self._make_reader(who)
        self.camera_check = self._camera_check()
        self.light = Light(config.exposure, light_parts(config))
        self.eye = self._eye()
        self._chores = Chores()
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
            policy=self.policies.schedule.newest,
            signer=who.identity.key,
            device_id=who.identity.device_id,
            audit=self.audit,
            store=store,
            deliver=lambda receipt: receipts.put(receipt.body.hash[:32], receipt.encode(), kind="receipt"),
            expire=hits.expire,
        )
        room = GivingWay(
            self.layout.store,
            audit=self.audit,
            ballast=Ballast(self.layout.retention / BALLAST_FILE),
            store=store,
        )
        return Vault(store, hits, self.retention, who.recipients("hits"), room)

    def _watch(self, who: Enrolled) -> Watch:
        lists = ListStore(self.layout.lists, self.keyring.box(LIST_BOX))
        keys = [load_public_key(pem) for pem in who.bundle.list_keys]
        return Watch(
            lambda: lists.load(keys, now_us=self.clock.now_us()),
            lists.generation,
            match_policy(who.bundle, self.config.match.silent_categories),
            ring_reads=self.config.eye.ring_reads,
            ring_hours=self.config.eye.ring_hours,
            retention_s=lambda: self.policies.schedule.newest.seconds,
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
            later=self.keeper,
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
            keeper=self.keeper,
            look_around=self._keep_looking,
            feed=self.feeder.feed,
            last_word=self.alerts.retry_owed,
            report=self._report,
            disk=self.disk,
            patience=Patience(self.layout.run / "camera-restarts"),
        )

    def _report(self, finding: Finding) -> None:
        self.health.report(finding, self.clock.now_us())

    def _tend(self) -> None:
        """What has to be written now and then, each piece at its own pace and tried by itself; alarms come first."""
        self.alerts.retry_owed()
        if self._polled.due():
            self._chores.do("lists", self._look_at_lists)
        if self._tended.due():
            self._chores.do("policy", lambda: self.retention.obey(self.policies.poll()))
            self._chores.do("deletion", self._delete)
        self._chores.do("keyring", self._look_at_keyring)
        self._chores.do("room", lambda: self.vault.make_room(self.clock.now_us()))
        self._chores.do("camera", self._learn_if_asked)
        if self._persisted.due():
            self._persist()
            self._chores.do("enrolment", self._look_at_enrolment)

    def _look_at_lists(self) -> None:
        self.alerts.raise_all(self.watch.refresh(self.clock.now_us()))

    def _delete(self) -> None:
        offer = read_offer(offer_path(self.layout))
        if offer is not None:
            self.clock.offer(offer)
        self.vault.tend(self.clock.coarse_evidence())

    def _look_at_keyring(self) -> None:
        self._epochs = self.keyring.epochs()

    def _learn_if_asked(self) -> None:
        if learn_path(self.layout).exists():
            learn_path(self.layout).unlink()
            self.camera_check.forget()
            log.info("camera_learns_anew")

    def _look_at_enrolment(self) -> None:
        if enrolment_stamp(self.layout) != self._enrolment:
            self.enrolment_changed = True
            self._stop.set()

    def _keep_looking(self) -> None:
        if self._looked.due():
            self._look_around()

    def _look_around(self) -> None:
        """How place, time and supply are, and what the supply allows."""
        deletion = retention_finding(self.retention, self.policies)
        for finding in (*self.surroundings.poll(), deletion, trust_finding(self.keyring.root)):
            self._report(finding)
        budget = self.surroundings.budget
        self.reader.scenes = budget.scenes
        self.eye.capture.share = budget.frame_share
        self.light.lamp_allowed = budget.ir
        if self.surroundings.empty:
            self._stop.set()

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
            self.alerts.end()
            self._persist()

    def status(self) -> dict[str, object]:
        """For the status socket: counters and states, never a text."""
        epochs = self._epochs
        evidence = self.clock.evidence()
        newest = self.policies.schedule.newest
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
            "oldest_epoch": hour_words(min(epochs)) if epochs else "none",
            "root_of_trust": f"{self.keyring.root.name}{' (best effort)' if self.keyring.root.best_effort else ''}",
            "retention_days": round(newest.seconds / 86_400, 2),
            "retention_policy": newest.version,
            "retention_number": newest.number,
            "outbox_expired": self.retention.expired_items,
            "deletion_late_s": self.retention.late_us // 1_000_000,
            "time_us": evidence.now_us,
            "time_uncertainty_us": evidence.uncertainty_us,
            "time_sources": list(evidence.sources),
            "lists": [list_state(hot, evidence.now_us) for hot in self.watch.lists],
            "ledger": self.ledger.totals(),
        }
