# SPDX-License-Identifier: Apache-2.0
"""`wayside demo` uses the office as an agency does: by its commands, in processes of its own, never by import."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firmware.errors import DemoError

COMMAND_TIMEOUT_S = 300.0
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


def tool(name: str) -> str:
    """The path of an entry point beside the running interpreter."""
    return str(Path(sys.executable).parent / name)


def call(command: Sequence[str], *, codes: tuple[int, ...] = (0,)) -> str:
    """Runs a command to its end; its output, or DemoError with what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DemoError(f"{Path(command[0]).name} could not be run: {error}") from error
    if done.returncode not in codes:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise DemoError(
            f"`{' '.join([Path(command[0]).name, *command[1:]])}` ended with {done.returncode}: {said}"
        )
    return done.stdout


class Office:
    """One back office in a folder, with its server as a child process."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._server: subprocess.Popen[str] | None = None
        self.urls: dict[str, Any] = {}

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """One command of `wayside-office` on this folder."""
        return call([tool("wayside-office"), "--data", str(self.data), *arguments], codes=codes)

    def run_json(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
        """The JSON lines of a command."""
        out = self.run(*arguments, "--json", codes=codes)
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def serve(self, *, device_port: int, page_port: int, log: Path) -> None:
        """Starts the server and waits until it says where it listens."""
        ports = ["--device-port", str(device_port), "--page-port", str(page_port)]
        command = [tool("wayside-office"), "--data", str(self.data), "serve", *ports]
        with log.open("ab") as errors:
            self._server = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )
        self.urls = json.loads(self._first_line(log))

    def _first_line(self, log: Path) -> str:
        server = self._server
        assert server is not None  # noqa: S101 -- set by serve()
        assert server.stdout is not None  # noqa: S101 -- a pipe
        lines: queue.Queue[str] = queue.Queue()
        out = server.stdout
        threading.Thread(target=lambda: lines.put(out.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=READY_TIMEOUT_S)
        except queue.Empty:
            line = ""
        if not line.strip():
            self.stop()
            said = log.read_text(errors="replace")[-1500:]
            raise DemoError(
                f"the office did not start (a port in use? remove the run folder to choose others): {said}"
            )
        return line

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.poll() is None

    def stop(self) -> None:
        """Ends the server cleanly."""
        if self._server is None:
            return
        if self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        if self._server.stdout is not None:
            self._server.stdout.close()
