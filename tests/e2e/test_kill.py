# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: nothing acknowledged is lost, no hit comes twice, the next start works."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from firmware.demo import Demo, Outcome
from firmware.demo_office import Office
from firmware.demo_setup import Choice

from .conftest import hits_at_office

PASS_US = 15_000_000  # the slowest vehicle of the road has passed after this long
SERVICES = ("eye", "sync", "provision")


def _play(folder: Path, kills: list[str], seed: int, pause_s: tuple[float, float]) -> Outcome:
    """Runs the appliance and kills the named services one after the other at random moments."""
    rng = random.Random(seed)
    with Demo(Choice(folder, None, seed=seed), Console(quiet=True)) as demo:
        _follow(demo, 6.0)
        for name in kills:
            _follow(demo, rng.uniform(*pause_s))
            if demo.supervisor.alive(name):
                demo.supervisor.kill(name)
        _follow(demo, 10.0)
        return demo.settle()


def _follow(demo: Demo, seconds: float) -> None:
    end = time.monotonic() + seconds
    demo.viewer.follow(max(0.1, end - time.monotonic()), lambda: False)


def _one_alert_a_pass(folder: Path) -> None:
    """No vehicle raised two alerts: hits of one entry lie further apart than a vehicle is in sight."""
    why = ("--purpose", "test", "--reason", "count alerts", "--case", "none")
    listed = Office(folder / "office").run_json("hits", "list", *why)
    times: dict[str, list[int]] = {}
    for hit in listed:
        if not hit["supersedes"]:
            times.setdefault(str(hit["entry_id"]), []).append(int(hit["captured_us"]))
    for captured in times.values():
        ordered = sorted(captured)
        assert all(later - earlier > PASS_US for earlier, later in pairwise(ordered))


def _check(folder: Path, outcome: Outcome, kills: int) -> None:
    assert outcome.restarts >= kills * 0.7  # a service that was still starting is not killed twice
    assert outcome.state.acked
    assert outcome.equal == len(outcome.state.acked)
    assert outcome.waiting == 0
    at_office = hits_at_office(folder)
    _one_alert_a_pass(folder)
    assert {str(hit["hit_id"]) for hit in outcome.state.hits} <= set(at_office)


@pytest.mark.timeout(300)
def test_each_service_is_killed_a_few_times(tmp_path: Path) -> None:
    kills = list(SERVICES) * 3
    outcome = _play(tmp_path / "run", kills, seed=5, pause_s=(0.3, 4.0))
    _check(tmp_path / "run", outcome, len(kills))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", SERVICES)
def test_twenty_kills_of_one_service(tmp_path: Path, service: str) -> None:
    outcome = _play(tmp_path / "run", [service] * 20, seed=SERVICES.index(service), pause_s=(0.5, 6.0))
    _check(tmp_path / "run", outcome, 20)
