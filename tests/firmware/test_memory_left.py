# SPDX-License-Identifier: Apache-2.0
"""What lies in the memory of a process that seals as the eye does, started with the environment of the eye's unit."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.closed_memory import WIPING
from tests.firmware.memory_child import PASSES, picture_of, text_of

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("memory_child.py")
UNITS = [ROOT / f"firmware/systemd/wayside-{name}.service" for name in ("eye", "sync", "provision")]
TEXTS = [text_of(number).encode() for number in range(PASSES)]
PICTURES = [picture_of(number) for number in range(PASSES)]


def environment_of(unit: Path) -> dict[str, str]:
    """What a unit's `Environment=` lines set."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 2)[1:] for line in lines if line.startswith("Environment="))
    return {pair[0]: pair[1] for pair in pairs}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_keeps_its_memory_out_of_core_files_and_swap(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    assert {"LimitCORE=0", "MemorySwapMax=0", "LimitMEMLOCK=infinity", "NoNewPrivileges=yes"} <= set(lines)
    assert environment_of(unit) == WIPING


def memory_of(pid: int) -> Iterator[bytes]:
    """All that a process holds, one mapping after the other."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode, *_ = line.split()
            start, end = (int(part, 16) for part in place.split("-"))
            with contextlib.suppress(OSError, OverflowError):  # the kernel's own pages
                if "w" in mode:  # nothing is written into the others
                    memory.seek(start)
                    yield memory.read(end - start)


class Looked:
    """A child that seals, and what its memory held at each stage."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.keys: dict[str, bytes] = {}
        self.found: dict[str, set[str]] = {}
        command = [sys.executable, str(CHILD), str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as child:
            self._follow(child)
        assert child.returncode == 0

    def _follow(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        for line in child.stdout:
            name, _, value = line.strip().partition(" ")
            if name in {"open", "closed"}:
                self.found[name] = self._look(child.pid)
                child.stdin.write("\n")
                child.stdin.flush()
            elif name != "memory":
                self.keys[f"{name} {len(self.keys) // 2}"] = bytes.fromhex(value)

    def _look(self, pid: int) -> set[str]:
        named = {
            **self.keys,
            **{f"text {n}": text for n, text in enumerate(TEXTS)},
            **{f"picture {n}": picture for n, picture in enumerate(PICTURES)},
        }
        found: set[str] = set()
        for part in memory_of(pid):
            found |= {name for name, value in named.items() if value in part}
        return found


@pytest.fixture(scope="module")
def as_on_a_pole(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    return Looked(tmp_path_factory.mktemp("pole"), environment_of(UNITS[0]))


def test_while_segments_are_open_their_keys_are_there_and_nothing_that_was_sealed(
    as_on_a_pole: Looked,
) -> None:
    assert as_on_a_pole.found["open"] == {"key 0", "key 1"}  # of the reads and of the pictures


def test_when_segments_are_closed_nothing_is_left(as_on_a_pole: Looked) -> None:
    assert len(as_on_a_pole.keys) == 4
    assert as_on_a_pole.found["closed"] == set()


def test_the_look_finds_what_lies_there(tmp_path: Path) -> None:
    """Started without the unit's environment, freed memory keeps what it held: the test above does look."""
    looked = Looked(tmp_path, {"PYTHONMALLOC": "pymalloc"})
    assert looked.found["closed"]
