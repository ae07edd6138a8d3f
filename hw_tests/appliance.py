# SPDX-License-Identifier: Apache-2.0
"""The whole appliance on the rig's camera: office, enrolment, three services, a camera that is unplugged in mid-run."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from firmware.demo import Demo, Outcome
from firmware.demo_office import tool
from firmware.demo_setup import Choice, Plan, ports_of, write_config
from firmware.status import SERVICES, ask

from .rig import CameraPart

SEEN_S = 8  # seconds of each plugging in before the simulated camera is unplugged
RUN_S = 23.0
BUSY_S = (
    12  # seconds in which another program holds the simulated lamp's pin: an alarm that the office must see
)
START_LIMIT_S = 30.0
TECH_TIMEOUT_S = 30
LAMP = '[illuminator]\nname = "sim"\n'  # as the demo writes it
NEVER = "colour"  # no camera has this option: opening it can never succeed


@dataclass(slots=True)
class Appliance:
    """What one run showed. `samples`: the camera's state as the status socket told it, records acknowledged so far."""

    folder: Path
    hopeless: Path  # the same device's configuration with a camera that can never be opened
    config: Path
    samples: list[tuple[str, int]] = field(default_factory=list)
    hello: dict[str, Any] = field(default_factory=dict)
    used: dict[str, dict[str, float]] = field(
        default_factory=dict
    )  # service -> cpu_s, rss_mb, uptime_s at the end
    outcome: Outcome | None = None
    heartbeats: list[dict[str, Any]] = field(
        default_factory=list
    )  # as the office keeps them, each that differs

    @property
    def log(self) -> str:
        """What the eye wrote."""
        return (self.folder / "logs" / "eye.log").read_text(encoding="utf-8")

    def states(self) -> list[str]:
        """The camera's states in turn, without repetitions."""
        told = [state for state, _ in self.samples]
        return [state for state, before in zip(told, ["", *told], strict=False) if state != before]


def run_appliance(camera: CameraPart, folder: Path) -> Appliance:
    """Runs it for RUN_S seconds after its first frame, then settles and compares."""
    demo = Demo(Choice(folder, None, camera=camera.name, seed=7), Console(quiet=True))
    laptop = demo._cable.laptop
    unplugged = {"faults": "." * SEEN_S + "u"} if camera.simulated else {}
    plan = replace(demo.plan, options={**demo.plan.options, **camera.options, **unplugged})
    hopeless = _write(demo, folder, replace(plan, options={**plan.options, NEVER: True}))
    seen = Appliance(folder, hopeless.rename(folder / "hopeless.toml"), _write(demo, folder, plan))
    with demo:
        _follow_to_first_frame(demo)
        seen.hello = hello(laptop, folder / "known-devices.json")
        demo.viewer.follow(RUN_S, lambda: _sample(seen, demo))
        seen.used = {name: _used(demo, name) for name in SERVICES}
        seen.outcome = demo.settle()
    return seen


def _write(demo: Demo, folder: Path, plan: Plan) -> Path:
    """The device's configuration for a plan, as the demo itself would write it."""
    path = write_config(folder, plan, ports_of(folder), demo._cable.device)
    text = path.read_text(encoding="utf-8")
    busy = f'{LAMP}options = {{ faults = "{"b" * BUSY_S}" }}\n'
    path.write_text(text.replace(LAMP, busy), encoding="utf-8")
    return path


def _follow_to_first_frame(demo: Demo) -> None:
    def frames_come() -> bool:
        return int(str(demo.viewer.state.rates.get("frames", 0))) > 0

    demo.viewer.follow(START_LIMIT_S, frames_come)


def _sample(seen: Appliance, demo: Demo) -> bool:
    status = ask(demo.layout.root, "eye") or {}
    seen.samples.append((str(status.get("camera", "none")), len(demo.viewer.state.acked)))
    beat = _heartbeat(demo)
    if beat and beat != (seen.heartbeats[-1] if seen.heartbeats else None):
        seen.heartbeats.append(beat)
    return False


def _used(demo: Demo, service: str) -> dict[str, float]:
    status = ask(demo.layout.root, service) or {}
    return {name: float(str(status[name])) for name in ("cpu_s", "rss_mb", "uptime_s")}


def _heartbeat(demo: Demo) -> dict[str, Any]:
    """The device's newest heartbeat as the office keeps it."""
    path = demo.office.data / "office.db"
    with contextlib.closing(sqlite3.connect(path, timeout=5.0)) as database:
        row = database.execute("select heartbeat from devices where heartbeat is not null").fetchone()
    beat: dict[str, Any] = json.loads(row[0]) if row else {}
    return beat


def hello(port: str, known: Path) -> dict[str, Any]:
    """What `wayside-tech hello` says of the device on the other end of the cable."""
    command = [tool("wayside-tech"), "hello", "--port", port, "--known", str(known), "--yes", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TECH_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
