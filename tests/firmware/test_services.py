# SPDX-License-Identifier: Apache-2.0
"""A service that starts: systemd's watchdog runs only once it is ready, or while it waits for a person."""

from __future__ import annotations

import configparser
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware.errors import NotEnrolledError
from firmware.services import _when_enrolled

UNITS = Path(__file__).parents[2] / "firmware/systemd"


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def heard(listening: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(listening.recv(100))
        except BlockingIOError:
            return messages


def test_a_start_that_takes_long_is_not_watched_yet(systemd: socket.socket, tmp_path: Path) -> None:
    """A slow card, a large store: the process must not be killed before it was ready once, and begin anew."""
    assert _when_enrolled(lambda: heard(systemd), threading.Event(), tmp_path) == []


def test_who_waits_for_a_person_is_ready_and_feeds(systemd: socket.socket, tmp_path: Path) -> None:
    stop = threading.Event()

    def not_enrolled() -> None:
        if heard(systemd) == [b"READY=1", b"WATCHDOG=1"]:
            stop.set()
        raise NotEnrolledError("enrol it")

    assert _when_enrolled(not_enrolled, stop, tmp_path) is None


@pytest.mark.parametrize("service", ["eye", "sync"])
def test_systemd_gives_a_start_the_time_that_a_large_store_takes(service: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNITS / f"wayside-{service}.service")
    assert int(unit["Service"]["TimeoutStartSec"]) >= 900
