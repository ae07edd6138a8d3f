# SPDX-License-Identifier: Apache-2.0
"""The device's configuration: one TOML file, every key checked, unknown keys refused (docs/configuration.md)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from drivers.registry import DRIVERS
from firmware.errors import ConfigError
from firmware.exposure_settings import ExposureSettings
from storage.root_tpm2 import DEFAULT_NV_BASE, DEFAULT_TCTI, OWNER_FIRST, OWNER_LAST, SLOT_COUNT

MAX_CONFIG_BYTES = 65_536

Scalar = bool | int | float | str
Options = dict[str, Scalar | list[str]]


class Section(BaseModel):
    """A table of the file; a key that nobody reads is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PartConfig(Section):
    """A driver of the registry with its options (docs/hardware); `none`: this unit has no such part."""

    port: ClassVar[str]
    name: str = "none"
    options: Options = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        if name not in DRIVERS[cls.port]:
            raise ValueError(
                f"no {cls.port} driver is called {name!r}; there are: {', '.join(DRIVERS[cls.port])}"
            )
        return name


class CameraConfig(PartConfig):
    """Which camera, and what its adapter wants to know."""

    port = "camera"
    name: str = "sim"
    id: str = Field(default="cam0", pattern=r"^[a-z0-9-]{1,32}$")


class IlluminatorConfig(PartConfig):
    """The infrared lamp."""

    port = "illuminator"


class GnssConfig(PartConfig):
    """The positioning receiver: place and time."""

    port = "gnss"


class DaylightConfig(PartConfig):
    """A photodiode that tells day from night; without one the picture does."""

    port = "daylight"


class IrFilterConfig(PartConfig):
    """The filter that keeps infrared off the sensor by day."""

    port = "ir_filter"


class ModemConfig(PartConfig):
    """The cellular modem."""

    port = "modem"


class AlertOutputsConfig(PartConfig):
    """Buzzer and lamp in a mobile unit."""

    port = "alert"


class PowerConfig(PartConfig):
    """Supply, heat and battery, and when something is given up for them."""

    port = "power"
    hot_c: float = Field(default=75.0, ge=40, le=100)
    battery: Literal["lead-12", "lead-24", "lifepo4-12", "lifepo4-24"] = "lead-12"


class WatchdogConfig(PartConfig):
    """The board's own watchdog, beside systemd's."""

    port = "watchdog"


class PositionConfig(Section):
    """The surveyed position of a fixed unit."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class EyeConfig(Section):
    """From frames to sealed reads."""

    threads: int = Field(default=1, ge=1, le=8)
    queue_frames: int = Field(default=2, ge=1, le=32)
    commit_interval_ms: int = Field(default=1200, ge=50, le=10_000)  # at most 2 syncs a second on a busy road
    crop_quality: int = Field(default=85, ge=40, le=98)
    scene_quality: int = Field(default=70, ge=30, le=95)
    scene_width_px: int = Field(default=960, ge=0, le=4096)
    ring_reads: int = Field(default=20_000, ge=0, le=1_000_000)
    ring_hours: int = Field(default=24, ge=0, le=24)
    list_poll_s: float = Field(default=1.0, ge=0.1, le=600)
    retention_poll_s: float = Field(default=30.0, ge=1, le=3600)
    repeat_s: float = Field(default=60.0, ge=0, le=3600)
    realert_s: float = Field(default=30.0, ge=0, le=3600)
    stall_limit_s: float = Field(default=20.0, ge=2, le=600)


class MatchConfig(Section):
    """A unit can only be made quieter than the agency's signed policy, never opened further."""

    silent_categories: list[str] = Field(default_factory=list)


class StorageConfig(Section):
    """Where the keyring's key lives."""

    root_of_trust: Literal["file", "tpm2"] = "file"
    tpm_tcti: str = Field(default=DEFAULT_TCTI, pattern=r"^[a-z][\x21-\x7e]{0,255}$")
    tpm_nv_base: int = Field(default=DEFAULT_NV_BASE, ge=OWNER_FIRST, le=OWNER_LAST + 1 - SLOT_COUNT)


class SyncConfig(Section):
    """The link to the office."""

    heartbeat_s: float = Field(default=30.0, ge=1, le=3600)
    lists_s: float = Field(default=60.0, ge=1, le=86_400)
    upload_s: float = Field(default=1.0, ge=0.1, le=3600)
    daily_budget_mb: float = Field(default=200.0, ge=0.1, le=1_000_000)
    pull_bind: str = "127.0.0.1"
    pull_port: int = Field(default=8444, ge=0, le=65_535)


class ProvisionConfig(Section):
    """The technician's serial link."""

    port: str = "/dev/ttyGS0"


class DeviceConfig(Section):
    """The whole file."""

    data_dir: Path
    deployment: Literal["fixed", "mobile"] = "fixed"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    position: PositionConfig | None = None
    camera: CameraConfig = CameraConfig()
    illuminator: IlluminatorConfig = IlluminatorConfig()
    daylight: DaylightConfig = DaylightConfig()
    ir_filter: IrFilterConfig = IrFilterConfig()
    exposure: ExposureSettings = ExposureSettings()
    gnss: GnssConfig = GnssConfig()
    modem: ModemConfig = ModemConfig()
    alert_outputs: AlertOutputsConfig = AlertOutputsConfig()
    power: PowerConfig = PowerConfig()
    watchdog: WatchdogConfig = WatchdogConfig()
    eye: EyeConfig = EyeConfig()
    match: MatchConfig = MatchConfig()
    storage: StorageConfig = StorageConfig()
    sync: SyncConfig = SyncConfig()
    provision: ProvisionConfig = ProvisionConfig()


def load_config(path: Path) -> DeviceConfig:
    """Reads and checks the file; relative folders are taken from where the file lies. Raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name another file with --config"
        ) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is no configuration file")
    try:
        config = DeviceConfig.model_validate(tomllib.loads(raw.decode("utf-8")))
        data_dir = (path.parent / config.data_dir).resolve()
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return config.model_copy(update={"data_dir": data_dir})


def _explain(error: ValidationError) -> str:
    """One line a problem: the key, and what it wants."""
    return "; ".join(f"{'.'.join(str(p) for p in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors())
