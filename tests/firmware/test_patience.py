# SPDX-License-Identifier: Apache-2.0
"""A hung camera restarts the service at once, then ever more rarely, also over the restarts themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware.patience import BORNE_S, SOUND_S, Patience


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _borne_s(patience: Patience, clock: Clock, least_s: float = 0.0) -> float:
    """How long a camera that stays hung is borne; then the service is restarted."""
    begun_s = clock.now_s
    while patience.bears(least_s):
        clock.now_s += 1.0
    borne_s = clock.now_s - begun_s
    for _ in range(60):
        clock.now_s += 1.0
        assert not patience.bears(least_s)
    return borne_s


def test_each_restart_that_did_not_help_makes_it_more_patient(tmp_path: Path) -> None:
    clock = Clock()
    borne = [_borne_s(Patience(tmp_path / "restarts", clock), clock) for _ in range(5)]
    assert borne == [*BORNE_S, BORNE_S[-1], BORNE_S[-1]]


def test_a_minute_of_living_frames_forgets_the_restarts(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "restarts"
    for _ in range(2):
        _borne_s(Patience(path, clock), clock)
    helped = Patience(path, clock)
    helped.sound()
    clock.now_s += SOUND_S - 1
    helped.sound()
    assert _borne_s(Patience(path, clock), clock) == BORNE_S[2]  # not yet
    helped.sound()
    clock.now_s += SOUND_S
    helped.sound()
    assert _borne_s(Patience(path, clock), clock) == BORNE_S[0]


def test_a_frame_in_between_begins_anew(tmp_path: Path) -> None:
    clock = Clock()
    patience = Patience(None, clock)
    assert patience.bears(10.0)
    clock.now_s += 9.0
    patience.sound()
    assert _borne_s(patience, clock, 10.0) == pytest.approx(10.0)


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    path = tmp_path / "restarts"
    path.write_bytes(b"\xff\x00")
    clock = Clock()
    assert _borne_s(Patience(path, clock), clock) == BORNE_S[0]
    assert path.read_bytes() == b"1"


def test_a_short_hang_is_no_restart(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "restarts"
    patience = Patience(path, clock)
    for _ in range(5):
        assert not patience.bears()
        clock.now_s += 5.0
        patience.sound()
    assert not path.exists()
