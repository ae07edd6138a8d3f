# SPDX-License-Identifier: Apache-2.0
"""Each parser of the product has a target, and the target really enters it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType

import pytest

from tests.fuzz.engine import outcome
from tests.fuzz.inventory import BY_HAND, DECODERS, LEFT_OUT, PACKAGES, PARSERS, TRUSTED
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
TRIES = 300


def _decoding(path: Path) -> Iterator[str]:
    """`module:function` of each function that calls a decoder."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)

    def walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call) and _called(child.func) in DECODERS:
                yield f"{module}:{'.'.join(names)}"
            deeper = isinstance(child, ast.FunctionDef | ast.ClassDef) and names[-1:] != ("<locals>",)
            yield from walk(child, (*names, child.name) if deeper else names)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), ())


def _called(function: ast.expr) -> str:
    return f".{function.attr}" if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@cache
def _in_product() -> set[str]:
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {name for path in files if not set(path.parts) & set(LEFT_OUT) for name in _decoding(path)}


def test_every_parser_is_in_the_inventory() -> None:
    found = _in_product()
    missing = sorted(found - PARSERS.keys() - TRUSTED.keys())
    assert not missing, f"give each a target, or say in TRUSTED why its bytes are trusted: {missing}"


def test_the_inventory_names_what_exists() -> None:
    assert sorted((PARSERS.keys() | TRUSTED.keys()) - _in_product()) == []
    assert not PARSERS.keys() & TRUSTED.keys()


def test_every_target_is_of_a_parser() -> None:
    wire = {
        "list-state",
        "heartbeat-reply",
        "share-request",
        "segment-list",
        "read-record",
        "hit-record",
    }  # Record.decode
    layouts = {name for name in TARGETS if name.startswith("layout-california-")}
    whole = {"device-request", "page-request"}
    assert set(TARGETS) == set(PARSERS.values()) | set(BY_HAND.values()) | wire | layouts | whole


@cache
def _entered(name: str) -> frozenset[str]:
    """`module:function` of everything of ours that some inputs of a target ran through."""
    target, rng, codes = TARGETS[name], Random(f"{name}/inventory"), set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    inputs = [target.source(rng) for _ in range(TRIES)]
    sys.setprofile(note)
    try:
        for data in inputs:
            outcome(target, data)
    finally:
        sys.setprofile(None)
    places = ((Path(code.co_filename), code.co_qualname) for code in codes)
    return frozenset(
        f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}:{function}"
        for path, function in places
        if path.is_relative_to(ROOT) and ".venv" not in path.parts
    )


@pytest.mark.parametrize(("parser", "target"), [*PARSERS.items(), *BY_HAND.items()], ids=lambda value: value)
def test_the_target_enters_the_parser(parser: str, target: str) -> None:
    assert parser in _entered(target)
