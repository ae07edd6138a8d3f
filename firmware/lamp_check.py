# SPDX-License-Identifier: Apache-2.0
"""Whether the infrared lamp does what it is told: by its interlock's word, and by what the picture shows without it."""

from __future__ import annotations

from typing import Final

from drivers.types import IlluminatorState
from firmware.exposure import Command
from firmware.health import Condition, Finding, well
from firmware.lamp_probe import Probe
from firmware.lasting import Lasting
from firmware.metering import light

PART: Final = "lamp"
SEEN_GREY: Final = (
    0.7  # grey levels by which the near field must dim without the lamp; its noise is below 0.2
)
FAINT: Final = 0.2  # of the light that it used to give: less is mud or dead LEDs, more may be a wet road
PROBES: Final = 3  # in agreement before something is said ...
WELL_PROBES: Final = 2  # ... and before it is taken back
LEARNING: Final = 0.2
LIMITED_S: Final = 30.0
LIMITED_CLEAR_S: Final = 60.0
HOT_S: Final = 2.0
HOT_CLEAR_S: Final = 60.0

ADVICE: Final = {
    "busy": "Another program holds the lamp's pin: stop it, or name another pin in [illuminator]",
    "hot": "The lamp is too hot and is held back: free its heat sink of leaves and mud, look whether its fan turns",
    "dead": "The lamp gives no light in the picture: check its plug, its fuse and where it points",
    "dim": "The lamp is much weaker than it was: clean its window, look with a phone for dark LEDs",
    "stuck_on": "The lamp shines although it is switched off: check its driver and the pull-down on the driver's input",
    "limited": "The lamp's interlock gives less than the night needs: use a stronger lamp, or lower lamp_max",
}


def _trouble(code: str) -> Finding:
    failed = code in ("busy", "dead")
    return Finding(PART, Condition.FAILED if failed else Condition.DEGRADED, code, ADVICE[code])


class LampCheck:
    """Call `see` after each command; the finding has its own hysteresis."""

    def __init__(self) -> None:
        self._hot, self._limited = Lasting(HOT_S, HOT_CLEAR_S), Lasting(LIMITED_S, LIMITED_CLEAR_S)
        self._given: tuple[float, float] | None = (
            None  # grey per microsecond and power: of the lamp, of the rest
        )
        self._verdict = self._told = ""
        self._alike = 0

    def see(
        self, command: Command, state: IlluminatorState | None, now_ns: int, *, busy: bool = False
    ) -> Finding:
        """How the lamp is. `state` None: this pole has none; `busy`: its pin could not be had."""
        if busy:
            return _trouble("busy")
        if state is None:
            return Finding(PART, Condition.ABSENT)
        now_s = now_ns / 1e9
        hot = self._hot.step(state.hot, now_s)
        limited = self._limited.step(state.limited and not state.hot, now_s)
        if command.probe is not None and command.probe.power > 0.0:
            self._judge(command.probe)
        if hot:
            return _trouble("hot")
        if self._told:
            return _trouble(self._told)
        return _trouble("limited") if limited else well(PART)

    def _judge(self, probe: Probe) -> None:
        """Takes one look without the lamp; several in a row have to say the same."""
        found = self._found(probe)
        self._alike = self._alike + 1 if found == self._verdict else 1
        self._verdict = found
        if self._alike >= (PROBES if found else WELL_PROBES):
            self._told = found

    def _found(self, probe: Probe) -> str:
        """What one probe says: empty when the lamp gives its light."""
        if probe.road.washed_out:
            return ""  # broad daylight: the lamp does not matter
        by_lamp = min(probe.before, probe.after) - probe.dark
        signal = probe.exposure.exposure_us * probe.exposure.gain * probe.power
        if by_lamp < SEEN_GREY:
            return self._why_no_change(light(probe.dark) / signal)
        rest = light(probe.dark) / signal
        given = light(probe.dark + by_lamp) / signal - rest
        if self._given is not None and given < FAINT * self._given[0]:
            return "dim"
        self._learn(given, rest)
        return ""

    def _learn(self, given: float, rest: float) -> None:
        old_given, old_rest = self._given or (given, rest)
        learned = old_given + LEARNING * (given - old_given), old_rest + LEARNING * (rest - old_rest)
        self._given = learned

    def _why_no_change(self, without: float) -> str:
        """As bright as it used to be with the lamp: it can't be switched off; else it gives nothing."""
        if self._given is None:
            return "dead"
        with_lamp, rest = self._given[0] + self._given[1], self._given[1]
        return "stuck_on" if without > (with_lamp + rest) / 2 else "dead"
