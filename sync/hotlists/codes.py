# SPDX-License-Identifier: Apache-2.0
"""What feeds write, in our terms: category codes and states of issuance (with the letter O repaired)."""

from __future__ import annotations

import re

from sync.hotlists.entry import Category

NCIC_CODES: dict[str, Category] = {
    "V": Category.STOLEN_VEHICLE,
    "P": Category.STOLEN_PLATE,
    "W": Category.WANTED_PERSON,
    "M": Category.MISSING_PERSON,
    "A": Category.AMBER_ALERT,
    "F": Category.FELONY_VEHICLE,
    "C": Category.SUPERVISED_RELEASE,
    "H": Category.PROTECTION_ORDER,
    "K": Category.PROTECTIVE_INTEREST,
    "L": Category.VIOLENT_PERSON,
    "R": Category.CANADIAN,
    "T": Category.GANG_TERRORIST,
    "X": Category.SEX_OFFENDER,
    "N": Category.IMMIGRATION_VIOLATOR,
}

# Exact words after upper-casing and dropping all but letters.
_WORDS: dict[str, Category] = {
    "STOLEN": Category.STOLEN_VEHICLE,
    "STOLENVEHICLE": Category.STOLEN_VEHICLE,
    "STOLENPLATE": Category.STOLEN_PLATE,
    "STLNPLT": Category.STOLEN_PLATE,
    "WANTED": Category.WANTED_PERSON,
    "WANTEDPERSON": Category.WANTED_PERSON,
    "WARRANT": Category.WANTED_PERSON,
    "MISSING": Category.MISSING_PERSON,
    "MISSINGPERSON": Category.MISSING_PERSON,
    "AMBER": Category.AMBER_ALERT,
    "AMBERALERT": Category.AMBER_ALERT,
    "FELONY": Category.FELONY_VEHICLE,
    "FELONYVEHICLE": Category.FELONY_VEHICLE,
    "SUSPEND": Category.SUSPENDED_REGISTRATION,
    "SUSPENDED": Category.SUSPENDED_REGISTRATION,
    "REVOKED": Category.REVOKED_REGISTRATION,
    "SCOFFLAW": Category.SCOFFLAW,
    "MANUAL": Category.MANUAL,
    "LOCAL": Category.MANUAL,
    "SEXOFFENDER": Category.SEX_OFFENDER,
    "GANG": Category.GANG_TERRORIST,
    "TERRORIST": Category.GANG_TERRORIST,
    "CALIB": Category.CALIBRATION,
    "CALIBRATION": Category.CALIBRATION,
    "CALIBRAT": Category.CALIBRATION,
    "TESTPLATE": Category.CALIBRATION,
    "ICE": Category.IMMIGRATION_VIOLATOR,
}
_NAMES = {category.value: category for category in Category}
# Anything that speaks of immigration goes to the category that ships blocked, however it is spelt.
_IMMIGRATION = ("IMMIG", "DEPORT")

# fmt: off
STATES = frozenset((
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN",
    "IA", "KS", "KY", "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV",
    "NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN",
    "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "DC", "PR", "GU", "VI", "AS", "MP",
    "US", "AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK", "YT",
))
# fmt: on
_REPAIRS = str.maketrans("01582", "OISBZ")
_NOT_LETTER = re.compile(r"[^A-Z]")


def category_of(code: str) -> Category | None:
    """The category of a feed's code (NCIC letter, LEADS word, our own name); None when unknown."""
    text = code.strip()
    if text.lower() in _NAMES:
        return _NAMES[text.lower()]
    upper = text.upper()
    if len(upper) == 1:
        return NCIC_CODES.get(upper)
    word = _NOT_LETTER.sub("", upper)
    if any(part in word for part in _IMMIGRATION):
        return Category.IMMIGRATION_VIOLATOR
    return _WORDS.get(word)


def repair_state(code: str) -> tuple[str | None, str]:
    """(state or None, what was done: "", "repaired", "unknown" or "unreadable"); `0H` becomes `OH`."""
    text = code.strip().upper()
    if not text:
        return None, ""
    if text in STATES:
        return text, ""
    fixed = text.translate(_REPAIRS)
    if fixed in STATES:
        return fixed, "repaired"
    if re.fullmatch(r"[A-Z]{2,3}", fixed):
        return fixed, "unknown"
    return None, "unreadable"
