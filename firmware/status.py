# SPDX-License-Identifier: Apache-2.0
"""Each service answers on a small Unix socket with one JSON object about itself; `wayside status` asks all three."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from sync.hotlists.listfile import HotList

SERVICES = ("eye", "sync", "provision")
MAX_STATUS_BYTES = 262_144
ASK_TIMEOUT_S = 2.0
POLL_S = 0.3
_STARTED_S = time.monotonic()

log = structlog.get_logger(__name__)


def own_use() -> dict[str, float]:
    """What this process has used: seconds of the processor and of the clock, and memory in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "cpu_s": round(time.process_time(), 1),
        "uptime_s": round(time.monotonic() - _STARTED_S, 1),
        "rss_mb": round(pages * resource.getpagesize() / 1e6, 1),
    }


def list_state(hot: HotList, now_us: int) -> dict[str, object]:
    """A hot list in use, without anything that it lists."""
    document = hot.document
    return {
        "list_id": hot.list_id,
        "version": hot.version,
        "age_s": document.age_s(now_us),
        "stale": document.stale(now_us),
    }


def hour_words(epoch: int) -> str:
    """An epoch as a person reads it: the UTC hour."""
    return datetime.fromtimestamp(epoch * 3600, tz=UTC).strftime("%Y-%m-%d %H:00 UTC")


def socket_path(data_dir: Path, service: str) -> Path:
    """Where a service listens."""
    return data_dir / "run" / f"{service}.sock"


class StatusServer:
    """Serves `snapshot()` to whoever may open the socket (the device's own user)."""

    def __init__(self, path: Path, snapshot: Callable[[], Mapping[str, object]]) -> None:
        self._path = path
        self._snapshot = snapshot
        self._stop = threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        self._socket = _bound(path)
        self._socket.settimeout(POLL_S)
        self._thread = threading.Thread(target=self._serve, name="status", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with connection:
                connection.settimeout(ASK_TIMEOUT_S)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        """One answer; where a part can't be asked just now, its error's type, and the service stays reachable."""
        try:
            status = dict(self._snapshot())
        except Exception as error:  # noqa: BLE001 -- an edge: the next asker must find the thread alive
            status = {"problem": type(error).__name__}
        try:
            connection.sendall(json.dumps(status).encode())
        except OSError as error:
            log.debug("status_reader_gone", reason=str(error))

    def close(self) -> None:
        """Stops answering and removes the socket."""
        self._stop.set()
        self._socket.close()
        self._thread.join(timeout=2 * POLL_S)
        self._path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    """A listening socket at `path`; long folder names (over 107 bytes) are reached through their descriptor."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short(path) as name:
        server.bind(name)
    path.chmod(0o600)
    server.listen(8)
    return server


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the socket short enough for `sun_path`: by way of /proc/self/fd/N of its folder."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def ask(data_dir: Path, service: str) -> dict[str, object] | None:
    """What the service says of itself, or None if it doesn't answer."""
    path = socket_path(data_dir, service)
    if not path.parent.is_dir():
        return None
    chunks: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, _short(path) as name:
        client.settimeout(ASK_TIMEOUT_S)
        try:
            client.connect(name)
            while sum(map(len, chunks)) < MAX_STATUS_BYTES and (chunk := client.recv(65_536)):
                chunks.append(chunk)
        except OSError:
            return None
    return answer_of(b"".join(chunks))


def statuses(data_dir: Path) -> dict[str, dict[str, object] | None]:
    """What each service says; None for one that doesn't answer."""
    return {name: ask(data_dir, name) for name in SERVICES}


def answer_of(raw: bytes) -> dict[str, object] | None:
    """What a service's answer says, or None when it is no JSON object."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
