# SPDX-License-Identifier: Apache-2.0
"""Compares what was read with what really passed: the simulated roadside's truth, or a manifest beside the pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

US_PER_S = 1_000_000
TIME_SLACK_US = 3 * US_PER_S  # a read may be told a little before or after the vehicle was in sight
FOLD = str.maketrans({"O": "0", "I": "1"})


@dataclass(frozen=True, slots=True)
class Passed:
    """One plate that really passed; `source` is the picture's name where it is a still."""

    plate: str
    first_us: int = 0
    last_us: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """How the reads compare: vehicles that passed, read at all, read exactly (O as 0, I as 1), and reads of nothing."""

    vehicles: int
    exact: int
    exact_folded: int
    read_otherwise: int
    missed: int
    false_reads: int


def sim_truth(path: Path) -> list[Passed]:
    """The truth lines of the simulated roadside; a last half line is left out."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Passed(str(v["plate"]), int(v["first_seen_us"]), int(v["last_seen_us"])) for v in lines]


def manifest_truth(folder: Path) -> list[Passed]:
    """The texts of `FOLDER.jsonl` beside a folder of pictures (the data's manifest format), if there is one."""
    manifest = folder.with_name(folder.name + ".jsonl")
    if not manifest.is_file():
        return []
    found: list[Passed] = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        image = json.loads(line)
        name = Path(str(image["image"])).name
        for plate in image.get("plates", ()):
            text = plate.get("text")
            if text and "?" not in text and plate.get("quality") == "clear":
                found.append(Passed(str(text), source=name))
    return found


def compare(truth: Iterable[Passed], reads: Iterable[Mapping[str, object]]) -> Score:
    """Each vehicle takes the best read of its time (or picture); reads left over are of nothing that passed."""
    left = list(reads)
    vehicles = list(truth)
    exact = folded = otherwise = 0
    waiting: list[Passed] = []
    for vehicle in vehicles:
        chosen = next((r for r in left if _together(vehicle, r) and _same(vehicle, r)), None)
        if chosen is None:
            waiting.append(vehicle)
            continue
        left.remove(chosen)
        folded += 1
        exact += str(chosen["text"]) == vehicle.plate
    missed = 0
    for vehicle in waiting:
        chosen = next((r for r in left if _together(vehicle, r)), None)
        if chosen is None:
            missed += 1
        else:
            left.remove(chosen)
            otherwise += 1
    return Score(len(vehicles), exact, folded, otherwise, missed, len(left))


def _same(vehicle: Passed, read: Mapping[str, object]) -> bool:
    return str(read["text"]).translate(FOLD) == vehicle.plate.translate(FOLD)


def _together(vehicle: Passed, read: Mapping[str, object]) -> bool:
    if vehicle.source:
        return Path(str(read.get("source", ""))).name == vehicle.source
    at = int(str(read["captured_us"]))
    return vehicle.first_us - TIME_SLACK_US <= at <= vehicle.last_us + TIME_SLACK_US
