# SPDX-License-Identifier: Apache-2.0
"""How the root of trust does, for the device's health."""

from __future__ import annotations

from firmware.health import Condition, Finding, well
from storage.root_of_trust import RootOfTrust
from storage.root_watched import WatchedRoot

PART = "root_of_trust"


def trust_finding(root: RootOfTrust) -> Finding:
    """Without it no hour begins and none is deleted; what it last said is told until it does its work again."""
    trouble = root.trouble if isinstance(root, WatchedRoot) else ""
    if not trouble:
        return well(PART)
    return Finding(
        PART, Condition.FAILED, "refused", f"new hours are not sealed, old ones not deleted: {trouble}"
    )
