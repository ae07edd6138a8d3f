# SPDX-License-Identifier: Apache-2.0
"""Real processes: an office, a device, three services, mutual TLS between them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEMO_TIMEOUT_S = 200
WAYSIDE = str(Path(sys.executable).with_name("wayside"))


@dataclass(frozen=True)
class Run:
    """One `wayside demo` that has ended."""

    folder: Path
    code: int
    out: str
    summary: dict[str, Any]

    @property
    def device(self) -> Path:
        return self.folder / "device"

    @property
    def truth(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "truth.jsonl").read_text().splitlines()]


def demo(folder: Path, *arguments: str) -> Run:
    """`wayside demo` as `make run` starts it; its output is no terminal."""
    out = folder.parent / "summary.json"
    out.unlink(missing_ok=True)
    command = [WAYSIDE, "demo", "--run-dir", str(folder), "--json", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEMO_TIMEOUT_S, check=False)
    summary = json.loads(out.read_text()) if out.exists() else {}
    return Run(folder, done.returncode, done.stdout + done.stderr, summary)


def hits_at_office(folder: Path) -> list[str]:
    """The ids of the hits that the office holds."""
    with sqlite3.connect(folder / "office" / "office.db") as database:
        return [row[0] for row in database.execute("select hit_id from hits")]


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Day and night against the simulated roadside."""
    return demo(tmp_path_factory.mktemp("road") / "run", "--duration", "50")
