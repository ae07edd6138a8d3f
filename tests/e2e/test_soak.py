# SPDX-License-Identifier: Apache-2.0
"""A day and a night of the eye in minutes: what it may use, what it may write, and that it loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .soak_run import BURST_EVERY_S, RETENTION_S

DAY_HOURS = 24
MEMORY_GROWTH_MB = 30.0  # after the first hour, without the simulated road's own
MEMORY_MB = 350.0
CPU_MS_PER_FRAME = 60.0  # of one core, for 960 x 540 with all nets
CPU_S_PER_IDLE_HOUR = 5.0  # commits, deletion, watchers and state files at a quarter of their pace
LOG_BYTES_PER_HOUR = 4_000
LEDGER_BYTES_PER_HOUR = 1_000
AUDIT_BYTES_PER_HOUR = 6_000
MISSED_SHARE = 0.05  # of the vehicles that were well in sight
TOLD = {  # of the faults that are put in
    "camera": ("frozen", "dark", "blinded", "lost"),
    "gnss": ("garbage", "old week", "no fix"),
    "power": ("hot", "undervoltage", "unreadable"),
}


def _soak(folder: Path, hours: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.e2e.soak", str(folder), str(hours)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    figures: dict[str, Any] = json.loads(done.stdout)
    print(json.dumps(figures, indent=1))  # noqa: T201 -- shown by pytest -rP
    return figures


def _check(figures: dict[str, Any], hours: int) -> None:
    assert figures["hours"] >= hours
    assert figures["bursts"] == hours * 3600 / BURST_EVERY_S
    _loses_nothing(figures)
    assert figures["rss_mb"] < MEMORY_MB
    assert figures["memory_grown_mb"] < MEMORY_GROWTH_MB
    assert figures["cpu_ms_per_frame"] < CPU_MS_PER_FRAME
    assert figures["cpu_s_per_idle_hour"] < CPU_S_PER_IDLE_HOUR
    assert figures["log_bytes"] < LOG_BYTES_PER_HOUR * hours
    assert figures["ledger_bytes"] < LEDGER_BYTES_PER_HOUR * hours
    assert figures["audit_bytes"] < AUDIT_BYTES_PER_HOUR * hours


def _loses_nothing(figures: dict[str, Any]) -> None:
    """Every read and hit is where it belongs; vehicles that were well in sight were read."""
    assert figures["reads"] == figures["reads_sealed"] > 0
    assert figures["hits"] == figures["hits_spooled"] + figures["hits_expired"] > 0
    assert figures["records_lost"] == figures["store_problems"] == 0
    assert figures["epochs"] <= RETENTION_S / 3600 + 2  # what is past retention was destroyed
    assert figures["vehicles"] > 0
    assert figures["vehicles_missed"] <= MISSED_SHARE * figures["vehicles"]


@pytest.mark.timeout(120)
def test_an_hour(tmp_path: Path) -> None:
    figures = _soak(tmp_path, 1)
    _check(figures, 1)
    assert figures["records_in_store"] == figures["sealed"]
    assert figures["not_well"] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_day_and_a_night_with_faults(tmp_path: Path) -> None:
    figures = _soak(tmp_path, DAY_HOURS)
    _check(figures, DAY_HOURS)
    for part, codes in TOLD.items():
        for code in (*codes, "ok"):
            assert figures["told"].get(f"health: {part} {code}", 0) >= 1, (part, code)
    assert figures["not_well"] == []
