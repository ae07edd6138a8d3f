# SPDX-License-Identifier: Apache-2.0
"""A board without sensors."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.options import Options
from drivers.types import PowerReading


class NoPower:
    """Nothing is measured, and that is known."""

    def reading(self) -> PowerReading:
        """Nothing is known."""
        return PowerReading(None, None, None)

    def close(self) -> None:
        """Nothing to release."""


def open_none(options: Mapping[str, object]) -> NoPower:
    """No sensors; it has no options."""
    Options("power none", options).finish()
    return NoPower()
