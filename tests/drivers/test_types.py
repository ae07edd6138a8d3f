# SPDX-License-Identifier: Apache-2.0
"""What a camera can do, as a value."""

from __future__ import annotations

import pytest

from drivers.types import CameraCaps, Exposure

CAPS = CameraCaps((30, 20_000), (1.0, 16.0), 50.0, (1280, 720))


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (Exposure(1000, 2.0), Exposure(1000, 2.0)),
        (Exposure(5, 0.5), Exposure(30, 1.0)),
        (Exposure(1_000_000, 99.0), Exposure(20_000, 16.0)),
    ],
)
def test_the_nearest_exposure_that_it_can_make(asked: Exposure, given: Exposure) -> None:
    assert CAPS.bounded(asked) == given
