# SPDX-License-Identifier: Apache-2.0
"""The small seams that hardware hangs on. Simulated and real drivers keep one contract."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from drivers.types import Exposure, Fix, Frame, IlluminatorState, ModemStatus, PowerReading


@runtime_checkable
class Camera(Protocol):
    """A source of frames. Sequence numbers rise; a gap means that frames were dropped."""

    def capture(self, timeout_s: float) -> Frame | None:
        """The newest frame, or None when the source is finished; raises CameraTimeout, CameraLost."""

    def configure(self, exposure: Exposure) -> None:
        """Applies to one of the next frames; each frame says which exposure it had."""

    def close(self) -> None:
        """Releases the device; may be called twice."""


@runtime_checkable
class Illuminator(Protocol):
    """The infrared lamp. It is off after open, after `close()` and when the process ends."""

    def set_power(self, power: float) -> None:
        """Asks for 0..1 of full power (clamped); the interlock may give less. Raises BadOption on NaN."""

    def off(self) -> None:
        """Dark at once."""

    def state(self) -> IlluminatorState:
        """What the lamp does now, after the interlock."""

    def close(self) -> None:
        """Off, and the pin released; may be called twice."""


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
    """A positioning receiver."""

    def fix(self) -> Fix | None:
        """The newest fix, None while there is none or the last one is stale; raises GnssLost."""

    def close(self) -> None:
        """Releases the port; may be called twice."""


@runtime_checkable
class Modem(Protocol):
    """The cellular modem, as far as a person at the pole wants to know."""

    def status(self) -> ModemStatus:
        """Registration and signal; raises DriverError when the modem does not answer."""

    def close(self) -> None:
        """Releases the port; may be called twice."""


@runtime_checkable
class Power(Protocol):
    """Supply and heat of the board."""

    def reading(self) -> PowerReading:
        """What the sensors say now; raises PowerUnreadable when none can be read."""


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

    def close(self) -> None:
        """Stops watching in an orderly way; may be called twice."""
