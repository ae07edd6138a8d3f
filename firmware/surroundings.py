# SPDX-License-Identifier: Apache-2.0
"""What stands around camera and nets: place, time, supply, buzzer. Looked at each second by the eye's main thread.

None of it can stop a read: each watcher opens its device by itself, again when it was lost, and only says how it is.
"""

from __future__ import annotations

from typing import Any

from drivers.errors import PowerUnreadable
from drivers.ports import Power
from drivers.registry import open_alert, open_gnss, open_power
from drivers.types import PowerReading
from firmware.annunciator import Annunciator
from firmware.clock import DeviceClock
from firmware.clock_check import ClockCheck
from firmware.config import DeviceConfig, PositionConfig
from firmware.health import Condition, Finding
from firmware.ladder import BUDGETS, Budget, Ladder, LadderSettings, Rung
from firmware.place import PlaceWatch
from firmware.power_watch import PowerWatch
from firmware.reopening import Reopening
from firmware.wiring_board import opener, reopening
from sync.schema import Position


class PatientPower:
    """Sensors that are opened at the first reading, and again when they were not there."""

    def __init__(self, device: Reopening[Power]) -> None:
        self._device = device

    def reading(self) -> PowerReading:
        """What they say now; raises PowerUnreadable."""
        device = self._device.get()
        if device is None:
            raise PowerUnreadable(str(self._device.problem))
        return device.reading()

    def close(self) -> None:
        """Releases what is open."""
        self._device.close()


class Surroundings:
    """`poll` once a second. `announcer.hit` tells the people in the unit; `position` goes into every read."""

    def __init__(self, config: DeviceConfig, clock: DeviceClock, surveyed: PositionConfig | None) -> None:
        where = None if surveyed is None else (surveyed.lat, surveyed.lon)
        self.place = PlaceWatch(opener(config.gnss, open_gnss), where, clock, config.deployment)
        self.clock_check = ClockCheck(clock)
        sensors = reopening(config.power, open_power)
        ladder = Ladder(LadderSettings(config.power.hot_c, config.power.battery))
        self._power = None if sensors is None else PowerWatch(PatientPower(sensors), ladder)
        self.announcer = Annunciator(opener(config.alert_outputs, open_alert))

    def start(self) -> None:
        """Begins to ask the receiver."""
        self.place.start()

    def poll(self) -> list[Finding]:
        """How everything is now."""
        return [
            *self.place.poll(),
            *self.clock_check.poll(),
            *(self._power.poll() if self._power else [Finding("power", Condition.ABSENT)]),
            self.announcer.finding(),
        ]

    @property
    def budget(self) -> Budget:
        """What the supply allows."""
        return self._power.budget if self._power else BUDGETS[Rung.FULL]

    @property
    def empty(self) -> bool:
        """Whether the battery is at its end: seal what there is, then switch off."""
        return self._power is not None and self._power.empty

    def given_up(self) -> dict[str, int]:
        """How often each rung of the ladder was taken, for the ledger."""
        return self._power.given_up() if self._power else {}

    def position(self, at_us: int) -> Position | None:
        """Where the unit was when a read was made."""
        fix = self.place.position(at_us)
        return None if fix is None else Position(lat=fix.lat, lon=fix.lon, source=fix.source)

    def status(self, now_us: int) -> dict[str, Any]:
        """For the status socket."""
        fix = self.place.position(now_us)
        here = fix and {"lat": fix.lat, "lon": fix.lon, "accuracy_m": fix.accuracy_m, "source": fix.source}
        return {
            "place": here,
            "gnss": self.place.status(),
            "clock": self.clock_check.status(),
            "power": self._power.status() if self._power else None,
            "muted": self.announcer.muted,
        }

    def close(self) -> None:
        """Ends the threads and gives the devices back."""
        self.place.close()
        if self._power is not None:
            self._power.close()
        self.announcer.close()
