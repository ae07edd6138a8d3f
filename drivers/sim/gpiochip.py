# SPDX-License-Identifier: Apache-2.0
"""A GPIO chip in memory behind the interface of libgpiod 2's Python library, as far as our drivers use it.

Lines behave as the kernel's do: a held one is busy (EBUSY), an unknown one is invalid (EINVAL), and a released one is
driven by nobody, so that its pull decides.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from types import SimpleNamespace
from typing import Final

LINES: Final = 64


class Value(Enum):
    """Logical states of a line."""

    INACTIVE = 0
    ACTIVE = 1

    def __bool__(self) -> bool:
        return self is Value.ACTIVE


Direction = Enum("Direction", {"AS_IS": 1, "INPUT": 2, "OUTPUT": 3})
Bias = Enum("Bias", {"AS_IS": 1, "UNKNOWN": 2, "DISABLED": 3, "PULL_UP": 4, "PULL_DOWN": 5})
Edge = Enum("Edge", {"NONE": 1, "RISING": 2, "FALLING": 3, "BOTH": 4})


@dataclass(frozen=True, slots=True)
class EdgeEvent:
    """One change of a line, with the kernel's monotonic time."""

    event_type: Enum
    timestamp_ns: int
    line_offset: int

    Type = Enum("Type", {"RISING_EDGE": 1, "FALLING_EDGE": 2})


@dataclass
class Settings:
    """How a line is requested: `LineSettings` of the library."""

    direction: Direction = Direction.AS_IS
    edge_detection: Edge = Edge.NONE
    bias: Bias = Bias.AS_IS
    active_low: bool = False
    output_value: Value = Value.INACTIVE


@dataclass
class _Pin:
    level: bool | None = None  # what somebody outside drives it to; None: nobody
    driven: bool | None = None  # what the holder drives it to
    held: Settings | None = None
    consumer: str | None = None
    events: deque[EdgeEvent] = field(default_factory=deque)


class LineRequest:
    """Lines that are held until `release`."""

    def __init__(self, chip: SimGpioChip, lines: Mapping[int, Settings]) -> None:
        self._chip, self._lines = chip, dict(lines)

    def set_value(self, line: int | str, value: Value) -> None:
        """Drives a line to its logical value."""
        offset = self._chip.offset(line)
        self._chip.put(offset, bool(value) != self._lines[offset].active_low)

    def get_value(self, line: int | str) -> Value:
        """The logical value of a line."""
        offset = self._chip.offset(line)
        return Value(int(self._chip.level(offset) != self._lines[offset].active_low))

    def wait_edge_events(self, timeout: timedelta | float | None = None) -> bool:
        """Whether an edge has come within the time."""
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        with self._chip.changed:
            return self._chip.changed.wait_for(lambda: any(self._pending()), seconds)

    def _pending(self) -> list[deque[EdgeEvent]]:
        return [self._chip.pins[line].events for line in self._lines]

    def read_edge_events(self, max_events: int | None = None) -> list[EdgeEvent]:
        """The edges that have come, oldest first."""
        with self._chip.changed:
            found = [event for events in self._pending() for event in events]
            for events in self._pending():
                events.clear()
        return found[:max_events]

    def release(self) -> None:
        """Lets go: nobody drives the lines any more."""
        for line in self._lines:
            self._chip.let_go(line)
        self._lines.clear()


class SimGpioChip:
    """Takes the place of the `gpiod` module. `names`: lines by name; `on_change` gets each new level of a line."""

    LineSettings = Settings
    EdgeEvent = EdgeEvent
    line = SimpleNamespace(Direction=Direction, Value=Value, Bias=Bias, Edge=Edge)

    def __init__(
        self,
        path: str = "/dev/gpiochip0",
        names: Mapping[str, int] | None = None,
        on_change: Callable[[int, bool], None] = lambda _offset, _level: None,
    ) -> None:
        self.path, self._names, self._on_change = path, dict(names or {}), on_change
        self.pins = [_Pin() for _ in range(LINES)]
        self.changed = threading.Condition()

    def request_lines(
        self, path: str, config: Mapping[int | str, Settings], consumer: str | None = None
    ) -> LineRequest:
        """Holds lines for a consumer; raises FileNotFoundError for another chip, OSError (EBUSY, EINVAL)."""
        if path != self.path:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        lines = {self.offset(line): settings for line, settings in config.items()}
        for offset in lines:
            if self.pins[offset].held is not None:
                raise OSError(errno.EBUSY, "Device or resource busy")
        for offset, settings in lines.items():
            self.pins[offset].held, self.pins[offset].consumer = settings, consumer
            if settings.direction is Direction.OUTPUT:
                self.put(offset, bool(settings.output_value) != settings.active_low)
        return LineRequest(self, lines)

    def offset(self, line: int | str) -> int:
        """A line's number; raises OSError (EINVAL)."""
        number = self._names.get(line, -1) if isinstance(line, str) else line
        if not 0 <= number < LINES:
            raise OSError(errno.EINVAL, "Invalid argument")
        return number

    def level(self, offset: int) -> bool:
        """What a meter on the pin would show; an undriven line follows its pull, and is low without one."""
        pin = self.pins[offset]
        level = pin.driven if pin.driven is not None else pin.level
        return level if level is not None else pin.held is not None and pin.held.bias is Bias.PULL_UP

    def put(self, offset: int, level: bool) -> None:  # noqa: FBT001 - a line's level
        """The holder drives a line."""
        self.pins[offset].driven = level
        self._on_change(offset, level)

    def drive(self, offset: int, level: bool | None) -> None:  # noqa: FBT001
        """Somebody outside drives a line, or lets go of it."""
        with self.changed:
            before, pin = self.level(offset), self.pins[offset]
            pin.level = level
            after = self.level(offset)
            if pin.held is not None and pin.held.edge_detection is Edge.BOTH and before != after:
                kind = EdgeEvent.Type.RISING_EDGE if after else EdgeEvent.Type.FALLING_EDGE
                pin.events.append(EdgeEvent(kind, time.monotonic_ns(), offset))
                self.changed.notify_all()

    def let_go(self, offset: int) -> None:
        """The holder releases a line."""
        self.pins[offset].driven = self.pins[offset].held = None
