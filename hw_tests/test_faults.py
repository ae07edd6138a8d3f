# SPDX-License-Identifier: Apache-2.0
"""Each fault of the table: health state and code, alarm, ledger and audit entry, and recovery."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fault_bench import Fault, check, play
from .fault_table import FAULTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_written_down_and_over(fault: Fault, tmp_path: Path) -> None:
    check(fault, play(fault, tmp_path))
