# SPDX-License-Identifier: Apache-2.0
"""The simulated infrared lamp: what it gives lights the simulated road."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.illuminator import PWM_LIMIT, LimitedLamp, lowered
from drivers.options import Options
from drivers.sim.world import DEFAULT_WORLD, lamp_line


def open_sim(options: Mapping[str, object]) -> LimitedLamp:
    """Options: world (the name the camera has), sustained (lowers the interlock)."""
    read = Options("illuminator sim", options)
    line = lamp_line(read.text("world", DEFAULT_WORLD))
    limit = lowered(PWM_LIMIT, read.optional("sustained", 0.0, 1.0))
    read.finish()

    def drive(power: float) -> None:
        line.power = power

    def release() -> None:
        line.power = None  # the pole's lamp switches itself again

    return LimitedLamp(drive, release, limit)
