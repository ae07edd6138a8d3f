# SPDX-License-Identifier: Apache-2.0
"""What the detector takes for plates in the training pictures: its mistakes teach the flag, its boxes the corners.

`mine` runs the int8 nets over `train.jsonl` and keeps pieces of the pictures; `refine` trains the corner net on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference import corners as corner_stage
from inference import detector as box_stage
from inference import ocr
from inference.detector import Candidate, iou, overlap
from inference.runtime import Net, TfliteNet
from inference.types import Box

from .corners_data import WIDE_MARGIN, CornerFeed, Regions, load_regions, region_of
from .detector_data import read_grey
from .render_pool import read_manifest

LEAST_SCORE = 0.15  # of the detector; below the device's own threshold, so that there is enough to learn from
COARSE_EVERY = 2  # in every so many pictures the detector also looks at half the size
MATCH = 0.4  # IoU with a labelled plate from which a box is that plate
FREE = 0.1  # IoU below which it has nothing to do with it
TOUCH = 0.3  # share of the plate or of the box that overlaps: neither plate nor background
PER_PICTURE = 8  # boxes kept, best first
READ_CONFIDENCE = 0.5  # a text of READ_LENGTH read with so much is a plate that nobody labelled
READ_LENGTH = 5
SURE_SCORE = (
    0.58  # of the detector: from here on half of the mistakes that bear SURE_LENGTH signs are plates too
)
SURE_LENGTH = 3
DRAWS = ((0.3, 1), (0.5, 2))  # a mistake with a score of at least so much is in the hat so many times more
KNOWN_DRAWS = 4  # ... and one that is known to be no plate so many times more
KNOWN_SCORE = 0.6  # of the detector: stands for its score on signs that it saw in a part of the picture only
LOOKED_AT = Path(__file__).with_name("looked_at.json")
MIN_WIDTH = 10.0  # px, of a box
USED_SCORE = 0.45  # of the detector: boxes whose errors the corner net learns to bear
MAX_ERROR = 0.35  # of the plate's size
RATE = 1e-3
PLACE_SHARE = 0.6  # of the time: the corners; the rest is the judge's
FLAG_WEIGHT = 0.06  # of "is a plate": twice that of the first training


@dataclass(frozen=True, slots=True)
class Nets:
    """The int8 nets that look for mistakes."""

    detector: Net
    corners: Net
    reader: Net


@dataclass(frozen=True, slots=True)
class Find:
    """One box of the detector: the picture around it and what is known of it."""

    image: NDArray[np.uint8]  # (128, 256), the box with WIDE_MARGIN on every side
    plate: Box | None  # the labelled plate px, relative to the box (0..1 spans it); None for a mistake
    score: float
    width: float  # px, of the box
    confidence: float  # of the reader on a mistake
    length: int  # characters it read there; KNOWN where the mistake is known for one without reading


KNOWN = -1


def open_nets(detector: Path, corners: Path, reader: Path) -> Nets:
    """The nets of three int8 files."""
    named = (("detector", detector), ("corners", corners), ("reader", reader))
    return Nets(*(TfliteNet(name, path.read_bytes()) for name, path in named))


def sort_out(box: Box, plates: list[Box], others: list[Box]) -> int | None:
    """Index of the plate that the box is, -1 when it is a mistake, None when it can't be told.

    `others` are labelled as no plates (signs, fakes): a box there is a mistake.
    """
    shares = [iou(box, plate) for plate in plates]
    best = int(np.argmax(shares)) if shares else -1
    if best >= 0 and shares[best] >= MATCH:
        return best
    if any(iou(box, other) >= MATCH for other in others):
        return -1
    least = [min(p[2] * p[3], box[2] * box[3]) for p in plates]
    touching = any(overlap(box, p) > TOUCH * area for p, area in zip(plates, least, strict=True))
    return None if touching or max(shares, default=0.0) >= FREE else -1


def merged(found: list[Candidate]) -> list[Candidate]:
    """Candidates of several looks without those that overlap a better one, best first."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (c.box for c in found)], dtype=np.float32)
    scores = np.array([c.score for c in found], dtype=np.float32)
    return [found[i] for i in box_stage.suppress(boxes.reshape(-1, 4), scores)]


