# SPDX-License-Identifier: Apache-2.0
"""The three services as systemd starts them, asked of the kernel: no core file, and nobody else reads their memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.firmware.test_memory_left import UNITS, environment_of

SERVICES = [unit.stem.removeprefix("wayside-") for unit in UNITS]
STRANGER = """
import os, sys
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for name in ("mem", "maps", "environ"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").close()
        print("opened")
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_closes_its_memory_before_anything_else(name: str, tmp_path: Path) -> None:
    """Not enrolled yet, it waits: by then no key was read."""
    config = tmp_path / "wayside.toml"
    config.write_text(f'data_dir = "{tmp_path / "data"}"\n[camera]\nname = "sim"\n')
    command = [sys.executable, "-m", "firmware.cli", "service", name, "--config", str(config)]
    environment = {**os.environ, **environment_of(UNITS[0])}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as service:
        try:
            assert service.stderr is not None
            first = json.loads(service.stderr.readline())
            _look_at(service.pid)
        finally:
            service.kill()
    assert (first["event"], first["wiped"]) == ("memory_closed", True)


def _look_at(pid: int) -> None:
    proc = Path(f"/proc/{pid}")
    limits = (proc / "limits").read_text().splitlines()
    assert [line.split()[4:6] for line in limits if line.startswith("Max core")] == [["0", "0"]]
    assert (proc / "environ").stat().st_uid == 0
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(pid)], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split() == ["PermissionError"] * 3
