# SPDX-License-Identifier: Apache-2.0
"""Corners that nobody annotated, found by reading: the mean of many quads, each weighed by how well the known text
reads there. The reader is the judge, so only plates whose text is known can be fitted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.corners import bounds
from inference.labels import held_out
from inference.preprocess import normalise

from .corners_model import CornerNet
from .corners_train import predict
from .detector_data import read_grey
from .reader_data import MAX_CHARACTERS, Quad, crops_of
from .reader_model import BLANK, ReaderNet, encode, greedy
from .render_pool import read_manifest, unit

TRIED = 14  # quads around a start
KEEP_EVERY = 200  # pictures
MIN_WIDTH = 28.0  # px, of a box; smaller ones teach nothing about corners
SIDES = (0.05, 0.08)  # standard deviation of a side, of the plate's width and height
CORNER = (0.02, 0.032)  # ... of each corner by itself
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Corners (4, 2) px, the text's -log probability there, and whether it is what is read there."""

    corners: Quad
    loss: float
    reads: bool


def spread(rng: np.random.Generator, quad: Quad, count: int) -> Floats:
    """(count, 4, 2): the quad itself, then others with sides and corners moved by chance."""
    across, down = (quad[1] + quad[2] - quad[0] - quad[3]) / 2, (quad[2] + quad[3] - quad[0] - quad[1]) / 2
    left, right = rng.normal(0, SIDES[0], (2, count, 1))
    top, bottom = rng.normal(0, SIDES[1], (2, count, 1))
    x = np.concatenate([-left, right, right, -left], 1) + rng.normal(0, CORNER[0], (count, 4))
    y = np.concatenate([-top, -top, bottom, bottom], 1) + rng.normal(0, CORNER[1], (count, 4))
    x[0], y[0] = 0, 0
    moved = quad + x[:, :, None] * across + y[:, :, None] * down
    return np.asarray(moved, np.float32)


def text_losses(
    net: ReaderNet, grey: NDArray[np.uint8], quads: Floats, text: str, *, two_rows: bool
) -> tuple[Floats, list[str]]:
    """-log probability (n,) of `text` in each quad (n, 4, 2) px, and what is read there."""
    views = [crop for quad in quads for crop in crops_of(grey, quad, two_rows=two_rows)]
    with torch.no_grad():
        logits = net(torch.from_numpy(unit(np.stack([normalise(v) for v in views])[:, None])))
        scores = logits.log_softmax(2)
        plates = scores.reshape(len(quads), -1, scores.shape[2]).transpose(0, 1)
        target = torch.tensor([encode(text)] * len(quads), dtype=torch.long)
        steps = torch.full((len(quads),), len(plates), dtype=torch.long)
        lengths = torch.full((len(quads),), len(text), dtype=torch.long)
        loss = torch.nn.functional.ctc_loss(plates, target, steps, lengths, BLANK, "none", zero_infinity=True)
    rows = len(views) // len(quads)
    read = [greedy(one)[0] for one in scores.numpy()]
    return loss.numpy(), ["".join(read[i : i + rows]) for i in range(0, len(read), rows)]


def fit(
    net: ReaderNet, grey: NDArray[np.uint8], start: Quad, text: str, rng: np.random.Generator, *, two_rows: bool
) -> Fitted:  # fmt: skip
    """The mean of the quads around `start`, weighed by the probability of `text`: so in the middle of what reads."""
    quads = spread(rng, start, TRIED)
    losses, _ = text_losses(net, grey, quads, text, two_rows=two_rows)
    weights = np.exp(losses.min() - losses)
    quad = np.asarray((quads * weights[:, None, None]).sum(0) / weights.sum(), np.float32)
    loss, read = text_losses(net, grey, quad[None], text, two_rows=two_rows)
    return Fitted(quad, float(loss[0]), read[0] == text)


def fit_streets(
    data: Path, corner_net: CornerNet, reader_net: ReaderNet, rows: Path, out: Path, seed: int
) -> None:
    """Writes `out` (.json): "image#index" of train.jsonl to corners (4, 2) in units of the box (0..1 spans it).

    Plates without a full text, held-out texts and plates whose text is not read at the fitted corners are left out.
    `rows` (.json) as reader_corners.survey_streets writes it; where it says nothing, the corner net does.
    """
    known: dict[str, bool] = json.loads(rows.read_text(encoding="utf-8")) if rows.exists() else {}
    rng = np.random.default_rng(seed)
    found: dict[str, list[list[float]]] = {}
    pictures = read_manifest(data / "train.jsonl")
    for done, k in enumerate(rng.permutation(len(pictures)), 1):
        row = pictures[int(k)]
        wanted = [(f"{row['image']}#{i}", plate) for i, plate in enumerate(row["plates"]) if teaches(plate)]
        grey = read_grey(data / row["image"]) if wanted else np.zeros((0, 0), np.uint8)
        for name, plate in wanted:
            quad = fit_plate(corner_net, reader_net, grey, plate, rng, two_rows=known.get(name))
            if quad is not None:
                found[name] = quad
        if done % KEEP_EVERY == 0:
            keep(found, out)
    keep(found, out)


def fit_plate(
    corner_net: CornerNet, reader_net: ReaderNet, grey: NDArray[np.uint8], plate: dict[str, Any],
    rng: np.random.Generator, *, two_rows: bool | None,
) -> list[list[float]] | None:  # fmt: skip
    """Fitted corners in units of the labelled box, from the corner net's first look or else its second; None when
    the text is read from neither.
    """
    x0, y0, x1, y1 = plate["box"]
    start, _, flag = predict(corner_net, grey, (x0, y0, x1 - x0, y1 - y0))
    two_rows = flag > 0.5 if two_rows is None else two_rows
    fitted = fit(reader_net, grey, start, plate["text"], rng, two_rows=two_rows)
    if not fitted.reads:
        start, _, _ = predict(corner_net, grey, bounds(start))
        fitted = fit(reader_net, grey, start, plate["text"], rng, two_rows=two_rows)
    if not fitted.reads:
        return None
    units: list[list[float]] = ((fitted.corners - [x0, y0]) / [x1 - x0, y1 - y0]).round(4).tolist()
    return units


def keep(found: dict[str, list[list[float]]], out: Path) -> None:
    """Writes `out` in one step."""
    part = out.with_suffix(".part")
    part.write_text(json.dumps(found), encoding="utf-8")
    part.replace(out)


def teaches(plate: dict[str, Any]) -> bool:
    """Whether the plate's text is known in full, not held out, and the plate wide enough."""
    text = str(plate.get("text") or "")
    legible = bool(text) and "?" not in text and len(text) <= MAX_CHARACTERS
    wide = plate["box"][2] - plate["box"][0] >= MIN_WIDTH
    return legible and plate.get("quality") in ("clear", "hard") and wide and not held_out(text)
