# SPDX-License-Identifier: Apache-2.0
"""Rig files: the shipped ones load, a wrong one is refused with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from .rig import MAX_RIG_BYTES, SIMULATED, Rig, RigError, load_rig

CAMERA = '[camera]\nname = "sim"\n'


@pytest.mark.parametrize("path", sorted(SIMULATED.parent.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_rigs_are_valid(path: Path) -> None:
    assert isinstance(load_rig(path), Rig)


def test_the_simulated_rig_has_every_part() -> None:
    rig = load_rig(SIMULATED)
    assert all(getattr(rig, name) is not None for name in type(rig).model_fields)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[lidar]\n", "lidar"),
        (CAMERA + "colour = true\n", r"camera\.colour"),
        (CAMERA + "fps = 0\n", r"camera\.fps"),
        ('[camera]\nname = "replay"\n', "'sim', 'v4l2', 'picamera2' or 'jetson'"),
        ('[gnss]\nname = "sextant"\n', "none, fixed, sim, nmea"),
        ('[illuminator]\nname = "sim"\nsense_pin = 99\n', r"illuminator\.sense_pin"),
        ('[serial]\nname = "cable"\ndevice = "/dev/ttyUSB0"\n', "both ports"),
        ('[serial]\nname = "null-modem"\nlaptop = "/dev/ttyUSB0"\n', "names none"),
        ("[camera\n", "not valid TOML"),
        ("#" * (MAX_RIG_BYTES + 1), "larger than"),
    ],
)
def test_a_wrong_rig_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(text)
    with pytest.raises(RigError, match=told):
        load_rig(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="cannot be read"):
        load_rig(tmp_path / "none.toml")
