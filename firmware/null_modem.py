# SPDX-License-Identifier: Apache-2.0
"""A serial cable without a cable: two pseudo-terminals whose far ends are joined, as a USB link joins two computers."""

from __future__ import annotations

import os
import selectors
import threading
import tty

CHUNK_BYTES = 4096
POLL_S = 0.2


class NullModem:
    """`device` and `laptop` are the paths of the two ends; bytes written to one can be read from the other."""

    def __init__(self) -> None:
        self._masters: list[int] = []
        self._slaves: list[int] = []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters.append(master)
            self._slaves.append(slave)  # kept open: a pty whose last user leaves reports a hang-up
        self.device, self.laptop = (os.ttyname(slave) for slave in self._slaves)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="null-modem", daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        here, there = self._masters
        with selectors.DefaultSelector() as selector:
            selector.register(here, selectors.EVENT_READ, there)
            selector.register(there, selectors.EVENT_READ, here)
            while not self._stop.is_set():
                for key, _ in selector.select(POLL_S):
                    self._carry(key.fd, key.data)

    def _carry(self, source: int, target: int) -> None:
        """Moves what waits; a side that does not read loses bytes, as on a real line without flow control."""
        try:
            data = os.read(source, CHUNK_BYTES)
            while data:
                data = data[os.write(target, data) :]
        except OSError:
            return

    def close(self) -> None:
        """Pulls the cable."""
        self._stop.set()
        self._thread.join(timeout=2 * POLL_S)
        for fd in (*self._slaves, *self._masters):
            os.close(fd)
