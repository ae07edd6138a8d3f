# SPDX-License-Identifier: Apache-2.0
"""All targets, by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz import (
    targets_apps,
    targets_certificates,
    targets_device,
    targets_drivers,
    targets_lists,
    targets_office,
    targets_policy,
    targets_provisioning,
    targets_segments,
    targets_storage,
    targets_sync,
)
from tests.fuzz.engine import Target

_MODULES: Final = (
    targets_segments,
    targets_storage,
    targets_lists,
    targets_sync,
    targets_certificates,
    targets_provisioning,
    targets_drivers,
    targets_device,
    targets_office,
    targets_policy,
    targets_apps,
)
TARGETS: Final[dict[str, Target]] = {target.name: target for module in _MODULES for target in module.TARGETS}
