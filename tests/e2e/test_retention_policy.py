# SPDX-License-Identifier: Apache-2.0
"""A retention policy from the office's command to the key that dies on the unit, over the real wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backoffice import cli, devices
from backoffice.office import Office, create
from backoffice.retention_policy import newest, obeyed
from backoffice.server import OfficeServer, Ports
from backoffice.settings import Settings
from firmware.config import DeviceConfig
from firmware.status import StatusServer, socket_path
from firmware.wiring import EyeParts
from firmware.wiring_sync import SyncParts
from provisioning.identity import Identity
from storage.layout import DataLayout
from storage.retention_schedule import RetentionPolicy
from storage.types import EPOCH_US, SegmentKind, TimeEvidence, epoch_of
from sync.enrolment import verify_bundle

LIMIT_S = 20.0


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    create(tmp_path / "office", Settings(agency="Prairie Town PD"), time.time_ns() // 1000)
    opened = Office.open(tmp_path / "office")
    yield opened
    opened.close()


def enrol(office: Office, url: str, folder: Path) -> DeviceConfig:
    layout = DataLayout(folder / "device")
    layout.run.mkdir(parents=True)
    identity = Identity.create(layout.identity, "pole-1")
    _, bundle = devices.enrol(office, identity.csr(), devices.Enrolment(url))
    identity.install(bundle, confirmed_ca=verify_bundle(bundle).ca_fingerprint)
    camera = {"name": "sim", "options": {"width": 320, "height": 240}}
    fast = {"heartbeat_s": 1, "pull_port": 0}
    return DeviceConfig.model_validate({"data_dir": layout.root, "camera": camera, "sync": fast})


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def seen(office: Office, latest: RetentionPolicy) -> bool:
    told = obeyed(devices.get_device(office, "pole-1").heartbeat, latest)
    return told is not None and told.newest


def test_a_policy_reaches_the_keys_of_the_unit_and_the_office_sees_that_it_did(
    office: Office, tmp_path: Path
) -> None:
    server = OfficeServer(office, Ports(device_port=0, page_port=0))
    config = enrol(office, server.start()["device_url"], tmp_path)
    eye, sync, stop = EyeParts(config, None), SyncParts(config), threading.Event()
    status = StatusServer(socket_path(config.data_dir, "eye"), eye.status)
    agent = threading.Thread(target=sync.run, args=(stop,))
    agent.start()
    try:
        now = eye.clock.now_us()
        old, young = now - 40 * EPOCH_US, now
        eye.retention.run(TimeEvidence(now, 0, ("gnss", "office")))  # hours sealed before it go by no name
        for at_us in (old, young):
            eye.vault._store.append(SegmentKind.READS, b"x", at_us=at_us)
        words = ["retention", "set", "--days", "1", "--reason", "council's decision", "--yes"]
        assert cli.main(["--data", str(office.layout.root), *words]) == 0
        until(lambda: eye.policies.poll().newest.number == 1, "the policy does not come")
        eye.retention.obey(eye.policies.schedule)
        eye.retention.run(TimeEvidence(now, 0, ("gnss", "office")))
        assert eye.keyring.epochs() == [epoch_of(young)]
        latest = newest(office).policy
        until(lambda: seen(office, latest), "the office does not see it")
    finally:
        stop.set()
        agent.join()
        status.close()
        sync.close()
        eye.close()
        eye.vault.close()
        server.stop()
