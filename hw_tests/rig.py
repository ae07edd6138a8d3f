# SPDX-License-Identifier: Apache-2.0
"""A rig file: which parts hang on this machine, and what its person allows the tests to do."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from firmware.config import PartConfig, Section

MAX_RIG_BYTES = 65_536
SIMULATED = Path(__file__).with_name("simulated.toml")


class RigError(Exception):
    """A rig file cannot be used; the message says which key and what it wants."""


class Part(PartConfig):
    """A driver of the registry with its options, as in the device's own configuration."""

    name: str

    @property
    def simulated(self) -> bool:
        """Whether the driver models its part instead of talking to one."""
        return self.name == "sim"

    def scripted(self, faults: str) -> dict[str, object]:
        """The options with a fault script in place of the file's own."""
        return {**self.options, "faults": faults}


class CameraPart(Part):
    """A live camera (a replayed recording has no cable, pace or exposure). `fps`: the pace that the tests expect."""

    port = "camera"
    name: Literal["sim", "v4l2", "picamera2", "jetson"]
    fps: float = Field(default=15.0, ge=1, le=240)


class IlluminatorPart(Part):
    """`sense_pin` is an input wired to the lamp driver's input, behind its pull-down."""

    port = "illuminator"
    sense_pin: int | None = Field(default=None, ge=0, le=27)


class GnssPart(Part):
    """`fix_within_s` is how long a start may take where the antenna stands."""

    port = "gnss"
    fix_within_s: float = Field(default=120.0, ge=1, le=1800)


class ModemPart(Part):
    """`registered_within_s`: how long a start may take where the antenna stands."""

    port = "modem"
    registered_within_s: float = Field(default=120.0, ge=1, le=1800)


class PowerPart(Part):
    """Supply and heat."""

    port = "power"


class WatchdogPart(Part):
    """`device` would restart the machine that runs the tests: only a simulated one is starved."""

    port = "watchdog"


class SerialPart(Section):
    """The technician's link: `null-modem` makes both ends here, `cable` names two ports joined by a cable."""

    name: Literal["null-modem", "cable"]
    device: str | None = None
    laptop: str | None = None

    @model_validator(mode="after")
    def _has_two_ends(self) -> Self:
        given = sum(end is not None for end in (self.device, self.laptop))
        if given != (2 if self.name == "cable" else 0):
            raise ValueError("'cable' names both ports, `device` and `laptop`; 'null-modem' names none")
        return self


class Rig(Section):
    """The whole file. `manual`: a person stands by, who unplugs and darkens what a test asks for."""

    manual: bool = False
    camera: CameraPart | None = None
    illuminator: IlluminatorPart | None = None
    gnss: GnssPart | None = None
    modem: ModemPart | None = None
    power: PowerPart | None = None
    watchdog: WatchdogPart | None = None
    serial: SerialPart | None = None


def load_rig(path: Path) -> Rig:
    """Reads and checks a rig file; raises RigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RigError(f"{path}: cannot be read ({error.strerror})") from error
    if len(raw) > MAX_RIG_BYTES:
        raise RigError(f"{path}: larger than {MAX_RIG_BYTES} bytes; this is no rig file")
    try:
        return Rig.model_validate(tomllib.loads(raw.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RigError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        problems = (f"{'.'.join(str(p) for p in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors())
        raise RigError(f"{path}: {'; '.join(problems)}") from error
