# SPDX-License-Identifier: Apache-2.0
"""Supply and heat of the board, and the watchdog that its eye must feed."""

from __future__ import annotations

import time

from drivers.ports import Power, Watchdog
from drivers.sim.watchdog import SimWatchdog
from firmware.eye import Stages

from .conftest import part
from .rig import Rig
from .starving import FREEZE_BEGINS_S, STALL_LIMIT_S, StarvedEye
from .wait import wait_for

LATE_S = 1.0  # how late a busy machine may notice
HOTTEST_C, COLDEST_C = 85.0, -40.0


def test_the_board_is_not_too_hot_and_has_its_supply(power: Power) -> None:
    reading = power.reading()
    assert reading.temperature_c is None or COLDEST_C < reading.temperature_c < HOTTEST_C
    assert not reading.undervoltage
    assert not reading.throttled


def test_a_watchdog_that_is_fed_does_not_bite(rig: Rig, watchdog: Watchdog) -> None:
    assert isinstance(watchdog, SimWatchdog)
    for _ in range(5):
        watchdog.feed()
        time.sleep(0.02)
    assert not watchdog.starved


def test_one_stage_that_stalls_starves_the_watchdog(rig: Rig, watchdog: Watchdog) -> None:
    """The eye's own rule on the rig's watchdog: camera and commit advance, inference hangs."""
    assert isinstance(watchdog, SimWatchdog)
    timeout_s = float(str(part(rig.watchdog, "watchdog").options["timeout_s"]))
    stages = Stages()

    def turn() -> bool:
        stages.camera = stages.commit = time.monotonic()
        if not stages.stalled(timeout_s / 2):
            watchdog.feed()
        return watchdog.starved

    assert wait_for(turn, 4 * timeout_s + LATE_S)
    assert stages.stalled(timeout_s / 2) == ["inference"]
    assert watchdog.feeds > 0


def test_the_eye_tells_systemd_that_it_is_ready_and_that_it_ends(starved: StarvedEye) -> None:
    assert starved.messages[0] == b"READY=1"
    assert starved.messages[-1] == b"STOPPING=1"
    assert set(starved.messages) == {b"READY=1", b"WATCHDOG=1", b"STOPPING=1"}


def test_the_eye_feeds_while_frames_come_and_stops_when_they_stop(starved: StarvedEye) -> None:
    last_frame_s, next_frame_s = starved.stall()
    last_feed_s, next_feed_s = starved.silence()
    assert next_frame_s - last_frame_s > STALL_LIMIT_S + LATE_S, "the script did not stall the camera"
    assert STALL_LIMIT_S - LATE_S < last_feed_s - last_frame_s < STALL_LIMIT_S + LATE_S
    assert 0.0 < next_feed_s - next_frame_s + LATE_S < 2 * LATE_S
    assert sum(at > next_feed_s for at in starved.feeds) >= 2


def test_the_eye_tells_a_frozen_picture(starved: StarvedEye) -> None:
    late = [state for at, _, state in starved.samples if at > FREEZE_BEGINS_S + STALL_LIMIT_S]
    assert late
    assert "up" not in late


def test_a_starved_watchdog_is_told_counted_and_over(starved: StarvedEye) -> None:
    for name, code in (("watchdog", "starving"), ("eye", "stalled")):
        assert starved.of(name)[:2] == [code, ""]
        assert starved.counted[f"health: {name} {code}"] >= 1
        assert starved.counted[f"health: {name} ok"] >= 1
    assert starved.of("camera")[:2] == ["slow", ""]
    assert "frozen" in starved.of("camera")
