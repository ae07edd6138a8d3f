# SPDX-License-Identifier: Apache-2.0
"""Waiting for something that hardware will do, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.02


def wait_for(condition: Callable[[], bool], limit_s: float, poll_s: float = POLL_S) -> bool:
    """Whether the condition came true within `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True
