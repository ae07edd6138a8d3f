# SPDX-License-Identifier: Apache-2.0
"""A receiver that gpsd looks after, over gpsd's socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from drivers.errors import GnssLost
from drivers.gnss_stream import StreamGnss
from drivers.gpsd_json import WATCH, GpsdReader
from drivers.options import Options

READ_BYTES: Final = 65_536  # taken per question
CONNECT_S: Final = 2.0


class SocketSource:
    """A connection to gpsd, watching; opening it may wait CONNECT_S, reading never does."""

    def __init__(self, host: str, port: int) -> None:
        try:
            self._socket = socket.create_connection((host, port), CONNECT_S)
            self._socket.sendall(
                WATCH
            )  # the first bytes on a fresh connection: the kernel takes them at once
        except OSError as error:
            raise GnssLost(
                f"gpsd does not answer at {host}, port {port}: is gpsd.service running?"
            ) from error
        self._socket.settimeout(0.0)

    def read(self) -> bytes:
        """What has arrived; raises GnssLost."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise GnssLost("the connection to gpsd is gone; open it again") from error
        if not data:
            raise GnssLost("gpsd has closed the connection; open it again")
        return data

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()


def open_gpsd(options: Mapping[str, object]) -> StreamGnss:
    """Options: host (127.0.0.1), gpsd_port (2947), max_age_s."""
    read = Options("gnss gpsd", options)
    host, port = read.text("host", "127.0.0.1"), read.integer("gpsd_port", 2947, 1, 65_535)
    max_age_s = read.number("max_age_s", 5.0, 1.0, 600.0)
    read.finish()
    return StreamGnss(SocketSource(host, port), GpsdReader("gnss"), max_age_s)
