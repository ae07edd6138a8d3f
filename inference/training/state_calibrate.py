# SPDX-License-Identifier: Apache-2.0
"""When a state may be named: temperature, weights of format and name, thresholds, on training plates held out.

Few US plates are held out, so each is seen several times, with corners a little off and with its colours taken
away; US plates together weigh `US_WEIGHT` times what those from elsewhere do, as beside a US road they would. The
reader learned no names, so the weight of its word on them is fitted on all training plates.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.decode import softmax
from inference.labels import held_out
from inference.preprocess import normalise, quad_size, to_grey
from inference.runtime import Net, TfliteNet, by_shape
from inference.state import CLASSES, OTHER, PREFIX, among_all, in_colour, state_crop
from inference.state_formats import format_scores
from inference.state_names import name_scores

from .detector_data import read_colour
from .reader_data import Quad, jitter
from .render_pool import read_manifest
from .state_data import class_of

TEMPERATURES = np.exp(np.linspace(np.log(0.5), np.log(4.0), 40))
FORMAT_WEIGHTS = np.linspace(
    0.0, 0.6, 7
)  # a hint and no more: what the net never saw must not be named by it
NAME_WEIGHTS = np.linspace(0.0, 1.2, 13)
PRECISION = 0.97  # wanted of the states named; 0.95 is asked for
LEAST = 0.88  # no threshold is lower: the few plates held out show no surprises, drawn ones do
NEVER = 2.0  # the threshold where none reaches the precision
US_WEIGHT = 3.0
VIEWS = 4  # of each plate
_JITTER = 0.5
_MIN_WIDTH = 40.0  # px; narrower plates are not tried

Logits = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """n views: logits (n, 52), classes (n,), the format's scores and the names', weighed already, (n, 52), weights
    (n,) that sum to 1.
    """

    logits: Logits
    classes: NDArray[np.int64]
    formats: Logits
    names: Logits
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StateCalibration:
    """The manifest's thresholds, and what they make of the plates they were fitted on."""

    thresholds: dict[str, float]
    us_plates: int
    log_loss_plain: float
    log_loss: float
    named: float  # share of the US plates, in colour
    named_grey: float
    precision: float
    precision_grey: float

    def as_dict(self) -> dict[str, Any]:
        """For printing."""
        return asdict(self)


def plates_of(data: Path, manifest: str, corners: NDArray[np.float32]) -> list[tuple[dict[str, Any], Quad]]:
    """Rows of a manifest whose class is known and that are wide enough, with their corners (4, 2) px."""
    rows = zip(read_manifest(data / manifest), corners, strict=True)
    return [
        (r, q.astype(np.float32))
        for r, q in rows
        if class_of(r) is not None and quad_size(q)[0] >= _MIN_WIDTH
    ]


def logits_of(net: Net, picture: NDArray[np.uint8], quad: Quad) -> Logits:
    """What the int8 net says of a plate: (52,)."""
    crop = normalise(state_crop(picture, quad))
    return np.asarray(by_shape(net.run(crop), (1, CLASSES), net.name).values[0], np.float64)


@dataclass(frozen=True, slots=True)
class Nets:
    """The int8 nets that say something of the state, and how much the reader's word on names weighs."""

    state: Net
    reader: Net
    name_weight: float


def see(
    nets: Nets, data: Path, plates: list[tuple[dict[str, Any], Quad]], *, grey: bool, views: int = VIEWS
) -> Seen:
    """Every plate `views` times, the first time with its corners as they are."""
    rng = np.random.default_rng(3)
    logits, classes, formats, names = [], [], [], []
    for row, quad in plates:
        picture = read_colour(data / row["image"])
        if grey:
            picture = in_colour(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8))
        for i in range(views):
            view = jitter(rng, quad, _JITTER) if i else quad
            logits.append(logits_of(nets.state, picture, view))
            classes.append(class_of(row))
            formats.append(among_all(format_scores(str(row.get("text") or ""))))
            names.append(among_all(name_scores(nets.reader, to_grey(picture), view)) * nets.name_weight)
    kinds = np.array(classes, np.int64)
    foreign = kinds == OTHER
    weights = np.where(foreign, 1 / max(1, foreign.sum()), US_WEIGHT / max(1, (~foreign).sum()))
    return Seen(np.stack(logits), kinds, np.stack(formats), np.stack(names), weights / weights.sum())


def probabilities(seen: Seen, temperature: float, weight: float) -> Logits:
    """(n, 52), as the device computes them."""
    return np.asarray(softmax(seen.logits / temperature + seen.formats * weight + seen.names))


