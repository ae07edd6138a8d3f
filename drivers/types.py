# SPDX-License-Identifier: Apache-2.0
"""What passes through the driver ports: frozen values with their units in the names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Exposure:
    """How long the shutter is open (microseconds) and how much the signal is amplified (1.0 = none)."""

    exposure_us: int
    gain: float


@dataclass(frozen=True, slots=True)
class CameraCaps:
    """What a camera can do as it was opened; ranges are (lowest, highest), both included.

    `exposure_us` microseconds, `gain` 1.0 = none, `fps` frames a second, `size` (width, height) pixels. `strobe`: its
    wiring gives the lamp a signal for as long as the shutter is open. `per_frame` False: another exposure takes seconds
    and costs frames, so that alternating it is of no use.
    """

    exposure_us: tuple[int, int]
    gain: tuple[float, float]
    fps: float
    size: tuple[int, int]
    shutter: Literal["global", "rolling", "unknown"] = "unknown"
    strobe: bool = False
    per_frame: bool = True

    def bounded(self, exposure: Exposure) -> Exposure:
        """The nearest exposure that the camera can make."""
        (shortest, longest), (lowest, highest) = self.exposure_us, self.gain
        return Exposure(
            min(max(exposure.exposure_us, shortest), longest), min(max(exposure.gain, lowest), highest)
        )


@dataclass(frozen=True, slots=True)
class FrameMetadata:
    """What a camera tells beside the picture; None where it does not.

    `applied`: the frame's exposure is what the sensor says it had, not only what it was asked for. `temperature_c` is
    the sensor's own, `lux` its estimate of the scene's light, `focus` its measure of sharpness (higher is sharper).
    """

    applied: bool = False
    temperature_c: float | None = None
    lux: float | None = None
    focus: float | None = None


NO_METADATA: Final = FrameMetadata()


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture: `pixels` uint8 (H, W, 3) BGR or (H, W); `captured_at_us` Unix microseconds UTC.

    `ir` says that the infrared lamp lit it. `source` names the file a replayed picture comes from. `lowres` is the
    same moment in grey (h, w), smaller, where the camera gives such a stream.
    """

    pixels: Pixels
    captured_at_us: int
    monotonic_ns: int
    sequence: int
    exposure: Exposure
    ir: bool
    source: str = ""
    lowres: Pixels | None = None
    metadata: FrameMetadata = NO_METADATA


@dataclass(frozen=True, slots=True)
class Fix:
    """A position: degrees (WGS 84), metres per second, `time_us` Unix microseconds UTC or None.

    `accuracy_m`: 95 % of such fixes lie within it. `quality` is the NMEA fix quality (1 autonomous, 2 differential, 4
    and 5 RTK). `course_deg` is over ground, 0 north, None where it is not known (standing still). `monotonic_ns` is
    when the receiver was there, as near as can be told, and `time_uncertainty_us` how near that is (both None for a
    place that nobody measured). `rollovers`: whole spans of 1024 weeks that the receiver's date is behind; `time_us` is
    corrected by them, or None where they are too many to be a rollover. `age_s`: how far in time the nearest measured
    fix is from one that was reckoned.
    """

    lat: float
    lon: float
    speed_mps: float
    time_us: int | None
    accuracy_m: float
    source: str
    satellites: int = 0
    quality: int = 1
    course_deg: float | None = None
    monotonic_ns: int | None = None
    time_uncertainty_us: int | None = None
    rollovers: int = 0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GnssCounters:
    """What became of a receiver's messages since it was opened.

    `used`: sound, with a fix; `damaged`: unreadable; `void`: sound, and say that there is no fix; `old_week`: with a
    date before any of our devices, corrected or (where whole rollovers don't explain it) without a time.
    """

    used: int = 0
    damaged: int = 0
    void: int = 0
    old_week: int = 0


@dataclass(frozen=True, slots=True)
class IlluminatorState:
    """What the lamp does now: `power` 0..1 after the interlock, `limited` when less than requested.

    `duty` is the share of time that a strobe lights it (1.0: always), `hot` says that its temperature holds it back.
    `sustained` is the power that it stands for ever at that duty. A lamp that is not `dimmable` is on or off.
    """

    power: float
    requested: float
    limited: bool
    dimmable: bool = True
    duty: float = 1.0
    sustained: float = 1.0
    hot: bool = False
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class PowerReading:
    """Board and battery; None where the board has no such sensor. `temperature_c` is the hottest zone.

    `undervoltage` and `throttled` are now, the others since the board started. `supply_v` and `supply_w` are what
    the board takes in, `battery_a` flows into the battery (negative: out of it). `unreadable` names the sensors that
    are there, or were promised by an option, and gave no value.
    """

    temperature_c: float | None
    undervoltage: bool | None
    throttled: bool | None
    battery_v: float | None = None
    undervoltage_since_boot: bool | None = None
    throttled_since_boot: bool | None = None
    battery_a: float | None = None
    supply_v: float | None = None
    supply_w: float | None = None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchdogInfo:
    """Who watches: `identity` as it names itself, the seconds without a feed after which it acts, and how.

    `pretimeout_s` before that the kernel panics or logs (0: it does not). `nowayout`: it cannot be stopped, so that
    an orderly end is followed by a restart too. `bit`: the board's last start was its doing. None: it does not say.
    """

    identity: str
    timeout_s: float
    pretimeout_s: float = 0.0
    nowayout: bool | None = None
    bit: bool | None = None


Registration = Literal["home", "roaming", "searching", "denied", "idle", "unknown"]
SimCard = Literal["ready", "missing", "locked", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class ModemStatus:
    """The cellular link: registered or not, signal in dBm (None unknown), operator as the modem names it.

    `signal_dbm` is the whole received power (RSSI); `rsrp_dbm` that of the cell's own signal, where there is LTE.
    `technology`: "lte", "umts", "gsm" or "nr", empty when unknown; `apn` of the first context.
    """

    registered: bool
    signal_dbm: float | None
    operator: str
    registration: Registration = "unknown"
    sim: SimCard = "unknown"
    rsrp_dbm: float | None = None
    technology: str = ""
    apn: str = ""
