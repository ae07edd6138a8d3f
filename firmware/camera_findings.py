# SPDX-License-Identifier: Apache-2.0
"""What can be found about a camera, and what the technician should do about it. The worst comes first."""

from __future__ import annotations

from typing import Final

from firmware.health import Condition, Finding

PART: Final = "camera"
_FAILED: Final = (
    ("lost", "Check the camera's cable and its plug at both ends."),
    ("frozen", "The picture does not change: switch the unit off and on; if it stays so, change the camera."),
    ("dark", "The picture is black: look for what covers the lens or the window."),
    (
        "turned",
        "The camera no longer shows the road that it learnt: check its mount and what hangs before the lens;"
        " if it was moved on purpose, let it learn anew.",
    ),
)
_DEGRADED: Final = (
    (
        "blinded",
        "Most of the picture is overdriven: look for a light or the sun in the lens, or wet on the window.",
    ),
    (
        "defocused",
        "The picture is blurred: wipe the window, look for mist behind it, set and lock the focus ring.",
    ),
    ("slow", "Too few frames arrive: check the camera's cable, its power and the unit's temperature."),
)

FINDINGS: Final = {
    code: Finding(PART, condition, code, advice)
    for condition, codes in ((Condition.FAILED, _FAILED), (Condition.DEGRADED, _DEGRADED))
    for code, advice in codes
}