def log_loss(seen: Seen, temperature: float, weight: float) -> float:
    """Weighted mean negative log likelihood."""
    right = probabilities(seen, temperature, weight)[np.arange(len(seen.classes)), seen.classes]
    return float(-(seen.weights * np.log(np.clip(right, 1e-6, 1.0))).sum())


def fit(seen: Seen) -> tuple[float, float]:
    """Temperature and format weight with the least log loss."""
    losses = {(float(t), float(w)): log_loss(seen, t, w) for t in TEMPERATURES for w in FORMAT_WEIGHTS}
    return min(losses, key=lambda pair: losses[pair])


def threshold(seen: Seen, found: Logits, wanted: float = PRECISION) -> float:
    """The least probability from which on states are named with the wanted precision, or NEVER."""
    best = found.argmax(axis=1)
    named = best != OTHER
    sure = found.max(axis=1)
    for level in np.arange(LEAST, 1.0, 0.01):
        taken = named & (sure >= level)
        total = seen.weights[taken].sum()
        if total > 0 and seen.weights[taken & (best == seen.classes)].sum() / total >= wanted:
            return float(round(level, 2))
    return NEVER


def said(seen: Seen, found: Logits, level: float) -> tuple[float, float]:
    """Share of the US plates that are named at a threshold, and the weighted precision of the names."""
    best = found.argmax(axis=1)
    taken = (best != OTHER) & (found.max(axis=1) >= level)
    right = seen.weights[taken & (best == seen.classes)].sum() / max(seen.weights[taken].sum(), 1e-9)
    return float(taken[seen.classes != OTHER].mean()), float(right)


def name_weight(reader: Net, data: Path, plates: list[tuple[dict[str, Any], Quad]]) -> float:
    """The weight with which the reader alone tells the states of US plates with the least log loss."""
    scores, classes = [], []
    for row, quad in plates:
        if (kind := class_of(row)) != OTHER:
            scores.append(name_scores(reader, to_grey(read_colour(data / row["image"])), quad))
            classes.append(kind)
    return best_weight(np.stack(scores).astype(np.float64), np.array(classes))


def best_weight(scores: Logits, classes: NDArray[np.int64]) -> float:
    """The weight of scores (n, 51) with the least log loss of the classes (n,)."""
    rows = np.arange(len(classes))
    losses = [-np.log(softmax(scores * weight)[rows, classes]).mean() for weight in NAME_WEIGHTS]
    return float(NAME_WEIGHTS[int(np.argmin(losses))])


def calibrate(data: Path, work: Path, model: Path) -> StateCalibration:
    """Fits to a state net and the reader beside it; `work` has the corners (`crops_train_corners.npy`)."""
    known = plates_of(data, "crops_train.jsonl", np.load(work / "crops_train_corners.npy"))
    reader = TfliteNet("reader", model.with_name("reader.tflite").read_bytes())
    nets = Nets(TfliteNet("state", model.read_bytes()), reader, name_weight(reader, data, known))
    plates = [(row, quad) for row, quad in known if held_out(str(row.get("text") or "") or str(row["image"]))]
    colour, grey = see(nets, data, plates, grey=False), see(nets, data, plates, grey=True)
    both = Seen(*(np.concatenate(pair) for pair in zip(_arrays(colour), _arrays(grey), strict=True)))
    temperature, weight = fit(replace(both, weights=both.weights / 2))
    found = [probabilities(seen, temperature, weight) for seen in (colour, grey)]
    levels = [threshold(seen, p) for seen, p in zip((colour, grey), found, strict=True)]
    shares = [said(seen, p, level) for seen, p, level in zip((colour, grey), found, levels, strict=True)]
    names = ("temperature", "format_weight", "name_weight", "confidence", "grey_confidence", "min_width_px")
    figures = (temperature, weight, nets.name_weight, levels[0], max(levels), _MIN_WIDTH)
    return StateCalibration(
        thresholds={f"{PREFIX}{name}": round(figure, 4) for name, figure in zip(names, figures, strict=True)},
        us_plates=sum(class_of(row) != OTHER for row, _ in plates),
        log_loss_plain=log_loss(colour, 1.0, 0.0),
        log_loss=log_loss(colour, temperature, weight),
        named=shares[0][0],
        named_grey=shares[1][0],
        precision=shares[0][1],
        precision_grey=shares[1][1],
    )


def _arrays(seen: Seen) -> tuple[NDArray[Any], ...]:
    return seen.logits, seen.classes, seen.formats, seen.names, seen.weights
