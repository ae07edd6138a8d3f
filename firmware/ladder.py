# SPDX-License-Identifier: Apache-2.0
"""The ladder of what is given up when the unit runs hot or short of power; docs/hardware/power.md has it in words.

From the top: pictures of the scene, half of the frames, the infrared lamp. Reads, hits, sealing and deletion are never
given up. `STEPS` of the table say at which value and after how long a rung is taken, and when it is left again; the
deepest rung that any cause has taken is the one that stands. Pure: readings and seconds come from the caller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from drivers.types import PowerReading
from firmware.health import Condition, Finding, well

EMPTY_AFTER_S: Final = 60.0  # the battery stays below its last volt this long before the unit ends by itself
UNREADABLE_AFTER_S: Final = 30.0  # a sensor fails this long, or works again this long, before it is told
COLDEST_C, HOTTEST_C = -55.0, 150.0  # beyond it no sensor of ours measures
PLAUSIBLE_BATTERY = (0.6, 1.3)  # of a full battery's volts; beyond it a wire is off or the wrong type is set


class Rung(IntEnum):
    """What is given up, in order; each rung includes those before it."""

    FULL = 0
    NO_SCENES = 1
    SLOW_FRAMES = 2
    NO_IR = 3

    @property
    def words(self) -> str:
        """For the ledger and the status screen."""
        return _WORDS[self]


_WORDS: Final[Mapping[Rung, str]] = {
    Rung.FULL: "nothing given up",
    Rung.NO_SCENES: "given up: scene pictures",
    Rung.SLOW_FRAMES: "given up: half of the frames",
    Rung.NO_IR: "given up: infrared light",
}


@dataclass(frozen=True, slots=True)
class Budget:
    """What a rung allows: scene pictures, the share of the camera's frames that is read, the infrared lamp."""

    scenes: bool
    frame_share: float
    ir: bool


BUDGETS: Final[Mapping[Rung, Budget]] = {
    Rung.FULL: Budget(scenes=True, frame_share=1.0, ir=True),
    Rung.NO_SCENES: Budget(scenes=False, frame_share=1.0, ir=True),
    Rung.SLOW_FRAMES: Budget(scenes=False, frame_share=0.5, ir=True),
    Rung.NO_IR: Budget(scenes=False, frame_share=0.5, ir=False),
}


class Measure(StrEnum):
    """The fields of a PowerReading that decide, the most urgent first."""

    BATTERY = "battery_v"
    UNDERVOLTAGE = "undervoltage"
    TEMPERATURE = "temperature_c"
    THROTTLED = "throttled"


@dataclass(frozen=True, slots=True)
class BatteryLevels:
    """Volts under load: the three rungs, the end, the least of a charged one; `margin`: volts above to leave a rung."""

    low: float
    lower: float
    lowest: float
    empty: float
    full: float
    margin: float

    def twice(self) -> BatteryLevels:
        """Two of them in series."""
        return BatteryLevels(
            2 * self.low, 2 * self.lower, 2 * self.lowest, 2 * self.empty, 2 * self.full, 2 * self.margin
        )


