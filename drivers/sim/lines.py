# SPDX-License-Identifier: Apache-2.0
"""The wires between the simulated devices of one pole: named, of this process, both ends read and write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

DEFAULT_WORLD: Final = "road"
MIN_RATE_HZ: Final = 0.1


@dataclass(slots=True)
class LampLine:
    """The wire from an illuminator to the world. `power` None: no illuminator, the lamp switches itself by night.

    `pulse_us` None: it shines all the time. Otherwise it flashes for so long: `delay_us` after each exposure's
    start, or with a `rate_hz` of its own, which is not in step with the camera.
    """

    power: float | None = None
    pulse_us: float | None = None
    delay_us: float = 0.0
    rate_hz: float | None = None

    def lit_share(self, begin_s: float, exposure_us: float, *, late_us: float = 0.0) -> float:
        """Share of an exposure that begins at `begin_s`, for its row so much later, during which the lamp shines."""
        if self.pulse_us is None or exposure_us <= 0.0:
            return 1.0
        if self.rate_hz is None:
            begin = self.delay_us - late_us
            end = min(exposure_us, begin + self.pulse_us)
            return max(0.0, end - max(0.0, begin)) / exposure_us
        period_us = 1e6 / max(self.rate_hz, MIN_RATE_HZ)
        first = (
            self.delay_us - begin_s * 1e6 - late_us
        ) % period_us - period_us  # of the flash under way at the start
        lit, pulse = 0.0, min(self.pulse_us, period_us)
        while first < exposure_us:
            lit += max(0.0, min(exposure_us, first + pulse) - max(0.0, first))
            first += period_us
        return lit / exposure_us


@dataclass(slots=True)
class FilterLine:
    """The wire to the camera's infrared-cut filter. `filter_in` None: nobody drives it, it goes out by night."""

    filter_in: bool | None = None


@dataclass(slots=True)
class PhotoLine:
    """What a photodiode on the pole measures: the world writes it with each frame."""

    lux: float | None = None


@dataclass(slots=True)
class Wires:
    """Everything that hangs on one world."""

    lamp: LampLine = field(default_factory=LampLine)
    filter: FilterLine = field(default_factory=FilterLine)
    photo: PhotoLine = field(default_factory=PhotoLine)


_WIRES: Final[dict[str, Wires]] = {}


def wires(name: str = DEFAULT_WORLD) -> Wires:
    """The wires of the world of this name in this process."""
    return _WIRES.setdefault(name, Wires())


def forget(name: str) -> None:
    """A world that ended leaves its name free."""
    _WIRES.pop(name, None)


def lamp_line(name: str = DEFAULT_WORLD) -> LampLine:
    """The lamp's wire of the world of this name."""
    return wires(name).lamp


def filter_line(name: str = DEFAULT_WORLD) -> FilterLine:
    """The infrared-cut filter's wire of the world of this name."""
    return wires(name).filter


def photo_line(name: str = DEFAULT_WORLD) -> PhotoLine:
    """The photodiode's wire of the world of this name."""
    return wires(name).photo
