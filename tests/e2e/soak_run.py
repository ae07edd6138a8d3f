# SPDX-License-Identifier: Apache-2.0
"""The eye's real parts through simulated hours of day and night, with faults; frames are thinned to bursts.

Between two bursts the main thread's work goes on each HOP_S: commits, deletion, watchers, state files. One thread does
what three do on the unit, so that simulated time is the same for all of them.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from drivers.errors import CameraLost
from drivers.registry import open_camera
from firmware.config import DeviceConfig
from firmware.enrolled import LIST_BOX
from firmware.ladder import BUDGETS, Rung
from firmware.logs import configure_logs
from firmware.status import own_use
from firmware.wiring import EyeParts
from inference.plates import fold
from provisioning.identity import Identity
from storage.fsck import verify_store
from storage.layout import DataLayout
from storage.spool import Spool
from sync.certificates import public_pem
from sync.enrolment import Retention
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.listfile import ListDocument, sign_list
from sync.hotlists.store import ListStore
from sync.schema import ReadRecord
from tests.provisioning.conftest import FakeAgency, new_key

from .soak_clock import SoakClock

FPS = 15
HOP_S = 15.0
BURST_EVERY_S = 1800.0
BURST_S = 8.0
TURNS_S = 6 * 3600  # a day of six hours, a night of six
RETENTION_S = 4 * 3600
SETTLED_HOURS = 1.0  # from here on memory must not grow
LISTED = ("BX71304", "CK40912", "DV58266")
PLACE = {"lat": 40.3084, "lon": -88.1559}
SAME_PASS_US = 10_000_000  # a read and the vehicle that it is of lie closer together
GNSS_EVERY_S, GNSS_FAULT_S = 3600, 200  # one fault of the receiver an hour
POWER_EVERY = 400  # readings of the supply, a quarter of them with a fault
CAMERA_FAULTS = "fdbu"  # one a burst, in turn: frozen, dark, blinded, unplugged
FAULTY_BURST = 5  # each fifth
WARM_S = 3.0  # of a burst: exposure settles after half an hour without a frame
SEEN_FRAMES = 8  # vehicles that were seen in fewer frames are not scored


def _script(letters: str, every: int, length: int, total: int) -> str:
    """One letter after the other, each `length` steps long in the middle of `every`."""
    before = (every - length) // 2
    after = every - length - before
    blocks = ("." * before + letter * length + "." * after for letter in letters * (total // every + 1))
    return "".join(blocks)[:total]


class Soak:
    """One run; `run` gives the figures."""

    def __init__(self, folder: Path, clock: SoakClock, hours: float) -> None:
        self._folder, self._clock, self._hours = folder, clock, hours
        self._log = (folder / "eye.log").open("w", encoding="utf-8")
        configure_logs("info", "eye", self._log)
        agency, list_key = FakeAgency(), new_key()
        layout = DataLayout(folder / "device")
        identity = Identity.create(layout.identity, "soak")
        bundle = agency.bundle(
            identity.csr(),
            list_keys=(public_pem(list_key.public_key()),),
            retention=Retention(seconds=RETENTION_S, version="4h.1"),
        )
        identity.install(bundle, confirmed_ca=agency.fingerprint)
        layout.run.mkdir(parents=True, exist_ok=True)  # the status socket's folder
        self.parts = EyeParts(self._config(layout.root), None)
        self._install_list(layout, list_key)
        self._camera = open_camera("sim", self.parts.config.camera.options)
        self._stop = threading.Event()
        self._bursts = 0
        self._sound: list[
            tuple[int, int]
        ] = []  # when exposure had settled and no fault was on: from, to (Unix µs)
        self._reads: list[tuple[str, int]] = []
        self._watch_reads()
        self._cpu_s = self._frame_cpu_s = 0.0
        self._road_mb = 0.0  # what the simulated road itself took: no unit has one

    def _config(self, root: Path) -> DeviceConfig:
        seconds = round(self._hours * 3600)
        gnss = _script("grv", GNSS_EVERY_S, GNSS_FAULT_S, seconds)
        readings = round(seconds / HOP_S)  # of the supply, one a hop
        every = min(POWER_EVERY, readings)
        power = _script("hux", every, every // 4, readings)
        camera = {
            "fps": FPS,
            "width": 960,
            "height": 540,
            "every_s": 2.5,
            "day_seconds": TURNS_S,
            "listed": list(LISTED),
            "truth_path": str(self._folder / "truth.jsonl"),
        }
        return DeviceConfig.model_validate(
            {
                "data_dir": root,
                "position": PLACE,
                "camera": {"name": "sim", "options": camera},
                "illuminator": {"name": "sim"},
                "daylight": {"name": "sim"},
                "exposure": {"dwell_s": 1},
                "gnss": {"name": "sim", "options": {**PLACE, "speed_mps": 0.0, "faults": gnss}},
                "power": {"name": "sim", "options": {"battery_v": 13.1, "faults": power}},
                "watchdog": {"name": "sim", "options": {"timeout_s": 3600}},
                "alert_outputs": {"name": "sim"},
            }
        )

    def _install_list(self, layout: DataLayout, key: Any) -> None:
        now_us = self.parts.clock.now_us()
        entries = tuple(ListEntry(f"e{n}", p, "IL", Category.STOLEN_VEHICLE) for n, p in enumerate(LISTED))
        document = ListDocument("leads", 1, now_us, now_us, now_us + 30 * 86_400_000_000, entries)
        store = ListStore(layout.lists, self.parts.keyring.box(LIST_BOX))
        store.install(sign_list(document, key), [key.public_key()], now_us)

    def _watch_reads(self) -> None:
        """Notes what is sealed, on its way into the vault."""
        keep = self.parts.vault.keep_read

        def noted(read: ReadRecord) -> None:
            keep(read)
            self._reads.append((fold(read.text), read.captured_us))

        self.parts.vault.keep_read = noted  # type: ignore[method-assign]

    def run(self) -> dict[str, Any]:
        """The hours, then what they left."""
        settled_mb, next_burst_h = 0.0, 0.0
        while self._clock.hours < self._hours:
            if self._clock.hours >= next_burst_h:
                next_burst_h += BURST_EVERY_S / 3600
                self._burst()
            self._hop()
            if not settled_mb and self._clock.hours >= min(SETTLED_HOURS, self._hours / 2):
                settled_mb = own_use()["rss_mb"] - self._road_mb
        return self._figures(settled_mb)

    def _hop(self) -> None:
        """Fifteen seconds without a frame: what the main thread does then."""
        self._clock.advance(HOP_S)
        stages = self.parts.eye._stages
        stages.camera = stages.inference = time.monotonic()
        self._keep_up()

    def _keep_up(self) -> None:
        begun = time.process_time()
        self.parts.surroundings.place.step()
        self.parts.keeper.work()
        self.parts.eye._stages.sealing_advanced()
        self.parts.eye._commit()
        self.parts.eye._keep_up()
        self._cpu_s += time.process_time() - begun

    def _burst(self) -> None:
        """Traffic as the camera sees it, frame by frame; in some bursts the camera fails."""
        self._bursts += 1
        faulty = self._bursts % FAULTY_BURST == 0
        fault = CAMERA_FAULTS[(self._bursts // FAULTY_BURST) % len(CAMERA_FAULTS)] if faulty else ""
        capture = self.parts.eye.capture
        capture._last_sequence = None  # the frames of half an hour were not taken on purpose
        self.parts.camera_check._pace.begin()
        self._camera._faults = _Always(fault)  # type: ignore[attr-defined]
        begun_us = time.time_ns() // 1000
        if not faulty and self.parts.surroundings.budget == BUDGETS[Rung.FULL]:
            self._sound.append((begun_us + round(WARM_S * 1e6), begun_us + round(BURST_S * 1e6)))
        for number in range(round(BURST_S * FPS)):
            self._clock.advance(1 / FPS)
            self._frame()
            if number % 6 == 0:
                self._keep_up()
        self._camera._faults = _Always("")  # type: ignore[attr-defined]

    def _frame(self) -> None:
        """What the camera and the inference thread do with one frame."""
        eye, light = self.parts.eye, self.parts.light
        light.between(self._camera)
        before_mb = own_use()["rss_mb"]
        try:
            frame = self._camera.capture(1.0)
        except CameraLost as error:
            eye.capture._lost(error)
            return
        assert frame is not None
        self._road_mb += own_use()["rss_mb"] - before_mb
        begun = time.process_time()
        eye.capture._take(light.seen(frame), self._stop)
        taken = eye._queue.get(0.0)
        if taken is not None:
            eye._stages.inference = time.monotonic()
            eye._take(taken)
        self._frame_cpu_s += time.process_time() - begun

    def _figures(self, settled_mb: float) -> dict[str, Any]:
        parts, eye = self.parts, self.parts.eye
        grown_mb = own_use()["rss_mb"] - self._road_mb - settled_mb
        parts.reader.flush()
        eye._tell_acked(parts.vault.close())
        self._camera.close()
        health = parts.health.snapshot()
        status = parts.status()
        parts.close()
        self._log.close()
        layout, frames = parts.layout, max(1, eye._frames)
        found = verify_store(layout.store)
        return {
            "hours": round(self._clock.hours, 2),
            "bursts": self._bursts,
            "frames": eye._frames,
            "reads": parts.reader.reads,
            "hits": parts.alerts.raised,
            "hits_expired": parts.retention.expired_items,
            "hits_spooled": Spool.open(layout.hits_spool).count(),
            "reads_sealed": len(self._reads),
            "records_in_store": found.records,
            "sealed": parts.vault.sealed,
            "records_lost": parts.vault.lost,
            "store_problems": len(found.problems),
            "epochs": status["epochs"],
            "not_well": [part["part"] for part in health if part["condition"] not in ("ok", "absent")],
            "told": {k: n for k, n in parts.ledger.totals().items() if k.startswith("health: ")},
            "memory_grown_mb": round(grown_mb, 1),
            "rss_mb": round(own_use()["rss_mb"] - self._road_mb, 1),
            "road_mb": round(self._road_mb, 1),
            "cpu_ms_per_frame": round(1e3 * self._frame_cpu_s / frames, 1),
            "cpu_s_per_idle_hour": round(self._cpu_s / self._clock.hours, 2),
            "log_bytes": (self._folder / "eye.log").stat().st_size,
            "ledger_bytes": (layout.root / "ledger.json").stat().st_size,
            "audit_bytes": layout.audit.stat().st_size if layout.audit.exists() else 0,
            **self._score(),
        }

    def _score(self) -> dict[str, int]:
        """Vehicles that were seen long enough in sound bursts, and how many of them are among the reads."""
        vehicles = missed = 0
        for line in (self._folder / "truth.jsonl").read_text(encoding="utf-8").splitlines():
            seen = json.loads(line)
            sound = any(a <= seen["first_seen_us"] and seen["last_seen_us"] <= b for a, b in self._sound)
            if not sound or seen["visible_frames"] < SEEN_FRAMES:
                continue
            vehicles += 1
            text, at_us = fold(seen["plate"]), seen["last_seen_us"]
            missed += not any(t == text and abs(at_us - us) <= SAME_PASS_US for t, us in self._reads)
        return {"vehicles": vehicles, "vehicles_missed": missed}


class _Always:
    """A fault that lasts until it is taken away."""

    def __init__(self, letter: str) -> None:
        self._letter = letter or "."

    def at(self, _second: int) -> str:
        return self._letter
