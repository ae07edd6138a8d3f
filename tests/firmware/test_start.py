# SPDX-License-Identifier: Apache-2.0
"""The eye starts whatever a worn card made of one of its files: a camera that does not start is a dead camera."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from firmware import wiring
from firmware.config import DeviceConfig
from firmware.wiring import EyeParts
from inference.models import load_models
from provisioning.identity import Identity
from storage.layout import DataLayout
from storage.types import TimeEvidence
from tests.provisioning.conftest import FakeAgency

from .disk_rig import T0_US
from .test_bad_disk import mounted, remount

# Without these no device can go on: its name, the agency's word, and the shares. A person has to come.
VITAL = ("identity", "keyring", "trust")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = DataLayout(tmp_path_factory.mktemp("start") / "device")
    layout.run.mkdir(parents=True)
    agency = FakeAgency()
    identity = Identity.create(layout.identity, "dev-1")
    identity.install(agency.bundle(identity.csr()), confirmed_ca=agency.fingerprint)
    parts = _start(layout.root)
    parts.audit.append("something", {})
    parts.vault.tend(TimeEvidence(T0_US, 1000, ("gnss", "office")))
    parts._tend()
    parts.close()
    parts.vault.close()
    (layout.root / "budget.json").write_text("{}")
    return layout.root


def _start(root: Path) -> EyeParts:
    camera = {"name": "sim", "options": {"width": 320, "height": 240}}
    return EyeParts(DeviceConfig.model_validate({"data_dir": root, "camera": camera}), None)


@pytest.fixture(autouse=True)
def models_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real nets, loaded once for all starts."""
    monkeypatch.setattr(wiring, "load_models", _models)


@cache
def _models(threads: int) -> object:
    return load_models(threads=threads)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(3000) + b"\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def torn(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")  # its first page cannot be read: EIO


@pytest.mark.timeout(60)
@pytest.mark.parametrize("harm", [garbage, empty, torn, unreadable], ids=lambda harm: harm.__name__)
def test_one_file_that_a_worn_card_spoilt_stops_no_start(
    sound: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    files = [path.relative_to(sound) for path in sorted(sound.rglob("*")) if path.is_file()]
    spoilt = [place for place in files if place.parts[0] not in VITAL]
    expected = {"audit.jsonl", "clock.json", "ledger.json", "policies.json", "retention.json"}
    assert expected <= {place.name for place in spoilt}
    failed = {}
    for place in spoilt:
        root = tmp_path / "device"
        shutil.copytree(sound, root)
        harm(root / place)
        try:
            parts = _start(root)
            parts.health.report(parts.disk.finding(parts.eye._disk_news()), T0_US)
            parts._tend()
            parts.keeper.work()
            parts.close()
            parts.vault.close()
        except Exception as error:  # noqa: BLE001 -- all are told together
            failed[str(place)] = f"{type(error).__name__}: {error}"
        shutil.rmtree(root)
    assert failed == {}


@pytest.mark.timeout(60)
def test_the_eye_starts_and_reads_on_a_disk_that_is_read_only(sound: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    mounted(disk, "size=512m,mode=700")
    try:
        shutil.copytree(sound, disk / "device")
        remount(disk, "ro")
        parts = _start(disk / "device")
        stop = threading.Event()
        eye = threading.Thread(target=parts.run, args=(stop,))
        eye.start()
        until = time.monotonic() + 30
        while not (parts.eye.rates()["frames"] and parts.health.of("disk")) and time.monotonic() < until:
            time.sleep(0.1)
        stop.set()
        eye.join()
        parts.close()
        found = parts.health.of("disk")
        assert found is not None
        assert found.code == "read_only"
        assert int(str(parts.eye.rates()["frames"])) > 0
        assert parts.eye.rates()["records_lost"] == 0
        del parts, eye
        gc.collect()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