def candidates(nets: Nets, grey: NDArray[np.uint8], *, coarse: bool) -> list[Candidate]:
    """The detector's best boxes at one look, or at two."""
    found = box_stage.detect(nets.detector, grey, LEAST_SCORE)
    if coarse:
        found = merged(found + box_stage.detect(nets.detector, grey, LEAST_SCORE, shrink=0.5))
    return [c for c in found if c.box[2] >= MIN_WIDTH and c.box[3] >= 4][:PER_PICTURE]


def read_text(nets: Nets, grey: NDArray[np.uint8], box: Box) -> tuple[float, int]:
    """Confidence and number of characters of what the reader sees in a box, as the device would look."""
    located = corner_stage.locate(nets.corners, grey, box)
    located = corner_stage.locate(nets.corners, grey, corner_stage.bounds(located.corners))
    decoded, _ = ocr.read(nets.reader, grey, located.corners)
    return decoded.confidence, len(decoded.text)


def relative(plate: Box, box: Box) -> Box:
    """A plate in units of a box."""
    return (plate[0] - box[0]) / box[2], (plate[1] - box[1]) / box[3], plate[2] / box[2], plate[3] / box[3]


def looked_at() -> dict[str, dict[str, list[list[float]]]]:
    """Picture -> "signs" (lettering, badges: no plates) and "unsure" boxes x1, y1, x2, y2 px, sorted by eye."""
    found: dict[str, dict[str, list[list[float]]]] = json.loads(LOOKED_AT.read_text(encoding="utf-8"))
    return found


def finds(
    nets: Nets,
    grey: NDArray[np.uint8],
    row: dict[str, Any],
    *,
    coarse: bool,
    seen: dict[str, list[list[float]]] | None = None,
) -> Iterator[Find]:
    """The boxes of one picture that are plates, and those that are none; `seen`: its entry of `looked_at`."""
    seen = seen or {}
    labelled = [(p.get("quality") != "notplate", box_stage.as_box(np.array(p["box"]))) for p in row["plates"]]
    signs, unsure = (
        [box_stage.as_box(np.array(b)) for b in seen.get(name, [])] for name in ("signs", "unsure")
    )
    plates, others = [b for ok, b in labelled if ok], signs + [b for ok, b in labelled if not ok]
    for sign in signs:
        yield Find(region_of(grey, sign, WIDE_MARGIN), None, KNOWN_SCORE, sign[2], 0.0, KNOWN)
    for candidate in candidates(nets, grey, coarse=coarse):
        box = candidate.box
        which = sort_out(box, plates, others)
        if which is None or any(iou(box, other) >= FREE for other in unsure):
            continue
        confidence, length = (math.nan, 0)
        if which < 0:
            known = any(iou(box, other) >= MATCH for other in others)
            confidence, length = (0.0, KNOWN) if known else read_text(nets, grey, box)
        plate = relative(plates[which], box) if which >= 0 else None
        image = region_of(grey, box, WIDE_MARGIN)
        yield Find(image, plate, candidate.score, box[2], confidence, length)


def mine(data: Path, nets: Nets, out: Path) -> Path:
    """Writes `out` (.npz): arrays named as the fields of Find, one row a box; plate is nan where there is none."""
    cv2.setNumThreads(1)
    found: list[Find] = []
    by_eye = looked_at()
    for i, row in enumerate(read_manifest(data / "train.jsonl")):
        seen = by_eye.get(row["image"])
        grey = read_grey(data / row["image"])
        found += finds(nets, grey, row, coarse=i % COARSE_EVERY == 0, seen=seen)
        if i % 500 == 0:
            print({"pictures": i, "finds": len(found)}, flush=True)
    nothing = (math.nan,) * 4
    part = out.with_suffix(".part.npz")
    np.savez(
        part,
        image=np.stack([f.image for f in found]),
        plate=np.array([f.plate or nothing for f in found], np.float32),
        score=np.array([f.score for f in found], np.float32),
        width=np.array([f.width for f in found], np.float32),
        confidence=np.array([f.confidence for f in found], np.float32),
        length=np.array([f.length for f in found]),
    )
    part.replace(out)
    return out


def mined_regions(path: Path) -> Regions:
    """The finds of `mine` without plates that nobody labelled."""
    with np.load(path) as file:
        is_plate = ~np.isnan(file["plate"][:, 0])
        keep = is_plate | ~unlabelled(file["score"], file["confidence"], file["length"])
        count = int(keep.sum())
        unknown = np.full(count, math.nan, np.float32)
        draws = 1 + sum(more * ~is_plate * (file["score"] >= least) for least, more in DRAWS)
        draws = draws + KNOWN_DRAWS * (file["length"] == KNOWN)
        mined = np.ones(count, np.bool_)
        return Regions(file["image"][keep], is_plate[keep], unknown, file["plate"][keep], mined, draws[keep])


