# SPDX-License-Identifier: Apache-2.0
"""A trailer's charge controller or battery monitor on a VE.Direct cable, beside the board's own sensors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from drivers.errors import PowerUnreadable
from drivers.options import Options
from drivers.power_sysfs import NOTHING, SysfsPower, read_board
from drivers.serial_line import SerialLine
from drivers.types import PowerReading
from drivers.vedirect import Frame, VeDirectReader

BAUD: Final = 19_200  # 8N1, by the protocol
RETRY_S: Final = 5.0  # a port that is gone is opened again so often
CHARGER: Final = "battery (VE.Direct)"


class VeDirectPower:
    """Reads what has arrived whenever it is asked; it never waits. A cable that is pulled is told and opened again."""

    def __init__(
        self,
        port: str,
        max_age_s: float,
        board: SysfsPower,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._max_age_s, self._board, self._monotonic_s = port, max_age_s, board, monotonic_s
        self._line: SerialLine | None = None
        self._reader = VeDirectReader()
        self._frame: Frame = {}
        self._at_s = self._tried_s = -float("inf")

    @property
    def damaged(self) -> int:
        """Frames whose checksum did not fit, since the port was opened."""
        return self._reader.damaged

    def reading(self) -> PowerReading:
        """Board and battery; raises PowerUnreadable when neither gives a value."""
        try:
            board = self._board.reading()
        except PowerUnreadable:
            board = NOTHING
        self._take()
        frame = self._frame if self._monotonic_s() - self._at_s <= self._max_age_s else {}
        volts = _thousandth(frame, "V")
        if volts is not None:
            return replace(board, battery_v=volts, battery_a=_thousandth(frame, "I"))
        if replace(board, unreadable=()) == NOTHING:
            raise PowerUnreadable(
                f"neither the board nor {self._name} gives a value; check the VE.Direct cable"
            )
        return replace(board, unreadable=(*board.unreadable, CHARGER))

    def _take(self) -> None:
        """Takes the newest frame that has arrived."""
        try:
            line = self._opened()
            frames = [] if line is None else self._reader.feed(line.read())
        except PowerUnreadable:
            self.close()
            return
        if frames:
            self._frame, self._at_s = frames[-1], self._monotonic_s()

    def _opened(self) -> SerialLine | None:
        now_s = self._monotonic_s()
        if self._line is None and now_s - self._tried_s >= RETRY_S:
            self._tried_s = now_s
            self._line = SerialLine(self._name, BAUD, "the charge controller", PowerUnreadable)
            self._reader = VeDirectReader()
        return self._line

    def close(self) -> None:
        """Releases the port; the next reading would open it again."""
        if self._line is not None:
            self._line.close()
            self._line = None


def _thousandth(frame: Frame, label: str) -> float | None:
    """A field in mV or mA as V or A; None where it is missing or no whole number."""
    text = frame.get(label, "")
    digits = text.removeprefix("-")
    return int(text) / 1000 if digits.isascii() and digits.isdigit() else None


def open_vedirect(options: Mapping[str, object]) -> VeDirectPower:
    """Options: port, max_age_s, and the board's own: root, supply_min_v (its battery is the one on the cable)."""
    read = Options("power vedirect", {"battery": "none", **options})
    port, max_age_s = read.text("port"), read.number("max_age_s", 10.0, 2.0, 600.0)
    board, clock = read_board(read), read.thing("monotonic_s")
    read.finish()
    return VeDirectPower(port, max_age_s, board, clock if callable(clock) else time.monotonic)
