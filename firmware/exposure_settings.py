# SPDX-License-Identifier: Apache-2.0
"""What a site decides about exposure and the lamp; everything else follows from the picture."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SHUTTER_RULE = 18.0  # the shutter is at most 1 / (18 * mph) s, or characters smear into each other


class ExposureSettings(BaseModel):
    """A table of the configuration file (docs/configuration.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    road_speed_mph: float = Field(default=55.0, ge=5, le=150)
    lamp: bool = True  # false: the pole has no lamp that we switch
    lamp_min: float = Field(default=0.1, ge=0.05, le=1)
    lamp_max: float = Field(default=1.0, ge=0.05, le=1)
    max_gain: float = Field(default=16.0, ge=1, le=64)
    scene_every: int = Field(default=15, ge=0, le=1000)  # frames at night from long one to long one; 0: none
    scene_exposure_us: int = Field(default=8000, ge=500, le=100_000)
    dwell_s: float = Field(default=10.0, ge=1, le=600)
    probe_s: float = Field(default=60.0, ge=10, le=3600)
    night_lux: float = Field(default=40.0, ge=0.1, le=10_000)
    day_lux: float = Field(default=160.0, ge=0.2, le=20_000)

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.lamp_min > self.lamp_max:
            raise ValueError("'lamp_min' is above 'lamp_max'")
        if self.day_lux < 2 * self.night_lux:
            raise ValueError("'day_lux' must be at least twice 'night_lux', or dusk would flap")
        return self

    def shutter_us(self, mph: float) -> float:
        """The longest shutter at which a plate can still be read at a speed, microseconds."""
        return 1e6 / (SHUTTER_RULE * mph)
