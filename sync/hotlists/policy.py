# SPDX-License-Identifier: Apache-2.0
"""Which categories are matched: enabled, silent or blocked; what ships blocked needs a recorded reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from sync.errors import PolicyNeedsReason, UnknownCategory
from sync.hotlists.codes import category_of
from sync.hotlists.entry import Category, ListEntry
from sync.hotlists.listfile import ListDocument, Mode

SHIPS_BLOCKED = frozenset({Category.IMMIGRATION_VIOLATOR})
_STRICTNESS = {Mode.ENABLED: 0, Mode.SILENT: 1, Mode.BLOCKED: 2}


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """An agency's decision on one category: mode, why, who, when (Unix microseconds UTC)."""

    category: Category
    mode: Mode
    reason: str = ""
    by: str = ""
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class MatchPolicy:
    """The agency's rules, the last for a category counts. Raises PolicyNeedsReason (see SHIPS_BLOCKED)."""

    rules: tuple[CategoryRule, ...] = ()

    def __post_init__(self) -> None:
        for rule in self.rules:
            opens = rule.category in SHIPS_BLOCKED and rule.mode is not Mode.BLOCKED
            if opens and not rule.reason.strip():
                raise PolicyNeedsReason(
                    f"{rule.category.value} ships blocked: enabling it needs a recorded reason"
                )

    @classmethod
    def from_settings(
        cls,
        *,
        enabled: Mapping[str, str] | None = None,
        silent: Iterable[str] = (),
        blocked: Iterable[str] = (),
        by: str = "",
        at_us: int = 0,
    ) -> Self:
        """Rules from names or NCIC letters; `enabled` maps each to its reason. Raises UnknownCategory."""
        rules = [
            CategoryRule(named(name), Mode.ENABLED, reason, by, at_us)
            for name, reason in (enabled or {}).items()
        ]
        # A silent rule for what ships blocked would open it without a reason: it stays blocked.
        rules += [
            CategoryRule(named(name), Mode.SILENT) for name in silent if named(name) not in SHIPS_BLOCKED
        ]
        rules += [CategoryRule(named(name), Mode.BLOCKED) for name in blocked]
        return cls(tuple(rules))

    def mode_of(self, entry: ListEntry, document: ListDocument) -> Mode:
        """The stricter of the agency's rule and the list's own default."""
        category = effective_category(entry, document.layout)
        default = Mode.BLOCKED if category in SHIPS_BLOCKED else Mode.ENABLED
        ours = next((rule.mode for rule in reversed(self.rules) if rule.category is category), default)
        return max(ours, document.categories.get(category, Mode.ENABLED), key=_STRICTNESS.__getitem__)


def named(name: str) -> Category:
    """The category of a name (`stolen_vehicle`), an NCIC letter (`N`) or a feed's word; or UnknownCategory."""
    category = category_of(name)
    if category is None:
        raise UnknownCategory(f"no category {name[:40]!r}; there are: {', '.join(Category)}")
    return category


def effective_category(entry: ListEntry, layout: str) -> Category:
    """The entry's category, but one whose raw code says immigration counts as that, however it was mapped."""
    letter_speaks = layout == "ncic" or len(entry.code.strip()) > 1
    if letter_speaks and category_of(entry.code) is Category.IMMIGRATION_VIOLATOR:
        return Category.IMMIGRATION_VIOLATOR
    return entry.category