def box_errors(path: Path) -> NDArray[np.float32]:
    """How far the detector's boxes of `mine` reach beyond the labelled plate: (n, 4) left, top, right, bottom, of
    the plate's size; only of boxes as sure as those that the device looks at.
    """
    with np.load(path) as file:
        x, y, w, h = file["plate"][~np.isnan(file["plate"][:, 0]) & (file["score"] >= USED_SCORE)].T
    errors = np.stack([x / w, y / h, (1 - x - w) / w, (1 - y - h) / h], 1)
    return np.asarray(np.clip(errors, -MAX_ERROR, MAX_ERROR), np.float32)


def unlabelled(
    score: NDArray[np.float32], confidence: NDArray[np.float32], length: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which mistakes are probably plates that nobody labelled (looked at by eye: about half of these are)."""
    read = (confidence > READ_CONFIDENCE) & (length >= READ_LENGTH)
    return np.asarray(read | ((score >= SURE_SCORE) & (length >= SURE_LENGTH)), np.bool_)


def joined(first: Regions, second: Regions) -> Regions:
    """Pieces of labelled pictures and mined ones together."""
    return Regions(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.is_plate, second.is_plate]),
        np.concatenate([first.two_rows, second.two_rows]),
        np.concatenate([_plates(first), _plates(second)]),
        np.concatenate([_mined(first), _mined(second)]),
        np.concatenate([_draws(first), _draws(second)]),
    )


def _plates(regions: Regions) -> NDArray[np.float32]:
    return (
        np.full((len(regions.images), 4), math.nan, np.float32) if regions.plates is None else regions.plates
    )


def _mined(regions: Regions) -> NDArray[np.bool_]:
    return np.zeros(len(regions.images), np.bool_) if regions.mined is None else regions.mined


def _draws(regions: Regions) -> NDArray[np.int64]:
    return np.ones(len(regions.images), np.int64) if regions.draws is None else regions.draws


def refine(data: Path, work: Path, minutes: float, device: str, detector: Path) -> Path:
    """Trains the net of `work/corners.pt` on, first its corners, then its judge; returns `work/refined.pt`.

    Mines once with the int8 `detector` and the int8 corner net and reader beside it, and fits corners once with
    `work/../reader/reader.pt`. An interrupted run goes on where it was.
    """
    import torch

    from .corners_model import freeze_corners, freeze_judge
    from .corners_place import PlaceFeed, load_plates
    from .corners_place import run as run_places
    from .corners_session import Session
    from .corners_train import DECAY, SEED, load_net, run

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    found, placed = work / "mined.npz", work / "placed.pt"
    if not found.exists():
        nets = open_nets(detector, detector.with_name("corners.tflite"), detector.with_name("reader.tflite"))
        mine(data, nets, found)
    net = load_net(work / "corners.pt").to(device).train()
    freeze_judge(net)
    session = Session(net, placed, minutes * PLACE_SHARE, RATE, DECAY, device)
    plates = load_plates(data, fitted_corners(data, work, SEED))
    run_places(session, net, PlaceFeed(work / "pool", plates, box_errors(found), SEED + 2), device)
    net = load_net(placed).to(device).train()
    freeze_corners(net)
    regions = joined(load_regions(data, SEED, work / "region_rows.json"), mined_regions(found))
    session = Session(net, work / "refined.pt", minutes * (1 - PLACE_SHARE), RATE, DECAY, device)
    return run(session, CornerFeed(work / "pool", regions, SEED + 1), device, FLAG_WEIGHT)


def fitted_corners(data: Path, work: Path, seed: int) -> Path:
    """`work/fitted.json`, made once with `work/corners.pt` and the reader trained beside it; before it
    `work/region_rows.json`, which tells the plates with two rows.
    """
    from .corners_fit import fit_streets
    from .corners_train import load_net
    from .reader_corners import survey_streets
    from .reader_train import load_net as load_reader

    out, rows = work / "fitted.json", work / "region_rows.json"
    if not out.exists():
        corners, reader = load_net(work / "corners.pt"), load_reader(work.parent / "reader" / "reader.pt")
        if not rows.exists():
            survey_streets(data, corners, reader, rows)
        fit_streets(data, corners, reader, rows, out, seed)
    return out
