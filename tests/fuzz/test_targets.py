# SPDX-License-Identifier: Apache-2.0
"""A short run of every target; the million inputs each are `make test-slow`."""

from __future__ import annotations

import pytest

from tests.fuzz.engine import fuzz, keep
from tests.fuzz.targets import TARGETS

INPUTS = 1000


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors(name: str) -> None:
    report = fuzz(TARGETS[name], INPUTS)
    assert report.finding is None, keep(report)
    assert report.inputs == int(INPUTS * TARGETS[name].part)
    assert report.accepted >= TARGETS[name].least, f"the parser is hardly entered: {report.outcomes}"
