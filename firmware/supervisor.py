# SPDX-License-Identifier: Apache-2.0
"""Starts the three services on a developer's machine, as systemd does on a pole: restarts what dies, stops in order."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from firmware.errors import ServiceError
from firmware.tap import read_tap

RESTART_DELAY_S = 0.5
MAX_RESTARTS = 50  # a service that dies this often is broken, not unlucky
STOP_TIMEOUT_S = 15.0
START_ORDER = ("provision", "sync", "eye")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Service:
    """One running service."""

    name: str
    process: subprocess.Popen[bytes]
    started_s: float
    restarts: int = 0
    done: bool = False
    tap_thread: threading.Thread | None = field(default=None, repr=False)


class Supervisor:
    """`events` gets what the eye's tap says; `poll()` restarts what died; `stop()` ends all, the eye first."""

    def __init__(self, config: Path, log_dir: Path) -> None:
        self.events: queue.Queue[Mapping[str, object]] = queue.Queue()
        self.services: dict[str, Service] = {}
        self._config = config
        self._log_dir = log_dir
        self._stopping = False
        log_dir.mkdir(parents=True, exist_ok=True)

    def start(self, *names: str) -> None:
        """Starts the named services (all three when none is named)."""
        for name in names or START_ORDER:
            self.services[name] = self._spawn(name)

    def _spawn(self, name: str) -> Service:
        read_fd, write_fd = os.pipe() if name == "eye" else (-1, -1)
        command = [sys.executable, "-m", "firmware.cli", "service", name, "--config", str(self._config)]
        if name == "eye":
            command += ["--tap-fd", str(write_fd)]
        with (self._log_dir / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(write_fd,) if name == "eye" else (),
                start_new_session=True,  # Ctrl-C reaches the supervisor, which ends them in order
            )
        service = Service(name, process, time.monotonic())
        if name == "eye":
            os.close(write_fd)
            service.tap_thread = threading.Thread(
                target=self._listen, args=(read_fd,), daemon=True, name="tap"
            )
            service.tap_thread.start()
        return service

    def _listen(self, fd: int) -> None:
        for event in read_tap(fd):
            self.events.put(event)

    def poll(self) -> None:
        """Restarts a service that died; one that ended with 0 is done. Raises ServiceError when it keeps dying."""
        for name, service in list(self.services.items()):
            code = service.process.poll()
            if code is None or service.done or self._stopping:
                continue
            if code == 0:
                service.done = True
                continue
            if service.restarts >= MAX_RESTARTS:
                raise ServiceError(f"{name} died {MAX_RESTARTS} times; see {self._log_dir / name}.log")
            log.warning("service_died", name=name, code=code, restarts=service.restarts + 1)
            time.sleep(RESTART_DELAY_S)
            fresh = self._spawn(name)
            fresh.restarts = service.restarts + 1
            self.services[name] = fresh

    def alive(self, name: str) -> bool:
        """Whether the service's process runs."""
        service = self.services.get(name)
        return service is not None and service.process.poll() is None

    def kill(self, name: str) -> None:
        """kill -9, for the tests of what a crash leaves."""
        self.services[name].process.send_signal(signal.SIGKILL)
        self.services[name].process.wait()

    def stop_one(self, name: str) -> int | None:
        """Asks one service to end (SIGTERM) and waits; kills it after STOP_TIMEOUT_S. Returns its exit code."""
        service = self.services.get(name)
        if service is None:
            return None
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.error("service_would_not_stop", name=name)
                service.process.kill()
                service.process.wait()
        if service.tap_thread is not None:
            service.tap_thread.join(timeout=5.0)
        service.done = True
        return service.process.returncode

    def stop(self) -> dict[str, int | None]:
        """Ends the eye, then sync, then provision; returns their exit codes."""
        self._stopping = True
        return {name: self.stop_one(name) for name in ("eye", "sync", "provision") if name in self.services}
