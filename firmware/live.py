# SPDX-License-Identifier: Apache-2.0
"""Watches running services on a terminal: live tables on a screen, plain lines in a pipe."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.live import Live

from firmware.config import load_config
from firmware.errors import ExitCode
from firmware.screen import LiveState, Screen, hit_line, read_line
from firmware.status import SERVICES, ask
from firmware.supervisor import Supervisor

REFRESH_S = 0.25
STATUS_EVERY_S = 1.0


class Interrupt:
    """The first Ctrl-C (or SIGTERM) ends the run cleanly, with its summary; a second one ends it at once."""

    def __init__(self) -> None:
        self.asked = False

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Takes the signals while its body runs."""
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Viewer:
    """Follows a supervisor's tap until the time is over, the camera has finished or Ctrl-C."""

    def __init__(self, supervisor: Supervisor, data_dir: Path, console: Console) -> None:
        self._supervisor = supervisor
        self._data_dir = data_dir
        self._console = console
        self.office_url = ""
        self._statuses: dict[str, Mapping[str, object] | None] = {}
        self._asked_s = 0.0
        self.state = LiveState()

    def follow(self, duration_s: float | None, interrupted: Callable[[], bool]) -> None:
        """Returns when it is over; raises ServiceError when a service keeps dying."""
        started = time.monotonic()
        screen = Screen(self._console, duration_s, self.office_url)
        live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        if live is not None:
            live.start()
        try:
            while not (interrupted() or self.state.ended):
                elapsed = time.monotonic() - started
                if duration_s is not None and elapsed >= duration_s:
                    return
                self.drain(REFRESH_S)
                self._supervisor.poll()
                self._ask()
                if live is not None:
                    live.update(screen.render(self.state, self._statuses, elapsed), refresh=True)
        finally:
            if live is not None:
                live.stop()

    def _ask(self) -> None:
        if time.monotonic() - self._asked_s >= STATUS_EVERY_S:
            self._asked_s = time.monotonic()
            self._statuses = {name: ask(self._data_dir, name) for name in SERVICES}

    def drain(self, wait_s: float) -> None:
        """Takes the tap's events of the next `wait_s`; without a terminal each read and hit is a line."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._supervisor.events.get(timeout=left)
            except queue.Empty:
                return
            self.state.take(event)
            if not self._console.is_terminal and event.get("event") in {"read", "hit"}:
                line = read_line(event) if event["event"] == "read" else hit_line(event)
                self._console.print(line, highlight=False, soft_wrap=True)


def run_live(config_path: Path, log_dir: Path, duration_s: float | None, console: Console) -> int:
    """`wayside run`: the three services of an enrolled device until Ctrl-C."""
    supervisor = Supervisor(config_path, log_dir)
    viewer = Viewer(supervisor, load_config(config_path).data_dir, console)
    interrupt = Interrupt()
    try:
        with interrupt.watching():
            supervisor.start()
            viewer.follow(duration_s, lambda: interrupt.asked)
            supervisor.stop_one("eye")
            viewer.drain(1.0)
    finally:
        codes = supervisor.stop()
    state = viewer.state
    console.print(f"{len(state.reads)} reads, {len(state.hits)} hits, {len(state.acked)} records sealed")
    return ExitCode.OK if all(code == 0 for code in codes.values()) else ExitCode.PROBLEM
