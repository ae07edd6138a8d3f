# SPDX-License-Identifier: Apache-2.0
"""The quick rows of the rig's fault table: what is told of a driver's fault, where it is written, that it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw_tests.fault_bench import Fault, check, play
from hw_tests.fault_table import FAULTS


@pytest.mark.parametrize("fault", [row for row in FAULTS if row.quick], ids=lambda fault: fault.name)
def test_a_fault_is_told_written_down_and_over(fault: Fault, tmp_path: Path) -> None:
    check(fault, play(fault, tmp_path))


def test_every_part_that_can_fail_has_a_row() -> None:
    assert {row.part for row in FAULTS} >= {"camera", "lamp", "gnss", "clock", "power", "watchdog", "disk"}
