# SPDX-License-Identifier: Apache-2.0
"""Documents must not rot: links lead somewhere, commands and exit codes are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
DOCUMENTS = sorted(
    p
    for p in ROOT.rglob("*.md")
    if not {".venv", "run", ".pytest_cache", "build"} & set(p.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = [
        t for t in LINK.findall(document.read_text(encoding="utf-8")) if not t.startswith(("http", "mailto:"))
    ]
    missing = [t for t in targets if not (document.parent / t).exists()]
    assert not missing


def test_every_make_target_is_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = {t for t in targets if f"`make {t}" in readme or f"\nmake {t} " in readme}
    assert set(targets) - told <= {"help", "format", "clean", "test-train"}
