# SPDX-License-Identifier: Apache-2.0
"""One hot-list entry, its category, and the plate alphabet (`?` one character, `*` any number)."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from sync.limits import MAX_PLATE_CHARS, MAX_TEXT_CHARS

MIN_WILDCARD_LITERALS = 2  # a pattern with fewer fixed characters would match half the road

YEAR_1_US, YEAR_9999_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the times that a date can be of

_NOT_PLATE = re.compile(r"[^A-Z0-9?*]")
_PLATE_PATTERN = rf"^[A-Z0-9?*]{{1,{MAX_PLATE_CHARS}}}$"


class Category(StrEnum):
    """Why a plate is listed; an agency enables, silences or blocks each."""

    STOLEN_VEHICLE = "stolen_vehicle"
    STOLEN_PLATE = "stolen_plate"
    WANTED_PERSON = "wanted_person"
    MISSING_PERSON = "missing_person"
    AMBER_ALERT = "amber_alert"
    FELONY_VEHICLE = "felony_vehicle"
    SUPERVISED_RELEASE = "supervised_release"
    PROTECTION_ORDER = "protection_order"
    PROTECTIVE_INTEREST = "protective_interest"
    VIOLENT_PERSON = "violent_person"
    CANADIAN = "canadian"
    GANG_TERRORIST = "gang_terrorist"
    SEX_OFFENDER = "sex_offender"
    IMMIGRATION_VIOLATOR = "immigration_violator"
    SUSPENDED_REGISTRATION = "suspended_registration"
    REVOKED_REGISTRATION = "revoked_registration"
    SCOFFLAW = "scofflaw"
    MANUAL = "manual"
    CALIBRATION = "calibration"
    OTHER = "other"


Short = Annotated[str, StringConstraints(max_length=64)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
ListedTime = Annotated[int, Field(ge=YEAR_1_US, le=YEAR_9999_US)]
_STRICT = ConfigDict(extra="forbid", str_strip_whitespace=False)


@dataclass(frozen=True, slots=True, config=_STRICT)
class VehicleDescription:
    """The vehicle as the source describes it, in the source's codes; None where it does not say."""

    year: Short | None = None
    make: Short | None = None
    model: Short | None = None
    style: Short | None = None
    colour: Short | None = None


NO_VEHICLE = VehicleDescription()


@dataclass(frozen=True, slots=True, config=_STRICT)
class ListEntry:
    """One listed plate. `plate` may hold wildcards; `state` is a postal code or None for any state.

    `effective_us`/`expires_us` bound when it matches (Unix microseconds UTC); `raw_hash` is the first
    32 hex digits of the SHA-256 of the source line, so that the office can find where it came from.
    """

    entry_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]
    plate: Annotated[str, StringConstraints(pattern=_PLATE_PATTERN)]
    state: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2,3}$")] | None
    category: Category
    code: Short = ""
    vehicle: VehicleDescription = NO_VEHICLE
    reason: Text = ""
    source: Short = ""
    effective_us: ListedTime | None = None
    expires_us: ListedTime | None = None
    raw_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,64}$")] = ""


def normalise_plate(text: str) -> str:
    """Upper case without separators; keeps `?` and `*`. Letters outside ASCII go, they don't become others."""
    return _NOT_PLATE.sub("", text.encode("ascii", "ignore").decode("ascii").upper())


def is_pattern(plate: str) -> bool:
    """Whether the plate holds wildcards."""
    return "?" in plate or "*" in plate


def pattern_is_too_wide(plate: str) -> bool:
    """Whether a wildcard plate has fewer fixed characters than MIN_WILDCARD_LITERALS."""
    return is_pattern(plate) and sum(c not in "?*" for c in plate) < MIN_WILDCARD_LITERALS


def entry_identity(layout: str, raw: bytes) -> tuple[str, str]:
    """(entry_id, raw_hash) of a source line: the same line gives the same entry in every version."""
    digest = hashlib.sha256(raw).hexdigest()
    identity = hashlib.sha256(layout.encode() + b"\0" + raw).hexdigest()
    return identity[:20], digest[:32]
