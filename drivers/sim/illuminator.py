# SPDX-License-Identifier: Apache-2.0
"""The simulated infrared lamp: what it gives lights the simulated road."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from drivers.errors import PinBusy
from drivers.illuminator import Interlock, LimitedLamp
from drivers.lamp_limits import CUT_C, PWM_LIMIT, SWITCH_LIMIT, StrobeLine, lowered
from drivers.options import Options
from drivers.sim.faults import FaultScript
from drivers.sim.lines import DEFAULT_WORLD, LampLine, lamp_line

FAULTS: Final = {"x": "dead", "d": "dim", "s": "stuck on", "h": "hot", "b": "pin busy"}
COOL_C: Final = 45.0
HOT_C: Final = CUT_C + 5.0
Drive = Callable[[float], None]
DIM: Final = 0.1  # of the light: a lens full of mud, or most LEDs gone

_BEGUN_S: Final[dict[str, float]] = {}  # a script runs on while its lamp is closed and opened again


class _ToldLine(StrobeLine):
    """The simulated wire does as it is told: what was said is all that counts."""

    def duty(self, now_s: float) -> float:  # noqa: ARG002 - as of a real line
        """Nothing on its own."""
        return 0.0


class SimLamp(LimitedLamp):
    """On a wire of the world; with a strobe it flashes while the shutter is open."""

    def __init__(
        self, line: LampLine, drive: Drive, interlock: Interlock, monotonic_s: Callable[[], float]
    ) -> None:
        self._line, self._strobed = line, interlock.strobe is not None
        super().__init__(drive, self._let_go, interlock, monotonic_s=monotonic_s)

    def set_strobe(self, exposure_us: int, fps: float) -> None:
        """The flash is as long as the exposure."""
        if self._strobed:
            self._line.pulse_us = float(exposure_us)
        super().set_strobe(exposure_us, fps)

    def _let_go(self) -> None:
        self._line.power = self._line.pulse_us = None  # the pole's lamp switches itself again


def open_sim(options: Mapping[str, object]) -> LimitedLamp:
    """Options: world (the name the camera has), kind, strobe, sustained, faults (a letter a second), monotonic_s."""
    read = Options("illuminator sim", options)
    name = read.text("world", DEFAULT_WORLD)
    switched = read.choice("kind", "pwm", ("pwm", "switch")) == "switch"
    strobe = _ToldLine() if read.flag("strobe", default=False) else None
    limit = lowered(SWITCH_LIMIT if switched else PWM_LIMIT, read.optional("sustained", 0.0, 1.0))
    faults, clock = read.text("faults", ""), read.thing("monotonic_s")
    script = FaultScript("illuminator sim", faults, FAULTS)
    read.finish()
    line, now_s = lamp_line(name), clock if callable(clock) else time.monotonic
    begun_s = _BEGUN_S.setdefault(name, now_s())

    def fault() -> str:
        return script.at(int(now_s() - begun_s))

    def drive(power: float) -> None:
        if fault() == "b":
            raise PinBusy("the simulated lamp's pin is busy")
        line.power = {"x": 0.0, "d": power * DIM, "s": 1.0}.get(fault(), power)

    thermometer = (lambda: HOT_C if fault() == "h" else COOL_C) if "h" in faults else None
    return SimLamp(line, drive, Interlock(limit, thermometer, CUT_C, strobe, switched), now_s)
