# SPDX-License-Identifier: Apache-2.0
"""`wayside` on a device that was enrolled and has run: run, status, verify, bench."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import WAYSIDE, Run

pytestmark = pytest.mark.timeout(400)


def _wayside(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([WAYSIDE, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


@pytest.fixture
def device(first_run: Run, tmp_path: Path) -> Path:
    """A copy of the run's folder, so that a test may harm it."""
    copy = tmp_path / "run"
    shutil.copytree(first_run.folder, copy, ignore=shutil.ignore_patterns("*.sock"))
    return copy


def test_run_works_alone_while_the_office_is_away(device: Path) -> None:
    config = device / "wayside.toml"
    logs = device / "logs-alone"
    running = subprocess.Popen(
        [WAYSIDE, "run", "--config", str(config), "--duration", "14", "--logs", str(logs)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        found: dict[str, Any] = {}
        deadline = time.monotonic() + 40
        while not (found.get("eye") or {}).get("frames") and time.monotonic() < deadline:
            time.sleep(0.5)
            done = subprocess.run(
                [WAYSIDE, "status", "--config", str(config), "--json"],
                capture_output=True,
                text=True,
                check=False,
            )
            found = json.loads(done.stdout)
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 0, out
    assert "records sealed" in out
    assert found["eye"]["root_of_trust"] == "file (best effort)"
    assert found["sync"] is None or found["sync"]["link"] == "down"
    _wayside("verify", str(device / "device"))


def test_status_says_what_is_not_running(device: Path) -> None:
    said = _wayside("status", "--config", str(device / "wayside.toml"), code=1)
    assert said.count("NOT RUNNING") == 3


def test_the_camera_is_asked_to_learn_anew(device: Path) -> None:
    said = _wayside("learn-camera", "--config", str(device / "wayside.toml"))
    assert "an hour" in said
    assert (device / "device" / "run" / "learn-camera").exists()


def test_verify_finds_a_flipped_bit_and_a_removed_audit_line(device: Path) -> None:
    sound = json.loads(_wayside("verify", str(device / "device"), "--json"))
    assert sound["problems"] == []
    assert sound["records"] > 0
    segment = next((device / "device" / "store" / "reads").glob("*.wseg"))
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(bytes(damaged))
    lines = (device / "device" / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (device / "device" / "audit.jsonl").write_bytes(b"".join(lines[:1] + lines[2:]))
    report = json.loads(_wayside("verify", str(device / "device"), "--json", code=1))
    harmed = {Path(problem["path"]).name for problem in report["problems"]}
    assert {segment.name, "audit.jsonl"} <= harmed
    assert all(problem["do"] for problem in report["problems"])


def test_a_folder_without_a_store_is_said(tmp_path: Path) -> None:
    assert "no sealed store" in _wayside("verify", str(tmp_path), code=1)


def test_benches_print_their_figures() -> None:
    match = json.loads(_wayside("bench", "match", "--seconds", "0.2"))
    assert match["ms_p95"] > 0
    assert match["hit_ratio"] == pytest.approx(0.5, abs=0.02)
    pipeline = json.loads(_wayside("bench", "pipeline", "--seconds", "0.5"))
    assert pipeline["plates"] > 0
