# SPDX-License-Identifier: Apache-2.0
"""Documents must not rot: links lead somewhere, commands and exit codes are told."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

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


PACKAGES = ("backoffice", "drivers", "firmware", "inference", "provisioning", "storage", "sync")
LEVELS = {"debug", "info", "warning", "error", "exception"}


def _events() -> set[str]:
    """The names of all log events in the source."""
    found: set[str] = set()
    sources = (p for package in PACKAGES for p in (ROOT / package).rglob("*.py") if "training" not in p.parts)
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(name)), *_],
                ) if level in LEVELS:
                    found.add(name)
    return found


def test_every_log_event_is_documented_and_no_other() -> None:
    table = (ROOT / "docs" / "log-events.md").read_text(encoding="utf-8")
    told = {
        name
        for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert told == _events()


def _written() -> ModuleType:
    """The generator of the documents."""
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / ".ci" / "write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_are_as_the_document_says() -> None:
    module = _written()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == module.render(), "run `make docs`"


def test_the_figures_in_the_readme_are_those_of_the_manifest() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == _written().readme(readme), "run `make docs`"


def test_the_manifest_meets_the_bars() -> None:
    accuracy = json.loads((ROOT / "inference" / "models" / "manifest.json").read_text())["accuracy"]
    assert accuracy["detection_recall_30_at24"] >= 0.92
    assert accuracy["false_plates_per_image"] <= 0.10
    assert accuracy["us_clear"]["exact_folded"] >= 0.85
