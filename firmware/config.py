# SPDX-License-Identifier: Apache-2.0
"""The device's configuration: one TOML file, every key checked, unknown keys refused (docs/configuration.md)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from firmware.errors import ConfigError

MAX_CONFIG_BYTES = 65_536

Scalar = bool | int | float | str


class Section(BaseModel):
    """A table of the file; a key that nobody reads is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CameraConfig(Section):
    """Which camera, and what its adapter wants to know (docs/hardware)."""

    name: Literal["sim", "replay", "picamera2", "v4l2"] = "sim"
    id: str = Field(default="cam0", pattern=r"^[a-z0-9-]{1,32}$")
    options: dict[str, Scalar | list[str]] = Field(default_factory=dict)


class PositionConfig(Section):
    """The surveyed position of a fixed unit."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class EyeConfig(Section):
    """From frames to sealed reads."""

    threads: int = Field(default=1, ge=1, le=8)
    queue_frames: int = Field(default=2, ge=1, le=32)
    commit_interval_ms: int = Field(default=400, ge=50, le=10_000)
    crop_quality: int = Field(default=85, ge=40, le=98)
    scene_quality: int = Field(default=70, ge=30, le=95)
    scene_width_px: int = Field(default=960, ge=0, le=4096)
    ring_reads: int = Field(default=20_000, ge=0, le=1_000_000)
    ring_hours: int = Field(default=24, ge=0, le=24)
    list_poll_s: float = Field(default=1.0, ge=0.1, le=600)
    retention_poll_s: float = Field(default=30.0, ge=1, le=3600)
    repeat_s: float = Field(default=5.0, ge=0, le=3600)
    realert_s: float = Field(default=30.0, ge=0, le=3600)
    stall_limit_s: float = Field(default=20.0, ge=2, le=600)


class MatchConfig(Section):
    """A unit can only be made quieter than the agency's signed policy, never opened further."""

    silent_categories: list[str] = Field(default_factory=list)


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
    eye: EyeConfig = EyeConfig()
    match: MatchConfig = MatchConfig()
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    return config.model_copy(update={"data_dir": (path.parent / config.data_dir).resolve()})


def _explain(error: ValidationError) -> str:
    """One line a problem: the key, and what it wants."""
    return "; ".join(f"{'.'.join(str(p) for p in e['loc']) or '(file)'}: {e['msg']}" for e in error.errors())
