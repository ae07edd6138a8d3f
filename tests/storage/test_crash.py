# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: whatever was acknowledged opens afterwards, and nothing is damaged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import crash_writer
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from storage_world import AGENCY_KEY, DEVICE_KEY

from storage.fsck import verify_store

KILLS = 10


def run_until_killed(root: Path, run: int, after_s: float) -> int:
    """Number of records that the child said were acknowledged."""
    child = subprocess.Popen(
        [sys.executable, crash_writer.__file__, str(root), str(run)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    first = child.stdout.readline()  # it has started
    time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.stdout.close()
    child.wait()
    lines = (first + rest).split("\n")[:-1]  # only whole lines were printed
    assert lines, "the child acknowledged nothing"
    return int(lines[-1])


@pytest.mark.timeout(180)
def test_killed_at_random_everything_acknowledged_opens(world) -> None:
    (world.root / "device.pem").write_bytes(
        DEVICE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (world.root / "agency.pem").write_bytes(
        AGENCY_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    chance = random.Random(1)
    acked = {run: run_until_killed(world.root, run, chance.uniform(0, 0.25)) for run in range(KILLS)}
    store = world.store()  # recovers the last run
    contents = [world.open(info) for info in store.segments()]
    assert all(content.complete for content in contents)
    held = {bytes(record) for content in contents for record in content.records}
    for run, count in acked.items():
        missing = [n for n in range(count) if crash_writer.payload(run, n) not in held]
        assert missing == []
    assert verify_store(world.store_root, verify_key=DEVICE_KEY.public_key()).ok

    assert len(world.keyring().root.handles()) == 1
