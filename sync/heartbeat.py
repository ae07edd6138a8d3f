# SPDX-License-Identifier: Apache-2.0
"""Puts a heartbeat together: a strange counter or a broken source of health must not silence the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pydantic import ValidationError

from storage.errors import StorageError
from sync.schema import Heartbeat

log = structlog.get_logger(__name__)


def compose(ours: Mapping[str, Any], health: Callable[[], Mapping[str, Any]], set_aside: int) -> Heartbeat:
    """What the agent knows (`ours`), what the device says of itself, and the hits that nobody would see."""
    try:
        fields = dict(health())
    except (OSError, StorageError) as error:
        log.error("hook_failed", reason=type(error).__name__)
        fields = {"problems": ("health not available",)}
    if set_aside:
        fields["waiting"] = {**fields.get("waiting", {}), "hits_set_aside": set_aside}
        told = f"{set_aside} hits are set aside: the office refused them"
        fields["problems"] = (*fields.get("problems", ()), told)
    try:
        return Heartbeat(**{**fields, **ours})
    except ValidationError:
        log.error("health_out_of_bounds")
        return Heartbeat(**ours, problems=("health values out of bounds",))
