# SPDX-License-Identifier: Apache-2.0
"""Sensor files under /sys: what is missing is no fault, what is there and gives no value is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MAX_SENSOR_BYTES: Final = 64  # bytes read of one sysfs value


class Sensors:
    """One look at the sensors; `failed` names those that gave no value."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.failed: list[str] = []

    def fail(self, what: str) -> None:
        """Notes a sensor that should have given a value."""
        if what not in self.failed:
            self.failed.append(what)

    @staticmethod
    def text(path: Path) -> str:
        """The file's text without its end; empty when there is none."""
        try:
            with path.open("rb") as file:
                return file.read(MAX_SENSOR_BYTES).decode("ascii", "replace").strip()
        except OSError:
            return ""

    def number(self, path: Path, what: str = "", base: int = 10) -> int | None:
        """A whole number; None where there is no such file, or (noted if `what` is named) where it has none."""
        try:
            with path.open("rb") as file:
                return int(file.read(MAX_SENSOR_BYTES).decode("ascii").strip(), base)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            if what:
                self.fail(what)
            return None

    def chips(self, name: str, folder: str = "class/hwmon") -> list[Path]:
        """The chips of this name, or on this place of their bus ("1-0040")."""
        found = sorted((self.root / folder).glob("*"))
        return [
            chip for chip in found if name in {self.text(chip / "name"), (chip / "device").resolve().name}
        ]