_LEAD = BatteryLevels(low=12.3, lower=12.1, lowest=11.9, empty=11.7, full=12.7, margin=0.4)
_LIFEPO4 = BatteryLevels(low=12.9, lower=12.7, lowest=12.4, empty=12.0, full=13.2, margin=0.3)
BATTERIES: Final[Mapping[str, BatteryLevels]] = {
    "lead-12": _LEAD,
    "lead-24": _LEAD.twice(),
    "lifepo4-12": _LIFEPO4,
    "lifepo4-24": _LIFEPO4.twice(),
}


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """`hot_c`: degrees Celsius of the first rung, 40 to 100: some 5 below where the board throttles."""

    hot_c: float = 75.0
    battery: str = "lead-12"

    def __post_init__(self) -> None:
        if not 40.0 <= self.hot_c <= 100.0:
            raise ValueError(f"hot_c must be 40 to 100 degrees Celsius, not {self.hot_c}")
        if self.battery not in BATTERIES:
            raise ValueError(f"battery must be one of {', '.join(BATTERIES)}, not {self.battery!r}")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table: at `enter` for `enter_after_s` the rung is taken, at `leave` for `leave_after_s` left."""

    measure: Measure
    rung: Rung
    enter: float
    leave: float
    enter_after_s: float
    leave_after_s: float

    @property
    def rising(self) -> bool:
        """Whether larger is worse."""
        return self.enter > self.leave

    def bad(self, value: float, *, taken: bool) -> bool:
        """Whether the value asks for the rung, or still asks for it."""
        sign = 1.0 if self.rising else -1.0
        return sign * value > sign * self.leave if taken else sign * value >= sign * self.enter


def steps_of(settings: LadderSettings) -> tuple[Step, ...]:
    """The whole table; docs/hardware/power.md shows it with its units."""
    hot, battery = settings.hot_c, BATTERIES[settings.battery]
    heat, flag = Measure.TEMPERATURE, (1.0, 0.0)
    return (
        Step(heat, Rung.NO_SCENES, hot, hot - 5.0, 10.0, 60.0),
        Step(heat, Rung.SLOW_FRAMES, hot + 5.0, hot - 1.0, 10.0, 60.0),
        Step(heat, Rung.NO_IR, hot + 9.0, hot + 2.0, 10.0, 60.0),
        Step(Measure.THROTTLED, Rung.NO_SCENES, *flag, 30.0, 240.0),
        Step(Measure.THROTTLED, Rung.SLOW_FRAMES, *flag, 120.0, 120.0),
        # The lamp is the largest load: to give it up may end the undervoltage by itself, so that it comes back late.
        Step(Measure.UNDERVOLTAGE, Rung.NO_SCENES, *flag, 5.0, 1500.0),
        Step(Measure.UNDERVOLTAGE, Rung.SLOW_FRAMES, *flag, 30.0, 1200.0),
        Step(Measure.UNDERVOLTAGE, Rung.NO_IR, *flag, 120.0, 900.0),
        *(
            Step(Measure.BATTERY, rung, volts, round(volts + battery.margin, 3), 60.0, 300.0)
            for rung, volts in zip(tuple(Rung)[1:], (battery.low, battery.lower, battery.lowest), strict=True)
        ),
    )


@dataclass(slots=True)
class _Latch:
    """Remembers whether a step is taken, and since when its value has said otherwise (a short gap is bridged)."""

    step: Step
    taken: bool = False
    since_s: float | None = None
    known_s: float = -math.inf

    def look(self, value: float | None, now_s: float) -> None:
        """A value that is not known changes nothing: not knowing is no reason to give up more, or less."""
        if value is None:
            return
        gap_s, self.known_s = now_s - self.known_s, now_s
        if self.step.bad(value, taken=self.taken) == self.taken:
            self.since_s = None
            return
        self.since_s = now_s if self.since_s is None or gap_s > UNREADABLE_AFTER_S else self.since_s
        after_s = self.step.leave_after_s if self.taken else self.step.enter_after_s
        if now_s - self.since_s >= after_s:
            self.taken, self.since_s = not self.taken, None


_CODES: Final[Mapping[Measure, tuple[str, str]]] = {
    Measure.BATTERY: (
        "battery_low",
        "The battery runs down: clean and turn the panel, check the charger, or charge it by hand.",
    ),
    Measure.UNDERVOLTAGE: (
        "undervoltage",
        "The supply sags: fit a shorter or thicker cable and a supply that gives the board its full current.",
    ),
    Measure.TEMPERATURE: ("hot", "The unit is too hot: shade it, clear its vents, check its fan."),
    Measure.THROTTLED: (
        "throttled",
        "The board slows itself down: check its fan and heat sink first, then its supply.",
    ),
}
_EMPTY: Final = Finding(
    "power",
    Condition.FAILED,
    "battery_low",
    "The battery is empty: the unit has sealed its reads and switched off; charge the battery to start it.",
)


class Ladder:
    """`step` takes a reading and gives the rung that stands from now on."""

    def __init__(self, settings: LadderSettings | None = None) -> None:
        settings = settings or LadderSettings()
        self._battery = BATTERIES[settings.battery]
        self._latches = [_Latch(step) for step in steps_of(settings)]
        self._end = _Latch(
            Step(Measure.BATTERY, Rung.NO_IR, self._battery.empty, math.inf, EMPTY_AFTER_S, math.inf)
        )
        self._blind = _Latch(
            Step(Measure.BATTERY, Rung.FULL, 1.0, 0.0, UNREADABLE_AFTER_S, UNREADABLE_AFTER_S)
        )
        self._unreadable: tuple[str, ...] = ()
        self.rung = Rung.FULL

    @property
    def budget(self) -> Budget:
        """What the rung allows."""
        return BUDGETS[self.rung]

    @property
    def empty(self) -> bool:
        """Whether the battery is empty: seal what is in RAM, then switch off. Never taken back."""
        return self._end.taken

    def step(self, reading: PowerReading | None, now_s: float) -> Rung:
        """Takes what the sensors say at `now_s` (monotonic; ask every few seconds); None: nothing could be read."""
        values, unreadable = self._values(reading)
        for latch in (*self._latches, self._end):
            latch.look(values[latch.step.measure], now_s)
        self._blind.look(float(bool(unreadable)), now_s)
        if unreadable:
            self._unreadable = unreadable
        self.rung = max((latch.step.rung for latch in self._latches if latch.taken), default=Rung.FULL)
        return self.rung

    def _values(self, reading: PowerReading | None) -> tuple[dict[Measure, float | None], tuple[str, ...]]:
        """The values that can be believed, and the names of the sensors that cannot."""
        if reading is None:
            return dict.fromkeys(Measure), ("every sensor",)
        values = {measure: getattr(reading, measure.value) for measure in Measure}
        low, high = (share * self._battery.full for share in PLAUSIBLE_BATTERY)
        doubted = list(reading.unreadable)
        for measure, least, most, name in (
            (Measure.TEMPERATURE, COLDEST_C, HOTTEST_C, "temperature"),
            (Measure.BATTERY, low, high, "battery"),
        ):
            value = values[measure]
            if value is not None and not least <= value <= most:
                values[measure] = None
                doubted.append(name)
        return values, tuple(doubted)

    def findings(self) -> list[Finding]:
        """The one finding of the part "power": the most urgent cause that stands. It names no rung: it is told once."""
        if self.empty:
            return [_EMPTY]
        taken = {latch.step.measure for latch in self._latches if latch.taken}
        for measure in Measure:
            if measure in taken:
                return [Finding("power", Condition.DEGRADED, *_CODES[measure])]
        if self._blind.taken:
            names = ", ".join(self._unreadable)
            advice = f"These sensors give no sense: {names}; check their wires and the configured battery."
            return [Finding("power", Condition.DEGRADED, "unreadable", advice)]
        return [well("power")]
