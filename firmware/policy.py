# SPDX-License-Identifier: Apache-2.0
"""The agency's category policy, from its signed bundle, as the matcher wants it."""

from __future__ import annotations

from collections.abc import Sequence

from firmware.errors import ConfigError
from sync.enrolment import EnrolmentBundle
from sync.hotlists.codes import NCIC_CODES
from sync.hotlists.entry import Category
from sync.hotlists.listfile import Mode
from sync.hotlists.policy import SHIPS_BLOCKED, CategoryRule, MatchPolicy


def match_policy(bundle: EnrolmentBundle, silent_here: Sequence[str]) -> MatchPolicy:
    """The bundle's rules, and then what this unit silences. Raises ConfigError for an unknown category."""
    why, who = f"agency policy in bundle {bundle.bundle_id}", bundle.agency.name
    modes = (
        (Mode.ENABLED, bundle.categories.enabled),
        (Mode.SILENT, bundle.categories.silent),
        (Mode.BLOCKED, bundle.categories.blocked),
    )
    rules = [
        # what ships blocked is opened only by `enabled`, never by being made silent
        CategoryRule(category_named(name), mode, reason=why, by=who, at_us=bundle.issued_us)
        for mode, names in modes
        for name in names
        if mode is not Mode.SILENT or category_named(name) not in SHIPS_BLOCKED
    ]
    opened = {rule.category for rule in rules if rule.mode is Mode.ENABLED}
    blocked = {rule.category for rule in rules if rule.mode is Mode.BLOCKED}
    for name in silent_here:
        category = category_named(name)
        if category in blocked or (category in SHIPS_BLOCKED and category not in opened):
            continue  # stricter already
        rules.append(CategoryRule(category, Mode.SILENT, reason="this unit's configuration", by=who, at_us=1))
    return MatchPolicy(tuple(rules))


def category_named(name: str) -> Category:
    """A category by its name or its NCIC letter."""
    if name in NCIC_CODES:
        return NCIC_CODES[name]
    try:
        return Category(name.lower().replace(" ", "_"))
    except ValueError as error:
        known = ", ".join(category.value for category in Category)
        raise ConfigError(f"no hot-list category is called {name!r}; there are: {known}") from error
