# SPDX-License-Identifier: Apache-2.0
"""Opens what the configuration says is fitted around camera and nets: lamp, sky, place, supply, buzzer, watchdogs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TypeVar

from drivers.ports import Watchdog
from drivers.registry import open_daylight, open_illuminator, open_ir_filter, open_watchdog
from firmware.config import DeviceConfig, PartConfig
from firmware.light import LightParts
from firmware.reopening import Reopening


class Closable(Protocol):
    """Every device that is opened."""

    def close(self) -> None:
        """Gives it back."""


T = TypeVar("T")
C = TypeVar("C", bound=Closable)


def opener(part: PartConfig, open_it: Callable[[str, dict[str, object]], T]) -> Callable[[], T] | None:
    """What opens a part by its configuration; None where this unit has none."""
    if part.name == "none":
        return None
    return lambda: open_it(part.name, dict(part.options))


def reopening(part: PartConfig, open_it: Callable[[str, dict[str, object]], C]) -> Reopening[C] | None:
    """The same, opened at its first use and again when it was lost."""
    opens = opener(part, open_it)
    return None if opens is None else Reopening(opens, lambda device: device.close())


def light_parts(config: DeviceConfig) -> LightParts:
    """Lamp, photodiode and filter."""
    return LightParts(
        reopening(config.illuminator, open_illuminator),
        reopening(config.daylight, open_daylight),
        reopening(config.ir_filter, open_ir_filter),
    )


def watchdogs(config: DeviceConfig) -> dict[str, Callable[[], Watchdog]]:
    """systemd's, where systemd started us, and the board's own."""
    found: dict[str, Callable[[], Watchdog]] = {}
    notify = os.environ.get("NOTIFY_SOCKET")
    if notify is not None:
        found["systemd"] = lambda: open_watchdog("systemd", {"socket": notify})
    board = opener(config.watchdog, open_watchdog)
    if board is not None:
        found["board"] = board
    return found
