# SPDX-License-Identifier: Apache-2.0
"""WIRE.md and LISTS.md name every route, header, layout, class of look-alikes and record kind that the code has."""

from __future__ import annotations

from pathlib import Path

import sync
from sync import wire
from sync.budget import BudgetLimits
from sync.hotlists.fold import CONFUSABLE
from sync.hotlists.layouts import LAYOUTS
from sync.limits import ListLimits, PullLimits, WireLimits
from sync.schema import MatchKind

FOLDER = Path(sync.__file__).parent
WIRE = (FOLDER / "WIRE.md").read_text()
LISTS = (FOLDER / "LISTS.md").read_text()


def test_every_route_and_header_is_documented() -> None:
    routes = (wire.HITS, wire.HOTLISTS, wire.HEARTBEAT, wire.SEGMENTS, wire.RECEIPTS, wire.SHARES)
    for word in (*routes, wire.ID_HEADER, wire.HAVE_HEADER):
        assert f"{word}" in WIRE


def test_every_layout_kind_and_class_is_documented() -> None:
    for layout in LAYOUTS:
        assert f"`{layout}`" in LISTS or layout.removeprefix("california") in LISTS
    for kind in MatchKind:
        assert f"`{kind.value}`" in LISTS
    for group in CONFUSABLE:
        assert f"`{' '.join(group)}`" in LISTS


def test_the_documented_bounds_are_those_of_the_code() -> None:
    lists, link, pull, budget = ListLimits(), WireLimits(), PullLimits(), BudgetLimits()
    assert "500,000 entries" in LISTS
    assert lists.max_entries == 500_000
    assert (lists.max_feed_bytes >> 20, lists.max_list_bytes >> 20, lists.max_delta_bytes >> 20) == (
        64,
        192,
        64,
    )
    assert (lists.max_manifest_bytes >> 10, lists.max_line_bytes >> 10) == (64, 4)
    assert (link.connect_timeout_s, link.read_timeout_s, link.total_timeout_s) == (10, 30, 600)
    assert (pull.max_connections, pull.max_body_bytes >> 10, link.chunk_bytes >> 20) == (8, 64, 4)
    parts = (budget.segments_part, budget.lists_part, budget.receipts_part, budget.heartbeat_part)
    assert parts == (0.6, 0.9, 0.95, 1.0)
