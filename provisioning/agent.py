# SPDX-License-Identifier: Apache-2.0
"""The device's service on one serial port: it survives unplugging, garbage, half messages and kill -9."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from provisioning.commands import Commands, Hooks
from provisioning.conversation import DeviceEnd
from provisioning.errors import LinkError, PortUnavailable
from provisioning.ports import Port, open_port
from provisioning.selftest import SelfTests, identity_check
from provisioning.session import device_context

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentTimes:
    """How long the agent waits, in seconds."""

    read_s: float = 0.25  # a silence of this length gives up a half frame
    reopen_s: float = 1.0  # between attempts to open a port that is not there


class ProvisionAgent:
    """Serves the technician's link on one port; see `provisioning.ports.open_port` for what a port may be.

    `on_alive` is called at least every few seconds while the agent works (feed the watchdog there).
    """

    def __init__(
        self,
        port: str | Path | int,
        identity_dir: Path,
        *,
        selftests: SelfTests | None = None,
        hooks: Hooks | None = None,
        times: AgentTimes | None = None,
        on_alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._port_spec, self._times, self._on_alive = port, times or AgentTimes(), on_alive
        if selftests is None:
            selftests = SelfTests()
            selftests.register("identity", identity_check(identity_dir))
        self.commands = Commands(identity_dir, selftests, hooks, on_alive=on_alive)
        self._end = DeviceEnd(self._context, self.commands.handle)
        self._unavailable = ""  # why the port last could not be opened
        self._heard = False  # whether a byte came since the port was opened

    def run(self, stop: threading.Event) -> None:
        """Serves until `stop` is set; a port that is missing or goes away is opened again."""
        while not stop.is_set():
            self._on_alive()
            port = self._open()
            if port is None:
                stop.wait(self._times.reopen_s)
                continue
            try:
                self._serve(port, stop)
            except LinkError as error:
                if self._heard:  # a descriptor whose other end is closed fails again and again
                    log.info("technician_link_lost", reason=str(error))
                stop.wait(self._times.read_s)
            finally:
                self._end.reset()
                port.close()

    def _open(self) -> Port | None:
        try:
            port = open_port(self._port_spec)
        except PortUnavailable as error:
            if str(error) != self._unavailable:  # once, not once a second
                self._unavailable = str(error)
                log.warning("technician_port_unavailable", reason=str(error))
            return None
        self._unavailable = ""
        self._heard = False
        return port

    def _serve(self, port: Port, stop: threading.Event) -> None:
        while not stop.is_set():
            self._on_alive()
            data = port.read(self._times.read_s)
            self._heard = self._heard or bool(data)
            answer = self._end.feed(data) if data else self._end.idle()
            for reason in self._end.failures:
                log.info("technician_session_failed", reason=reason)
            self._end.failures.clear()
            if answer:
                port.write(answer)

    def _context(self) -> ssl.SSLContext:
        return device_context(self.commands.identity)
