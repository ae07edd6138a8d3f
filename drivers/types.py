# SPDX-License-Identifier: Apache-2.0
"""What passes through the driver ports: frozen values with their units in the names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Exposure:
    """How long the shutter is open (microseconds) and how much the signal is amplified (1.0 = none)."""

    exposure_us: int
    gain: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture: `pixels` uint8 (H, W, 3) BGR or (H, W); `captured_at_us` Unix microseconds UTC.

    `ir` says that the infrared lamp lit it. `source` names the file a replayed picture comes from.
    """

    pixels: Pixels
    captured_at_us: int
    monotonic_ns: int
    sequence: int
    exposure: Exposure
    ir: bool
    source: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """A position: degrees (WGS 84), metres per second, `time_us` Unix microseconds UTC or None.

    `quality` is the NMEA fix quality (1 autonomous, 2 differential, 4 and 5 RTK).
    """

    lat: float
    lon: float
    speed_mps: float
    time_us: int | None
    accuracy_m: float
    source: str
    satellites: int = 0
    quality: int = 1


@dataclass(frozen=True, slots=True)
class IlluminatorState:
    """What the lamp does now: `power` 0..1 after the interlock, `limited` when less than requested."""

    power: float
    requested: float
    limited: bool


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Board and battery; None where the board has no such sensor. `temperature_c` is the hottest zone."""

    temperature_c: float | None
    undervoltage: bool | None
    throttled: bool | None
    battery_v: float | None = None


@dataclass(frozen=True, slots=True)
class ModemStatus:
    """The cellular link: registered or not, signal in dBm (None unknown), operator as the modem names it."""

    registered: bool
    signal_dbm: float | None
    operator: str
