# SPDX-License-Identifier: Apache-2.0
"""The fuzzer itself: it finds what it is there to find, says how to see it again, and repeats itself."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import engine
from tests.fuzz.__main__ import main
from tests.fuzz.engine import Target, attempt, fuzz, keep
from tests.fuzz.sources import either, exactly, json_like, mutated, noise
from tests.fuzz.targets import TARGETS

WORDS = mutated(b"one two three", tokens=(b"two",))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HANG_S", 0.3)
    monkeypatch.setattr(engine, "TICK_S", 0.1)


class Documented(Exception):
    """What the parser of these tests documents."""


def of(parse: engine.Callable[[bytes], object]) -> Target:
    return Target("test", parse, WORDS, (Documented,))


def test_an_undocumented_error_is_found_shrunk_and_can_be_seen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def parse(data: bytes) -> bool:
        return b"twotwo" not in data or {}["KeyError"]

    monkeypatch.setattr(engine, "FOLDER", tmp_path)
    monkeypatch.setitem(TARGETS, "test", of(parse))
    report = fuzz(of(parse), 100_000)
    assert report.finding is not None
    assert report.finding.error.startswith("KeyError: 'KeyError' at ")
    assert report.finding.shrunk == b"twotwo"
    assert "python -m tests.fuzz test --input" in keep(report)
    (kept,) = tmp_path.iterdir()
    assert main(["test", "--input", str(kept)]) == 1
    assert "KeyError" in capsys.readouterr().out


def test_a_documented_error_and_a_refusal_are_counted_by_what_they_are() -> None:
    def parse(data: bytes) -> object:
        if data[:1] != b"o":
            raise Documented
        return data[:3] == b"one" or None

    report = fuzz(of(parse), 2000)
    assert report.finding is None
    assert set(report.outcomes) == {"Documented", "refused", "accepted"}
    assert sum(report.outcomes.values()) == report.inputs == 2000


@pytest.mark.usefixtures("impatient")
def test_a_hang_is_caught() -> None:
    def parse(data: bytes) -> bool:
        while data[:1] == b"\0":
            sum(range(10**6))
        return True

    begun = time.process_time()
    assert (attempt(of(parse), b"\0") or "").startswith("Hang")
    assert time.process_time() - begun < 5
    assert attempt(of(parse), b"a") is None
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_parser_that_swallows_every_exception_cannot_hide_a_hang() -> None:
    def parse(_data: bytes) -> bool:
        while True:
            try:
                sum(range(10**6))
            except Exception:  # noqa: BLE001 -- what is tested
                return False

    assert (attempt(of(parse), b"") or "").startswith("Hang")


def test_memory_without_bound_is_a_finding_and_not_a_full_machine() -> None:
    assert (attempt(of(lambda _data: bytearray(3 << 30)), b"") or "").startswith("MemoryError")


def test_memory_that_grows_from_input_to_input_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GROWTH_FROM", 2000)
    held: list[bytes] = []
    report = fuzz(of(lambda _data: held.append(b"%100000d" % 1)), 2000)
    assert report.finding is not None
    assert report.finding.error.startswith("memory grew by")


def test_nesting_without_bound_is_a_finding() -> None:
    target = Target("test", json.loads, either(json_like(b'{"a":[1]}'), noise(9)), (ValueError,))
    report = fuzz(target, 20_000)
    assert report.finding is not None
    assert report.finding.error.startswith("RecursionError")


def test_the_same_seed_gives_the_same_inputs() -> None:
    def run(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        fuzz(of(seen.append), 500, seed)
        return seen

    assert run(1) == run(1) != run(2)


def test_json_stays_json_and_bytes_do_not_stay_what_they_were() -> None:
    source, rng = json_like(b'{"a":[1,2,{"b":"c"}],"d":null,"e":-1.5}'), Random(1)
    values, whole = set(), 0
    for _ in range(2000):
        data = source(rng)
        values.add(data)
        try:
            json.loads(data)
            whole += 1
        except (ValueError, RecursionError):
            pass
    assert whole > 1800
    assert len(values) > 500


def test_a_target_that_sees_only_the_outer_door_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TARGETS, "test", Target("test", lambda _data: None, exactly(b"x")))
    assert main(["test", "--inputs", "100"]) == 1
    assert "shallow" in capsys.readouterr().out
