# SPDX-License-Identifier: Apache-2.0
"""How long frames take: the whole, each stage, and how old a frame is when its reads are known."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KEPT = 256  # frames that the figures are of
RECENT_S = 10.0  # over which the present rate is counted
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class _Taken:
    done_ns: int
    total_ms: float
    age_ms: float
    stages: Mapping[str, float]


class Timings:
    """Thread-safe: the inference thread adds, whoever asks reads."""

    def __init__(self) -> None:
        self._taken: deque[_Taken] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def take(self, stages: Mapping[str, float], begun_ns: int, done_ns: int, captured_ns: int) -> None:
        """One frame: the nets' own stage times (ms), when its work began and ended, when it was captured."""
        taken = _Taken(
            done_ns,
            (done_ns - begun_ns) / NS_PER_MS,
            (done_ns - captured_ns) / NS_PER_MS,
            {name: ms for name, ms in stages.items() if name != "total"},
        )
        with self._lock:
            self._taken.append(taken)

    def figures(self) -> dict[str, object]:
        """`ms_p50`, `ms_p95` a frame, `lag_ms_p95` from capture to reads, `fps_now`, `stages` (ms, median)."""
        with self._lock:
            taken = list(self._taken)
        if not taken:
            return {"ms_p50": 0.0, "ms_p95": 0.0, "lag_ms_p95": 0.0, "fps_now": 0.0, "stages": {}}
        names = dict.fromkeys(name for frame in taken for name in frame.stages)
        return {
            "ms_p50": _share([frame.total_ms for frame in taken], 0.5),
            "ms_p95": _share([frame.total_ms for frame in taken], 0.95),
            "lag_ms_p95": _share([frame.age_ms for frame in taken], 0.95),
            "fps_now": _rate([frame.done_ns for frame in taken]),
            "stages": {
                name: _share([frame.stages[name] for frame in taken if name in frame.stages], 0.5)
                for name in names
            },
        }


def _share(values: Sequence[float], share: float) -> float:
    """The value that this share of all lies below."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


def _rate(done_ns: Sequence[int]) -> float:
    """Frames a second, over the last RECENT_S or what is kept of it."""
    now_ns = time.monotonic_ns()
    recent = [at for at in done_ns if now_ns - at <= RECENT_S * 1e9]
    if len(recent) < 2:
        return 0.0
    return round((len(recent) - 1) * 1e9 / max(1, now_ns - recent[0]), 1)
