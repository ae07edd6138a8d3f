# SPDX-License-Identifier: Apache-2.0
"""What nobody annotated on the real plates: the corner net's corners, and whether the text stands in two rows.

Rows are decided by reading: the known text is scored on the plate as one row and as two.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inference.preprocess import normalise

from .corners_model import CornerNet
from .corners_train import predict
from .detector_data import read_grey
from .reader_cells import align
from .reader_data import MAX_CHARACTERS, Quad, crops_of, rows_known
from .reader_model import ReaderNet, ctc_loss
from .render_pool import read_manifest, unit

_SURE = 0.5  # loss a character: above it, nobody knows where the characters are
_DOUBT = 0.15  # of the loss a character: closer than this, the smaller aspect decides nothing


def rows_by_reading(net: ReaderNet, grey: NDArray[np.uint8], corners: Quad, text: str) -> bool | None:
    """Whether `text` is likelier in two rows than in one; None where the two are close."""
    views = crops_of(grey, corners, two_rows=False) + crops_of(grey, corners, two_rows=True)
    pictures = unit(np.stack([normalise(v) for v in views])[:, None])
    with torch.no_grad():
        logits = net(torch.from_numpy(pictures))
        one, two = float(ctc_loss(logits[:1], [text])), float(ctc_loss(logits[1:], [text], [2]))
    return None if abs(one - two) < _DOUBT else two < one


def times_by_reading(
    net: ReaderNet, grey: NDArray[np.uint8], corners: Quad, text: str
) -> NDArray[np.float32]:
    """Where along the crop of a one-row plate its characters are, (MAX_CHARACTERS,) 0..1; NaN for an unlikely text."""
    times = np.full(MAX_CHARACTERS, np.nan, np.float32)
    (view,) = crops_of(grey, corners, two_rows=False)
    with torch.no_grad():
        logits = net(torch.from_numpy(unit(normalise(view)[None, None])))
        if float(ctc_loss(logits, [text])) < _SURE:
            times[: len(text)] = align(logits[0].numpy(), text)
    return times


def survey_crops(data: Path, corner_net: CornerNet, reader_net: ReaderNet, out: Path) -> None:
    """Writes `out` (.npz) with a row for every training crop.

    corners (n, 4, 2) px; two_rows (n,), -1 unknown, 0, 1; times (n, MAX_CHARACTERS) as `times_by_reading` gives them.
    """
    quads: list[Quad] = []
    rows: list[int] = []
    times: list[NDArray[np.float32]] = []
    for row in read_manifest(data / "crops_train.jsonl"):
        grey = read_grey(data / row["image"])
        x0, y0, x1, y1 = row["box"]
        quad, _, _ = predict(corner_net, grey, (x0, y0, x1 - x0, y1 - y0))
        quads.append(quad)
        known = rows_known(str(row.get("country") or ""), (x1 - x0) / (y1 - y0))
        text = str(row.get("text") or "")
        legible = bool(text) and "?" not in text and len(text) <= MAX_CHARACTERS
        if known is None and legible:
            known = rows_by_reading(reader_net, grey, quad, text)
        one_row = legible and known is False
        times.append(
            times_by_reading(reader_net, grey, quad, text) if one_row else np.full(MAX_CHARACTERS, np.nan)
        )
        rows.append(-1 if known is None else int(known))
    part = out.with_suffix(".part.npz")
    np.savez(part, corners=np.stack(quads), two_rows=np.array(rows), times=np.stack(times))
    part.replace(out)


def survey_streets(data: Path, corner_net: CornerNet, reader_net: ReaderNet, out: Path) -> None:
    """Writes `out` (.json): for plates of train.jsonl, "image#index" to two rows or not, where that is known."""
    found: dict[str, bool] = {}
    for row in read_manifest(data / "train.jsonl"):
        grey = None
        for i, plate in enumerate(row["plates"]):
            x0, y0, x1, y1 = plate["box"]
            known = rows_known(str(plate.get("country") or ""), (x1 - x0) / (y1 - y0))
            text = str(plate.get("text") or "")
            if known is None and text and "?" not in text and len(text) < 12 and x1 - x0 > 30:
                grey = read_grey(data / row["image"]) if grey is None else grey
                quad, _, _ = predict(corner_net, grey, (x0, y0, x1 - x0, y1 - y0))
                known = rows_by_reading(reader_net, grey, quad, text)
            if known is not None and text:
                found[f"{row['image']}#{i}"] = known
    out.write_text(json.dumps(found))
