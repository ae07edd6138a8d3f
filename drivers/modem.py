# SPDX-License-Identifier: Apache-2.0
"""A unit without a modem of its own: it reaches the office by cable."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.options import Options
from drivers.types import ModemStatus


class NoModem:
    """Nothing is registered anywhere."""

    def status(self) -> ModemStatus:
        """Nothing to tell."""
        return ModemStatus(registered=False, signal_dbm=None, operator="")

    def restart(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to release."""


def open_none(options: Mapping[str, object]) -> NoModem:
    """No modem; it has no options."""
    Options("modem none", options).finish()
    return NoModem()
