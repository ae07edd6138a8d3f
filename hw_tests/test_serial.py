# SPDX-License-Identifier: Apache-2.0
"""The technician's link: a fresh device's service at one end of the cable, `wayside-tech` at the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from firmware.null_modem import NullModem

from .appliance import hello
from .conftest import part
from .rig import Rig

STOP_S = 15.0
NOISE = bytes(range(256)) * 4


@pytest.fixture
def cable(rig: Rig) -> Iterator[tuple[str, str]]:
    """The device's port and the laptop's."""
    chosen = part(rig.serial, "serial")
    if chosen.device is not None and chosen.laptop is not None:
        yield chosen.device, chosen.laptop
        return
    modem = NullModem()
    yield modem.device, modem.laptop
    modem.close()


@contextmanager
def _service(folder: Path, port: str) -> Iterator[None]:
    """`wayside service provision` of a device that nobody has enrolled."""
    config = folder / "wayside.toml"
    config.write_text(f'data_dir = "device"\n[provision]\nport = "{port}"\n')
    command = [sys.executable, "-m", "firmware.cli", "service", "provision", "--config", str(config)]
    with (folder / "provision.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
        assert process.poll() is None, (folder / "provision.log").read_text()
    finally:
        process.terminate()
        code = process.wait(STOP_S)
    assert code == 0


def test_hello_says_that_nobody_has_enrolled_it_even_after_noise(
    cable: tuple[str, str], tmp_path: Path
) -> None:
    device, laptop = cable
    known = tmp_path / "known.json"
    with _service(tmp_path, device):
        first = hello(laptop, known)
        assert first["product"] == "wayside"
        assert first["enrolled"] is False
        assert first["agency"] is None
        with serial.Serial(laptop, 115_200, timeout=0) as line:
            line.write(NOISE)
        assert hello(laptop, known) == first
