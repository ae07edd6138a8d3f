# SPDX-License-Identifier: Apache-2.0
"""The eye in this process with systemd's notify socket played by the test: when is the watchdog fed, and when not."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from firmware.config import DeviceConfig, load_config
from firmware.health import Change
from firmware.wiring import EyeParts

from .appliance import Appliance
from .rig import CameraPart
from .wait import wait_for

STALL_LIMIT_S = 2.0
FREEZE_BEGINS_S, END_S = 7.0, 10.0
SCRIPT = ".ttttt." + "f" * 60  # a letter a second: sound, no frames, sound, a frozen picture
START_LIMIT_S = 20.0
SAMPLE_S = 0.1


@dataclass(slots=True)
class StarvedEye:
    """Times are seconds since the first frame was read; `samples`: when, frames so far, the camera's state.

    `told`: what health told of each part, in turn (empty code: well again); `counted`: the ledger's totals.
    """

    feeds: list[float] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    samples: list[tuple[float, int, str]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)

    def of(self, part: str) -> list[str]:
        """The codes that were told of a part."""
        return [code for name, code in self.told if name == part]

    def silence(self) -> tuple[float, float]:
        """The longest time without a feed: from, to."""
        return max(pairwise(self.feeds), key=lambda pair: pair[1] - pair[0])

    def stall(self) -> tuple[float, float]:
        """The longest time without a frame: from, to."""
        came = [now[0] for before, now in pairwise(self.samples) if now[1] > before[1]]
        return max(pairwise(came), key=lambda pair: pair[1] - pair[0])


class NotifySocket:
    """What systemd keeps for a service of Type=notify."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.got: list[tuple[float, bytes]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="notify")
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._socket.recv(4096)
            except TimeoutError:
                continue
            self.got.append((time.monotonic(), message))

    def close(self) -> None:
        """Takes what still waits, then ends."""
        time.sleep(0.2)
        self._stop.set()
        self._thread.join()
        self._socket.close()


def starve_eye(appliance: Appliance, camera: CameraPart) -> StarvedEye:
    """Runs the eye through SCRIPT and notes its feeds and its camera's state."""
    config = _config(appliance, camera)
    with tempfile.TemporaryDirectory() as short:  # a socket's path holds 107 bytes
        systemd = NotifySocket(Path(short) / "notify")
        try:
            seen, begun_s = _run(config, systemd)
        finally:
            systemd.close()
    seen.feeds = [at - begun_s for at, message in systemd.got if message == b"WATCHDOG=1"]
    seen.messages = [message for _, message in systemd.got]
    seen.samples = [(at - begun_s, frames, state) for at, frames, state in seen.samples]
    return seen


def _config(appliance: Appliance, camera: CameraPart) -> DeviceConfig:
    config = load_config(appliance.config)
    return config.model_copy(
        update={
            "camera": config.camera.model_copy(update={"options": camera.scripted(SCRIPT)}),
            "eye": config.eye.model_copy(update={"stall_limit_s": STALL_LIMIT_S}),
        }
    )


def _run(config: DeviceConfig, systemd: NotifySocket) -> tuple[StarvedEye, float]:
    """What was seen, at times of the monotonic clock, and when it began."""
    before = os.environ.get("NOTIFY_SOCKET")
    os.environ["NOTIFY_SOCKET"] = str(systemd.path)
    try:
        parts = EyeParts(config, None)
    finally:
        _restore(before)
    told = _listening(parts)
    stop = threading.Event()
    eye = threading.Thread(target=parts.run, args=(stop,), name="eye")
    eye.start()
    try:
        assert wait_for(lambda: _frames(parts.status()) > 0, START_LIMIT_S), "the eye got no frame"
        begun_s = time.monotonic()
        seen = StarvedEye(samples=_watch(parts, begun_s + END_S), told=told)
    finally:
        stop.set()
        eye.join()
        parts.close()
    seen.counted = parts.ledger.totals()
    return seen, begun_s


def _listening(parts: EyeParts) -> list[tuple[str, str]]:
    """What health tells from now on, beside its books."""
    told: list[tuple[str, str]] = []
    books = parts.health._tell

    def both(change: Change) -> None:
        told.append((change.finding.part, change.finding.code))
        books(change)

    parts.health._tell = both
    return told


def _restore(before: str | None) -> None:
    del os.environ["NOTIFY_SOCKET"]
    if before is not None:
        os.environ["NOTIFY_SOCKET"] = before


def _frames(status: dict[str, Any]) -> int:
    return int(status["frames"])


def _watch(parts: EyeParts, until_s: float) -> list[tuple[float, int, str]]:
    samples: list[tuple[float, int, str]] = []
    while (now := time.monotonic()) < until_s:
        status = parts.status()
        samples.append((now, _frames(status), str(status["camera"])))
        time.sleep(SAMPLE_S)
    return samples
