# SPDX-License-Identifier: Apache-2.0
"""One process: the device port (mutual TLS), the pages (HTTP on the loopback), the rounds of deletion."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from types import FrameType

import structlog
from cheroot.wsgi import Server

from backoffice import keys
from backoffice.device_api import create_device_app
from backoffice.hits import HitStore
from backoffice.limits import LIMITS
from backoffice.office import Office
from backoffice.pages.app import create_pages
from backoffice.retention_rounds import RetentionRounds
from backoffice.tls import plain_server, server_context, tls_server
from storage.atomic import remove_old_temps, write_atomic
from sync.schema import canonical_json

log = structlog.get_logger(__name__)
LOOPBACK = "127.0.0.1"
STOP_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; port 0 picks a free one. The pages stay on the loopback."""

    bind: str = LOOPBACK
    device_port: int = 8443
    page_port: int = 8080


class OfficeServer:
    """Both servers; `start` returns when they listen."""

    def __init__(self, office: Office, ports: Ports) -> None:
        self._office = office
        hits = HitStore(office, keys.load_purpose_key(office.layout, keys.HITS))
        pki = office.layout.pki
        pair = (pki / "server.pem", pki / "server.key")
        context = server_context(*pair, pki / "ca.pem", keys.secret_for(pair[1]))
        device_app = create_device_app(office, hits)
        self._device = tls_server(ports.bind, ports.device_port, device_app, context, pair)
        pages = create_pages(office, hits)
        self._pages = plain_server(LOOPBACK, ports.page_port, pages, LIMITS.form_bytes)
        self._threads: list[threading.Thread] = []
        self._retention = RetentionRounds(office)

    def start(self) -> dict[str, str]:
        """Listen on both ports; returns their addresses and writes them beside the data."""
        remove_old_temps((self._office.layout.root, self._office.layout.keys, self._office.layout.lists))
        started: list[Server] = []
        try:
            for server in (self._device, self._pages):
                server.prepare()
                started.append(server)
        except OSError:
            for server in started:
                server.stop()
            raise
        for server in started:
            thread = threading.Thread(target=server.serve, name=f"serve-{server.bind_addr[1]}", daemon=True)
            thread.start()
            self._threads.append(thread)
        bind, port = self._device.bind_addr[:2]
        host = LOOPBACK if bind in {"0.0.0.0", "::"} else bind  # noqa: S104 - compared, not bound
        urls = {
            "device_url": f"https://{host}:{port}",
            "page_url": f"http://{LOOPBACK}:{self._pages.bind_addr[1]}",
        }
        write_atomic(self._office.layout.serving, canonical_json(urls))
        self._retention.start()
        return urls

    def stop(self) -> None:
        """Finish what is being answered, then close both ports."""
        self._retention.stop()
        for server in (self._device, self._pages):
            server.stop()
        for thread in self._threads:
            thread.join(STOP_WAIT_S)
        self._office.layout.serving.unlink(missing_ok=True)


def wait_for_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        log.info("office_stopping", signal=number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    stop.wait()
