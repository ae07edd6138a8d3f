# SPDX-License-Identifier: Apache-2.0
"""The small seams that hardware hangs on. Simulated and real drivers keep one contract."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from drivers.types import (
    CameraCaps,
    Exposure,
    Fix,
    Frame,
    GnssCounters,
    IlluminatorState,
    ModemStatus,
    PowerReading,
    WatchdogInfo,
)


@runtime_checkable
class Camera(Protocol):
    """A source of frames. Sequence numbers rise; a gap means that frames were dropped."""

    def capture(self, timeout_s: float) -> Frame | None:
        """The newest frame, or None when the source is finished; raises CameraTimeout, CameraLost."""

    def capabilities(self) -> CameraCaps:
        """What it can do as it was opened; the same at every call."""

    def configure(self, exposure: Exposure) -> None:
        """Applies, within the capabilities, to one of the next frames; each frame says which exposure it had."""

    def close(self) -> None:
        """Releases the device; may be called twice."""


@runtime_checkable
class Illuminator(Protocol):
    """The infrared lamp. It is off after open, after `close()` and when the process ends."""

    def set_power(self, power: float) -> None:
        """Asks for 0..1 of full power (clamped); the interlock may give less. Raises BadOption on NaN."""

    def set_strobe(self, exposure_us: int, fps: float) -> None:
        """Says how long and how often the shutter opens; a lamp without a strobe line takes no notice."""

    def off(self) -> None:
        """Dark at once."""

    def state(self) -> IlluminatorState:
        """What the lamp does now, after the interlock."""

    def close(self) -> None:
        """Off, and the pin released; may be called twice."""


@runtime_checkable
class Daylight(Protocol):
    """A photodiode that looks at the sky."""

    def lux(self) -> float | None:
        """Illuminance now; None where no photodiode is fitted. Raises DaylightUnreadable."""

    def close(self) -> None:
        """Releases what it holds; may be called twice."""


@runtime_checkable
class IrFilter(Protocol):
    """The filter that keeps infrared from the sensor by day. It stays where it was put, also without power."""

    def place(self, *, inside: bool) -> None:
        """Before the sensor (by day) or out of the way (by night); raises PinBusy."""

    def close(self) -> None:
        """Releases its pins, both low; may be called twice."""


@runtime_checkable
class Gpio(Protocol):
    """Digital pins by their number on the header's own scheme (BCM on a Raspberry Pi)."""

    def write(self, pin: int, value: bool) -> None:  # noqa: FBT001 - a pin's level
        """Drives an output; raises PinBusy."""

    def read(self, pin: int) -> bool:
        """The level of an input; raises PinBusy."""

    def close(self) -> None:
        """Releases every pin; may be called twice."""


@runtime_checkable
class Gnss(Protocol):
    """A positioning receiver. Asking it never waits for it."""

    @property
    def counters(self) -> GnssCounters:
        """What became of its messages since it was opened."""

    def fix(self) -> Fix | None:
        """The newest fix, None while there is none or the last one is stale; raises GnssLost."""

    def close(self) -> None:
        """Releases the port; may be called twice."""


@runtime_checkable
class Modem(Protocol):
    """The cellular modem, as far as a person at the pole wants to know."""

    def status(self) -> ModemStatus:
        """SIM, registration and signal; takes seconds. Raises ModemMute, ModemLost."""

    def restart(self) -> None:
        """Starts the modem anew, heard or not: the last resort. Raises ModemLost; it is away for half a minute."""

    def close(self) -> None:
        """Releases the port; may be called twice."""


@runtime_checkable
class Power(Protocol):
    """Supply and heat of the board, and the battery where there is one. Asking it never waits."""

    def reading(self) -> PowerReading:
        """What the sensors say now; raises PowerUnreadable when none can be read."""

    def close(self) -> None:
        """Releases what it holds; may be called twice."""


@runtime_checkable
class Clock(Protocol):
    """Wall time and elapsed time."""

    def now_us(self) -> int:
        """Unix microseconds UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""


@runtime_checkable
class Watchdog(Protocol):
    """Something that restarts us unless fed."""

    def feed(self) -> None:
        """Says that every stage still advances; raises WatchdogUnavailable."""

    def info(self) -> WatchdogInfo | None:
        """Who watches and how; None where nobody does. The same at every call, also after `close()`."""

    def close(self) -> None:
        """Stops watching in an orderly way; may be called twice."""


@runtime_checkable
class AlertOutput(Protocol):
    """Buzzer and lamp for the people in the vehicle; off after open, after `close()` and when the process ends."""

    def drive(self, *, buzzer: bool, lamp: bool) -> None:
        """Switches both; raises PinBusy when the pins were lost or closed."""

    def pressed(self) -> bool:
        """Whether the button that acknowledges is held down; False where there is none. Raises PinBusy."""

    def close(self) -> None:
        """Both off, and the pins released; may be called twice."""
