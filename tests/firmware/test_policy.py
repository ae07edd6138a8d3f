# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from firmware.errors import ConfigError
from firmware.policy import category_named, match_policy
from sync.enrolment import CategoryPolicy, EnrolmentBundle
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.listfile import ListDocument, Mode

DOCUMENT = ListDocument("x", 1, 1, 1, 2, ())


def _bundle(**sets: tuple[str, ...]) -> EnrolmentBundle:
    agency = SimpleNamespace(name="Sample Police")
    categories = CategoryPolicy(**{"blocked": (), **sets})  # type: ignore[arg-type]
    return cast(
        "EnrolmentBundle",
        SimpleNamespace(bundle_id="b1", issued_us=5, agency=agency, categories=categories),
    )


def _mode(bundle: EnrolmentBundle, category: Category, silent: tuple[str, ...] = ()) -> Mode:
    entry = ListEntry("e1", "AB123", None, category)
    return match_policy(bundle, silent).mode_of(entry, DOCUMENT)


def test_immigration_is_blocked_unless_the_signed_bundle_opens_it() -> None:
    category = Category.IMMIGRATION_VIOLATOR
    assert _mode(_bundle(), category) is Mode.BLOCKED
    assert _mode(_bundle(), category, ("N",)) is Mode.BLOCKED  # a unit cannot open what is blocked
    assert _mode(_bundle(enabled=("N",)), category) is Mode.ENABLED


def test_a_unit_can_be_made_quieter_only() -> None:
    assert _mode(_bundle(), Category.SCOFFLAW, ("scofflaw",)) is Mode.SILENT
    assert _mode(_bundle(blocked=("scofflaw",)), Category.SCOFFLAW, ("scofflaw",)) is Mode.BLOCKED
    assert _mode(_bundle(silent=("V",)), Category.STOLEN_VEHICLE) is Mode.SILENT


def test_an_unknown_category_is_named() -> None:
    with pytest.raises(ConfigError, match="stolen_vehicle"):
        category_named("horse theft")
