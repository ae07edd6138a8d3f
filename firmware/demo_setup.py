# SPDX-License-Identifier: Apache-2.0
"""What `wayside demo` plays and where: the camera, the sample hot list, the ports, the device's configuration file."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from firmware.errors import DemoError
from firmware.truth import manifest_truth
from storage.atomic import write_atomic

SIM_LISTED = ("BX71304", "CK40912", "DV58266")
SIM_WILDCARD = "EH1?907"  # a witness saw all but one character
SIM_WILDCARD_PLATE = "EH13907"
LISTED_EVERY = 6  # of the known plates of a folder, every sixth is put on the list
MAX_LISTED = 10
LEADS_PLATE_CHARS = 8
POSITION = (40.3084, -88.1559)
DAY_SECONDS = 25
SIM_PARTS = f"""
[illuminator]
name = "sim"

[daylight]
name = "sim"

[exposure]
dwell_s = 1

[gnss]
name = "sim"
options = {{ lat = {POSITION[0]}, lon = {POSITION[1]}, speed_mps = 0.0 }}

[power]
name = "sim"
options = {{ battery_v = 13.1 }}

[watchdog]
name = "sim"

[alert_outputs]
name = "sim"

[modem]
name = "sim"
"""
STILL_HOLD_FRAMES = 3
STILL_FPS = 10.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person asked for."""

    run_dir: Path
    duration_s: float | None = None
    images: Path | None = None
    video: Path | None = None
    camera: str = "sim"
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Ports:
    """Chosen at the first start and kept, since the device is enrolled to them."""

    device: int
    pages: int
    pull: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The camera with its options, and the plates on the sample list."""

    camera: str
    options: dict[str, object]
    listed: tuple[str, ...]
    wildcard: str | None
    truth_path: Path | None
    pictures: Path | None


def plan_for(choice: Choice) -> Plan:
    """Raises DemoError when a folder or file is not there."""
    if choice.images is not None:
        return _pictures_plan(choice.images)
    if choice.video is not None:
        if not choice.video.is_file():
            raise DemoError(f"{choice.video}: no such file; VIDEO names a recording")
        return Plan("replay", {"path": str(choice.video.resolve())}, SIM_LISTED, SIM_WILDCARD, None, None)
    if choice.camera != "sim":
        return Plan(choice.camera, {}, SIM_LISTED, SIM_WILDCARD, None, None)
    truth = choice.run_dir.resolve() / "truth.jsonl"
    truth.unlink(missing_ok=True)
    options: dict[str, object] = {
        "seed": choice.seed,
        "truth_path": str(truth),
        "listed": [*SIM_LISTED, SIM_WILDCARD_PLATE],
        "day_seconds": DAY_SECONDS,
    }
    return Plan("sim", options, SIM_LISTED, SIM_WILDCARD, truth, None)


def _pictures_plan(folder: Path) -> Plan:
    if not folder.is_dir():
        raise DemoError(f"{folder}: no such folder; IMAGES names a folder of pictures")
    folder = folder.resolve()
    known = [p.plate for p in manifest_truth(folder) if len(p.plate) <= LEADS_PLATE_CHARS]
    listed = tuple(dict.fromkeys(known[::LISTED_EVERY]))[:MAX_LISTED]
    options: dict[str, object] = {"path": str(folder), "fps": STILL_FPS, "hold": STILL_HOLD_FRAMES}
    return Plan("replay", options, listed or SIM_LISTED, None, None, folder)


def leads_list(plates: Sequence[str]) -> bytes:
    """A sample list in the layout of Illinois LEADS (fixed width); vehicles and numbers are made up."""
    makes = (("DODG", "MAG", "4D", "RED"), ("FORD", "ESC", "4D", "BLU"), ("TOYT", "CAM", "4D", "SIL"))
    lines = []
    for number, plate in enumerate(plates):
        make, model, style, colour = makes[number % len(makes)]
        lines.append(
            f"{plate:<8}{'IL':<2}{'PC':<2}{'STOLEN':<7}VYR/{15 + number % 9:02d} VMA/{make:<5}VMO/{model:<4}"
            f"VST/{style:<3}VCO/{colour:<8}DOT/{'110126':<7}LDS/V26A{number:04d}"
        )
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def ports_of(run_dir: Path) -> Ports:
    """The ports of this run folder; free ones are chosen at the first start."""
    path = run_dir / "ports.json"
    if path.exists():
        return Ports(**json.loads(path.read_bytes()))
    with socket.socket() as a, socket.socket() as b, socket.socket() as c:
        for each in (a, b, c):
            each.bind(("127.0.0.1", 0))
        ports = Ports(*(int(each.getsockname()[1]) for each in (a, b, c)))
    write_atomic(path, json.dumps(asdict(ports)).encode())
    return ports


def write_config(run_dir: Path, plan: Plan, ports: Ports, serial_port: str) -> Path:
    """The device's configuration as a person would write it; returns its path."""
    options = ", ".join(f"{name} = {json.dumps(value)}" for name, value in plan.options.items())
    text = f"""# written by `wayside demo` at every start
data_dir = "device"
deployment = "fixed"
position = {{ lat = {POSITION[0]}, lon = {POSITION[1]} }}

[camera]
name = "{plan.camera}"
options = {{ {options} }}
{SIM_PARTS if plan.camera == "sim" else ""}
[eye]
retention_poll_s = 5

[sync]
heartbeat_s = 5
lists_s = 5
upload_s = 0.5
pull_port = {ports.pull}

[provision]
port = "{serial_port}"
"""
    path = run_dir / "wayside.toml"
    write_atomic(path, text.encode())
    return path
