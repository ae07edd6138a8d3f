# SPDX-License-Identifier: Apache-2.0
"""What fuzzing has found once stays found: every input in `found/` is refused or taken, as documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.engine import attempt
from tests.fuzz.targets import TARGETS

FOUND = sorted((Path(__file__).parent / "found").glob("*.hex"))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_it_does_what_is_documented(path: Path) -> None:
    name = path.stem.rpartition("-")[0]
    assert attempt(TARGETS[name], bytes.fromhex(path.read_text(encoding="ascii"))) is None
