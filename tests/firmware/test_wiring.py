# SPDX-License-Identifier: Apache-2.0
"""The eye as it is put together from a configuration: what its surroundings say reaches camera, reader and lamp."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import PowerUnreadable
from drivers.types import PowerReading
from firmware.config import DeviceConfig
from firmware.enrolled import ask_to_learn, learn_path
from firmware.health import Condition
from firmware.ladder import BUDGETS, Rung
from firmware.power_watch import REQUEST_FILE
from firmware.reopening import Reopening
from firmware.surroundings import PatientPower
from firmware.wiring import EyeParts
from provisioning.identity import Identity
from storage.audit import AuditDamagedError
from storage.layout import DataLayout
from sync.schema import Position
from tests.provisioning.conftest import FakeAgency
from tests.sync.factories import hit_record

PLACE = {"lat": 40.3084, "lon": -88.1559}
FAST = {"commit_interval_ms": 50}


def _parts(folder: Path, **sections: Any) -> EyeParts:
    layout = DataLayout(folder / "device")
    layout.run.mkdir(parents=True)
    agency = FakeAgency()
    identity = Identity.create(layout.identity, "dev-1")
    identity.install(agency.bundle(identity.csr()), confirmed_ca=agency.fingerprint)
    camera = {"name": "sim", "options": {"width": 320, "height": 240}}
    given = {"data_dir": layout.root, "camera": camera, "eye": FAST, **sections}
    return EyeParts(DeviceConfig.model_validate(given), None)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[EyeParts]:
    made = _parts(tmp_path, position=PLACE)
    yield made
    made.close()


def _run(parts: EyeParts, enough: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Runs the eye until frames were read and `enough` of its parts' codes was told; the codes."""
    stop = threading.Event()
    eye = threading.Thread(target=parts.run, args=(stop,))
    eye.start()
    deadline = time.monotonic() + 40.0
    codes: dict[str, str] = {}
    while time.monotonic() < deadline and not (enough(codes) and int(str(parts.eye.rates()["frames"])) > 3):
        time.sleep(0.1)
        codes = {part["part"]: part["code"] for part in parts.health.snapshot()}
    stop.set()
    eye.join()
    return codes


@pytest.mark.timeout(60)
def test_parts_that_are_not_fitted_are_absent_and_the_place_is_the_surveyed_one(parts: EyeParts) -> None:
    _run(parts, lambda codes: {"camera", "gnss", "lamp", "disk"} <= set(codes))
    told = {part["part"]: part["condition"] for part in parts.health.snapshot()}
    assert told["camera"] == told["disk"] == told["eye"] == Condition.OK
    for part in ("gnss", "power", "lamp", "watchdog", "alert_outputs"):
        assert told[part] == Condition.ABSENT
    assert parts.surroundings.position(parts.clock.now_us()) == Position(**PLACE, source="surveyed")
    status = parts.status()
    assert status["place"] == {**PLACE, "accuracy_m": 5.0, "source": "surveyed"}
    assert status["power"] is None
    assert int(str(status["frames"])) > 0


