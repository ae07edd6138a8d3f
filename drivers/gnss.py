# SPDX-License-Identifier: Apache-2.0
"""Positions without a receiver: none at all, or the surveyed place of a fixed unit."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.options import Options
from drivers.types import Fix, GnssCounters


class NoGnss:
    """A unit without a receiver."""

    @property
    def counters(self) -> GnssCounters:
        """There are no messages."""
        return GnssCounters()

    def fix(self) -> Fix | None:
        """Never a fix."""
        return None

    def close(self) -> None:
        """Nothing to release."""


class FixedGnss:
    """A unit that does not move; it knows its place and no time."""

    def __init__(self, place: Fix) -> None:
        self._place = place

    @property
    def counters(self) -> GnssCounters:
        """There are no messages."""
        return GnssCounters()

    def fix(self) -> Fix | None:
        """The surveyed place."""
        return self._place

    def close(self) -> None:
        """Nothing to release."""


def open_none(options: Mapping[str, object]) -> NoGnss:
    """No receiver; it has no options."""
    Options("gnss none", options).finish()
    return NoGnss()


def open_fixed(options: Mapping[str, object]) -> FixedGnss:
    """Options: lat, lon (degrees), accuracy_m."""
    read = Options("gnss fixed", options)
    lat, lon = read.number("lat", 0.0, -90.0, 90.0), read.number("lon", 0.0, -180.0, 180.0)
    accuracy_m = read.number("accuracy_m", 5.0, 0.1, 100_000.0)
    read.finish()
    return FixedGnss(Fix(lat, lon, 0.0, None, accuracy_m, "surveyed"))
