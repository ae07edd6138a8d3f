# SPDX-License-Identifier: Apache-2.0
"""The agency's settings, `office.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backoffice.errors import BadRequest, NotInitialised
from storage.atomic import write_atomic
from sync.schema import canonical_json

MAX_SETTINGS_BYTES = 64 * 1024


class Settings(BaseModel):
    """What init records. `device_url` is where devices find the office; None: where `serve` last listened."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: int = 1
    agency: str = Field(min_length=1, max_length=120)
    ori: str = Field(default="", max_length=16)
    device_url: str | None = Field(default=None, max_length=300)
    names: tuple[str, ...] = ()
    retention_seconds: int = Field(default=30 * 86_400, ge=180, le=5 * 366 * 86_400)
    retention_version: str = Field(default="1", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    list_lifetime_s: int = Field(default=30 * 86_400, ge=60, le=90 * 86_400)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the settings; NotInitialised when there are none."""
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotInitialised(f"no office in {path.parent}: run `wayside-office init` first") from error
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BadRequest(f"{path} is damaged: restore it from the backup") from error

    def save(self, path: Path) -> None:
        """Replace the settings atomically."""
        write_atomic(path, canonical_json(self.model_dump(mode="json")) + b"\n", mode=0o600)
