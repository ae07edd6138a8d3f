# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from firmware.lasting import Lasting


def told(lasting: Lasting, script: str) -> str:
    """One character a second: `x` the condition holds; the answer in the same writing."""
    return "".join("x" if lasting.step(c == "x", float(s)) else "." for s, c in enumerate(script))


def test_a_condition_is_told_once_it_has_lasted() -> None:
    assert told(Lasting(2, 3), "xxxx....xx") == "..xxxxx..."
    assert told(Lasting(2, 3), ".x.x.x.xxx..x...") == ".........xxxxxxx"


def test_without_delay_it_follows_at_once() -> None:
    assert told(Lasting(0, 0), "x.xx.") == "x.xx."
