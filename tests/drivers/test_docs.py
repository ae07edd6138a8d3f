# SPDX-License-Identifier: Apache-2.0
"""docs/hardware names every driver and every option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drivers.registry import DRIVERS

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/hardware/README.md").read_text(encoding="utf-8")
ALL = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/hardware").glob("*.md")))
OPTION = re.compile(r"\bread\.\w+\(\s*\"(\w+)\"")


@pytest.mark.parametrize("port", DRIVERS)
def test_every_name_is_documented(port: str) -> None:
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| {port} |"))
    assert set(re.findall(r"`(\w+)`", row)) == {*DRIVERS[port], f"open_{port}"}


def test_every_option_is_documented() -> None:
    options = {
        option
        for path in (ROOT / "drivers").rglob("*.py")
        for option in OPTION.findall(path.read_text(encoding="utf-8"))
    }
    assert len(options) > 40
    assert not {option for option in options if f"`{option}`" not in ALL}