def test_what_the_supply_allows_reaches_reader_camera_and_lamp(
    parts: EyeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rung in (Rung.NO_IR, Rung.FULL):
        monkeypatch.setattr(type(parts.surroundings), "budget", property(lambda _self, r=rung: BUDGETS[r]))
        parts._look_around()
        got = (parts.reader.scenes, parts.eye.capture.share, parts.light.lamp_allowed)
        assert got == ((False, 0.5, False) if rung is Rung.NO_IR else (True, 1.0, True))


@pytest.mark.timeout(60)
def test_an_empty_battery_ends_the_eye_and_asks_to_switch_off(
    parts: EyeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(parts.surroundings), "empty", property(lambda _self: True))
    parts.run(threading.Event())  # ends by itself
    assert (parts.layout.run / REQUEST_FILE).exists()


@pytest.mark.timeout(60)
def test_devices_that_are_missing_stop_nothing(tmp_path: Path) -> None:
    missing = {"port": "/dev/none"}
    parts = _parts(
        tmp_path,
        deployment="mobile",
        gnss={"name": "nmea", "options": missing},
        power={"name": "vedirect", "options": missing},
        illuminator={"name": "gpiod", "options": {"pin": "18"}},
        alert_outputs={"name": "gpiod", "options": {"buzzer_pin": "23"}},
        watchdog={"name": "device", "options": {"path": "/dev/none"}},
    )
    told = _run(parts, lambda codes: codes.get("gnss") == "lost" and bool(codes.get("lamp")))
    parts.close()
    assert told["camera"] == told["eye"] == ""
    assert told["gnss"] == "lost"
    assert told["watchdog"] == "unavailable"
    assert told["lamp"] in ("lost", "busy")
    assert told["alert_outputs"] == "busy"
    assert int(str(parts.eye.rates()["frames"])) > 0
    assert parts.surroundings.position(parts.clock.now_us()) is None


def test_the_camera_learns_anew_when_it_is_asked_to(parts: EyeParts, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[bool] = []
    monkeypatch.setattr(parts.camera_check, "forget", lambda: forgotten.append(True))
    parts._tend()
    ask_to_learn(parts.layout)
    parts._tend()
    parts._tend()
    assert forgotten == [True]
    assert not learn_path(parts.layout).exists()


class Sensors:
    """There at the second try."""

    tries = 0

    def reading(self) -> PowerReading:
        return PowerReading(51.0, undervoltage=False, throttled=False)

    def close(self) -> None:
        """Nothing is held."""


def test_sensors_that_are_not_there_yet_are_unreadable() -> None:
    now = [0.0]

    def opens() -> Sensors:
        if now[0] < 1.0:
            raise PowerUnreadable("no bus")
        return Sensors()

    power = PatientPower(Reopening(opens, monotonic_s=lambda: now[0]))
    with pytest.raises(PowerUnreadable, match="no bus"):
        power.reading()
    now[0] = 1.0
    assert power.reading().temperature_c == 51.0
    power.close()


def test_a_lamp_that_cannot_be_closed_leaves_no_armed_watchdog(
    parts: EyeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    real = parts.feeder.close
    monkeypatch.setattr(parts.light, "close", lambda: 1 // 0)
    monkeypatch.setattr(parts.feeder, "close", lambda: (closed.append("feeder"), real()))
    with pytest.raises(ZeroDivisionError):
        parts.close()
    assert closed == ["feeder"]
    monkeypatch.undo()


@pytest.mark.parametrize(
    "broken", ["watch.refresh", "policies.poll", "vault.tend", "vault.make_room", "camera_check.forget"]
)
def test_a_piece_of_the_disks_work_that_fails_keeps_no_other_from_its_turn(
    parts: EyeParts, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A spoilt audit log stops the making of room: lists are looked at all the same, hits tried, counts kept."""
    done: list[str] = []

    def instead(name: str) -> Callable[..., object]:
        part, call = name.split(".")
        real = getattr(getattr(parts, part), call)

        def work(*args: object) -> object:
            done.append(name)
            if name == broken:
                raise AuditDamagedError("does not end in a whole entry")
            return real(*args)

        return work

    names = [
        *("alerts.retry_owed", "watch.refresh", "policies.poll", "vault.tend", "vault.make_room"),
        *("camera_check.forget", "ledger.persist"),
    ]
    works = {name: instead(name) for name in names}
    for name, work in works.items():
        part, call = name.split(".")
        monkeypatch.setattr(getattr(parts, part), call, work)
    ask_to_learn(parts.layout)
    parts._tend()
    assert set(done) == set(names)
    monkeypatch.undo()


def test_hits_that_are_owed_when_the_eye_closes_are_in_the_ledger(tmp_path: Path) -> None:
    made = _parts(tmp_path)
    made.vault._hits.put = lambda *_, **__: (_ for _ in ()).throw(OSError(5, "EIO"))  # type: ignore[method-assign]
    made.alerts.raise_all([hit_record(hit_id="1" * 32)])
    made.keeper.work()
    made.close()
    kept = json.loads((made.layout.root / "ledger.json").read_text())
    assert sum(hour.get("lost: hits owed at the end", 0) for hour in kept.values()) == 1


def test_the_status_is_given_while_the_keyring_is_being_written_on_a_disk_that_hangs(parts: EyeParts) -> None:
    parts.keyring.share(500_000)
    parts._tend()
    answers: list[object] = []
    asks = threading.Thread(target=lambda: answers.append(parts.status()["oldest_epoch"]), daemon=True)
    with parts.keyring._mutex:  # held by whoever writes it
        asks.start()
        asks.join(3.0)
    assert answers == ["2027-01-15 08:00 UTC"]
