# SPDX-License-Identifier: Apache-2.0
"""What the memory of recent texts forgets; what counts as a repeat is shown with the reader and on the road."""

from __future__ import annotations

import numpy as np
import pytest

from firmware.repeats import STANDING, STANDING_US, US_PER_S, Repeats
from inference.tracker import Track
from inference.types import Observation, PlateRead


def track_at(at_us: int) -> Track:
    box = (10.0, 20.0, 120.0, 60.0)
    corners = np.zeros((4, 2), np.float32)
    read = PlateRead("AB12345", 0.9, (), None, 0.0, "", corners, box, 0.9, 0.9, 120.0, 60.0, 1.0)
    track = Track(1, "")
    track.add(Observation(1, at_us, read))
    return track


@pytest.mark.parametrize(("later_us", "known"), [(STANDING_US, True), (STANDING_US + 1, False)])
def test_a_text_is_forgotten_an_hour_after_it_was_last_in_sight(later_us: int, known: bool) -> None:
    repeats = Repeats(60.0)
    repeats.kept("AB12345", track_at(0), None)
    repeats.again("AB12345", track_at(US_PER_S))
    repeats.forget_old(US_PER_S + later_us)
    why = repeats.why("AB12345", track_at(STANDING_US), None, listed=False)
    assert why == (STANDING if known else None)
