# SPDX-License-Identifier: Apache-2.0
"""The cellular modem: its card, its network, its signal."""

from __future__ import annotations

from drivers.ports import Modem

from .conftest import part
from .rig import Rig
from .wait import wait_for

USABLE_DBM = (-120.0, -40.0)


def test_it_registers_with_a_usable_signal(rig: Rig, modem: Modem) -> None:
    limit_s = part(rig.modem, "modem").registered_within_s
    assert wait_for(lambda: modem.status().registered, limit_s, poll_s=1.0)
    status = modem.status()
    assert status.sim in ("ready", "unknown")
    assert status.signal_dbm is None or USABLE_DBM[0] < status.signal_dbm < USABLE_DBM[1]
