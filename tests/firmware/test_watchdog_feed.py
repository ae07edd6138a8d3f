# SPDX-License-Identifier: Apache-2.0
"""Every watchdog is fed only while every stage advances; one that is not there is told, and tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from drivers.errors import WatchdogUnavailable
from drivers.ports import Watchdog
from drivers.registry import open_watchdog
from drivers.sim.watchdog import SimWatchdog
from firmware.health import Condition
from firmware.watchdog_feed import Feeder


class Yard:
    """Two simulated watchdogs on one clock; `chained` ones can't be opened."""

    def __init__(self, faults: str = "") -> None:
        self.now_s = 0.0
        self.faults = faults
        self.chained: set[str] = set()
        self.dogs: dict[str, list[SimWatchdog]] = {"systemd": [], "device": []}
        self.feeder = Feeder({name: self._opener(name) for name in self.dogs}, monotonic_s=lambda: self.now_s)

    def _opener(self, name: str) -> Callable[[], Watchdog]:
        def opened() -> Watchdog:
            if name in self.chained:
                raise WatchdogUnavailable(f"{name} cannot be opened")
            options = {"timeout_s": 10.0, "faults": self.faults if name == "device" else ""}
            dog = open_watchdog("sim", options | {"monotonic_s": lambda: self.now_s})
            assert isinstance(dog, SimWatchdog)
            self.dogs[name].append(dog)
            return dog

        return opened

    def feeds(self) -> dict[str, int]:
        return {name: sum(dog.feeds for dog in dogs) for name, dogs in self.dogs.items()}


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_both_are_fed_at_once(yard: Yard) -> None:
    for _ in range(3):
        assert yard.feeder.feed().condition is Condition.OK
        yard.now_s += 5.0
    assert yard.feeds() == {"systemd": 3, "device": 3}
    assert [info.timeout_s for info in yard.feeder.infos] == [10.0, 10.0]


def test_neither_is_fed_while_a_stage_stands_still(yard: Yard) -> None:
    yard.feeder.feed()
    for _ in range(3):
        yard.now_s += 4.0
        finding = yard.feeder.feed(["inference", "commit"])
    assert (finding.part, finding.condition, finding.code) == ("watchdog", Condition.FAILED, "starving")
    assert "inference and commit" in finding.advice
    assert yard.feeds() == {"systemd": 1, "device": 1}
    assert all(dogs[0].starved for dogs in yard.dogs.values())


def test_a_watchdog_that_is_not_there_leaves_the_other_one(yard: Yard) -> None:
    yard.chained = {"device"}
    finding = yard.feeder.feed()
    assert (finding.condition, finding.code) == (Condition.DEGRADED, "unavailable")
    assert "device cannot be opened" in finding.advice
    assert yard.feeds() == {"systemd": 1, "device": 0}
    yard.chained = set()
    for _ in range(70):
        yard.now_s += 1.0
        finding = yard.feeder.feed()
    assert finding.condition is Condition.OK
    assert yard.feeds()["device"] > 1


def test_no_watchdog_at_all_is_a_failure(yard: Yard) -> None:
    yard.chained = {"device", "systemd"}
    assert yard.feeder.feed().condition is Condition.FAILED


def test_a_feed_that_is_refused_is_told_and_the_watchdog_opened_again() -> None:
    yard = Yard(faults="..x")
    codes = []
    for _ in range(12):
        codes.append(yard.feeder.feed().code)
        yard.now_s += 0.5
    assert codes[:3] == ["", "", "unavailable"]
    assert len(yard.dogs["device"]) > 1
    assert yard.feeds()["systemd"] == 12
    assert not yard.dogs["systemd"][0].closed  # systemd is not told that we end


def test_a_machine_that_nobody_watches_is_no_fault() -> None:
    feeder = Feeder({})
    assert feeder.feed().condition is Condition.ABSENT
    assert feeder.feed(["camera"]).code == "starving"
    feeder.close()


def test_a_service_without_a_watchdog_time_counts_as_unwatched() -> None:
    feeder = Feeder({"systemd": lambda: open_watchdog("none", {})})
    assert feeder.feed().condition is Condition.ABSENT


def test_what_watches_is_logged_once(yard: Yard) -> None:
    with capture_logs() as logs:
        yard.feeder.feed()
        yard.feeder.feed()
    armed = [line for line in logs if line["event"] == "watchdog_armed"]
    assert [(line["name"], line["identity"], line["timeout_s"]) for line in armed] == [
        ("systemd", "simulated", 10.0),
        ("device", "simulated", 10.0),
    ]


def test_closing_closes_all(yard: Yard) -> None:
    yard.feeder.feed()
    yard.feeder.close()
    yard.feeder.close()
    assert all(dogs[0].closed for dogs in yard.dogs.values())
