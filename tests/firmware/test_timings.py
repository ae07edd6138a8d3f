# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

from firmware.timings import KEPT, Timings

MS = 1_000_000


def test_figures_are_of_the_last_frames() -> None:
    timings = Timings()
    now = time.monotonic_ns()
    for index in range(KEPT + 100):
        took = 50 if index < 100 else 10  # the first hundred are forgotten
        timings.take({"detect": 6.0, "total": 8.0}, now - took * MS, now, now - (took + 20) * MS)
    figures = timings.figures()
    assert (figures["ms_p50"], figures["ms_p95"], figures["lag_ms_p95"]) == (10.0, 10.0, 30.0)
    assert figures["stages"] == {"detect": 6.0}


def test_the_present_rate_falls_when_frames_stop() -> None:
    timings = Timings()
    now = time.monotonic_ns()
    for index in range(100):
        timings.take({}, 0, now - (100 - index) * 50 * MS, 0)
    assert 18.0 <= float(str(timings.figures()["fps_now"])) <= 20.5
    stopped = Timings()
    for index in range(100):
        stopped.take({}, 0, now - 60_000 * MS + index * 50 * MS, 0)
    assert stopped.figures()["fps_now"] == 0.0


def test_without_frames_the_figures_are_zero() -> None:
    assert Timings().figures()["ms_p50"] == 0.0
