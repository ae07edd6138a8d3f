# SPDX-License-Identifier: Apache-2.0
"""What a card has to bear: bytes that reach a real block device (ext4 on a loop), against the budget in the docs."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware.clock import DeviceClock
from firmware.config import EyeConfig
from firmware.wiring import PERSIST_S

from .disk_rig import T0_US, DiskRig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DOC = Path(__file__).parents[2] / "docs" / "hardware" / "disk.md"
SECTOR = 512
CROP, SCENE = os.urandom(8_000), os.urandom(60_000)
READS_A_SECOND = 20
COMMIT_EACH = round(READS_A_SECOND * EyeConfig().commit_interval_ms / 1000)
DAY_S, QUIET_READS_A_DAY, QUIET_HITS_A_DAY = 86_400, 5_000, 50


class Card:
    """A loop device with ext4; `written` by some work, with everything that the file system adds."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self._stat = Path("/sys/block") / device / "stat"

    def _sectors(self) -> int:
        os.sync()
        return int(self._stat.read_text().split()[6])

    def written(self, work: Callable[[], object], times: int = 1) -> float:
        """Bytes that reach the device for one turn of the work."""
        before = self._sectors()
        for _ in range(times):
            work()
        return (self._sectors() - before) * SECTOR / times


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    image, folder = tmp_path / "card.img", tmp_path / "card"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(1 << 30)
    for command in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, folder]):
        try:
            done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"{command[0]} is not here")
        if done.returncode != 0:
            pytest.skip("a file system can only be made and mounted as root")
    source = next(
        line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line
    )
    yield Card(folder, Path(source).name)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def budget(row: str) -> float:
    """The bytes that the document promises in one row of its table."""
    found = re.search(rf"^\| {row} \|[^|]*\| ([0-9.]+) (kB|GB) \|", DOC.read_text(), re.MULTILINE)
    assert found is not None, row
    return float(found[1]) * (1e3 if found[2] == "kB" else 1e9)


def test_the_wear_keeps_its_budget(card: Card) -> None:
    rig = DiskRig(card.folder / "data", ballast_bytes=8 << 20)
    clock = DeviceClock(card.folder / "data" / "clock.json")
    now_us = [T0_US]

    def persist() -> None:
        clock.persist()
        rig.ledger.persist()

    def read() -> None:
        now_us[0] += 1_000_000 // READS_A_SECOND
        rig.see(now_us[0], crop=CROP, scene=SCENE)
        if rig.passes % COMMIT_EACH == 0:
            rig.commit()

    def lone_read() -> None:
        rig.see(now_us[0], crop=CROP, scene=SCENE)
        rig.commit()

    def hit() -> None:
        rig.hit(rig.passes)
        rig.passes += 1
        rig.keeper.work()

    def tend() -> None:
        now_us[0] += 60_000_000
        rig.vault.tend(rig.evidence(now_us[0]))

    persist()
    read()
    figures = {
        "a read of a busy road": card.written(read, 1200),
        "a read by itself": card.written(lone_read, 20),
        "a hit": card.written(hit, 20),
        "clock and ledger, once": card.written(persist, 10),
    }
    minute = card.written(tend, 30)
    figures["a quiet day"] = (
        QUIET_READS_A_DAY * figures["a read by itself"]
        + QUIET_HITS_A_DAY * figures["a hit"]
        + DAY_S / PERSIST_S * figures["clock and ledger, once"]
        + DAY_S / 60 * minute
    )
    print({**figures, "minute": minute})  # noqa: T201 -- shown by pytest -rP
    for row, measured in figures.items():
        assert measured <= budget(row), (row, figures)
        assert measured >= budget(row) / 3, (row, figures)  # a budget that says nothing is none
