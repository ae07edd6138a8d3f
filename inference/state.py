# SPDX-License-Identifier: Apache-2.0
"""State of issuance from the plate's look: a colour crop in, a US postal code out, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.decode import softmax
from inference.plates import NOT_READ
from inference.preprocess import MAX_SHRINK, Floats, normalise, quad_size
from inference.runtime import Net, by_shape
from inference.state_formats import format_scores

STATES: Final = (
    "AK", "AL", "AR", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "GA", "HI", "IA", "ID", "IL", "IN", "KS",
    "KY", "LA", "MA", "MD", "ME", "MI", "MN", "MO", "MS", "MT", "NC", "ND", "NE", "NH", "NJ", "NM", "NV",
    "NY", "OH", "OK", "OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VA", "VT", "WA", "WI", "WV", "WY",
)  # fmt: skip
OTHER: Final = len(STATES)  # the class of plates that no US state issued
CLASSES: Final = OTHER + 1
STATE_SIZE: Final = (144, 72)  # width, height in px of what the net sees
STATE_MARGIN: Final = (0.03, 0.05)  # of the plate's width (left, right) and height (top, bottom)
ELSEWHERE: Final = "other"  # its name among the probabilities
TOO_SMALL: Final = "too small"
GREY: Final = "grey picture"
NOT_US: Final = "not a US plate"
COLOURLESS: Final = 3.0  # grey levels between the channels, on average; pictures with less are grey
MAX_LIKELY: Final = 5  # states told with a read
SURE: Final = 0.98  # of any class, US or not: from here on names are not looked for
PREFIX: Final = "state_"  # of the thresholds in the manifest
Colour = NDArray[np.uint8]  # (H, W, 3) BGR
Names = Callable[[], Floats]  # looks for the states' names on the plate: scores (51,)
Likely = tuple[tuple[str, float], ...]  # postal codes (or ELSEWHERE) with probabilities, most probable first


@dataclass(frozen=True, slots=True)
class StateSettings:
    """When a state is named; the manifest's thresholds `state_*` stand in for these defaults."""

    confidence: float = 0.8  # below it no state is named
    grey_confidence: float = 0.9  # ... of a picture without colours
    temperature: float = 1.0  # of the net's logits
    format_weight: float = 0.5  # of the serial's format
    name_weight: float = 0.7  # of the names that are read on the plate
    min_width_px: float = 40.0  # narrower plates are not tried

    def tuned(self, thresholds: Mapping[str, float]) -> StateSettings:
        """These settings with the manifest's figures `state_*`."""
        named = {f"{PREFIX}{f.name}": f.name for f in fields(self)}
        return replace(self, **{named[k]: float(v) for k, v in thresholds.items() if k in named})


@dataclass(frozen=True, slots=True)
class StateRead:
    """The state, or None and a note saying why; `likely` is empty where the net was not asked."""

    state: str | None
    confidence: float
    note: str
    likely: Likely = ()


UNREAD: Final = StateRead(None, 0.0, NOT_READ)


def read_state(
    net: Net,
    pixels: NDArray[np.uint8],
    corners: ArrayLike,
    text: str,
    settings: StateSettings,
    names: Names | None = None,
) -> StateRead:
    """The state of the plate at `corners` (4, 2) px of a BGR or grey picture, which reads `text`.

    Where the net is not sure by itself, `names` (see state_names) has a say.
    """
    if quad_size(corners)[0] < settings.min_width_px:
        return StateRead(None, 0.0, TOO_SMALL)
    crop = state_crop(pixels, corners)
    scores = hinted(by_shape(net.run(normalise(crop)), (1, CLASSES), net.name).values[0], text, settings)
    found = softmax(scores[None])[0]
    if names is not None and found.max() < SURE:
        found = softmax((scores + among_all(names()) * np.float32(settings.name_weight))[None])[0]
    likely = tuple((_name(int(i)), float(found[i])) for i in np.argsort(-found)[:MAX_LIKELY])
    return judge(likely, settings, grey=colourless(crop))


def hinted(logits: Floats, text: str, settings: StateSettings) -> Floats:
    """Logits (52,) of the net together with what the serial's format hints at: logits (52,)."""
    formats = among_all(format_scores(text)) * np.float32(settings.format_weight)
    return np.asarray(logits / np.float32(settings.temperature) + formats, dtype=np.float32)


def among_all(scores: Floats) -> Floats:
    """Scores (51,) of the states -> (52,); plates from elsewhere have none."""
    return np.append(scores, np.float32(0))


def judge(likely: Likely, settings: StateSettings, *, grey: bool) -> StateRead:
    """Names the first state if it is probable enough, else says what speaks against it."""
    name, probability = likely[0]
    if name == ELSEWHERE:
        return StateRead(None, 0.0, NOT_US, likely)
    if probability >= (settings.grey_confidence if grey else settings.confidence):
        return StateRead(name, probability, "", likely)
    return StateRead(None, 0.0, GREY if grey else uncertain(likely), likely)


def uncertain(likely: Likely) -> str:
    """The note naming the two most probable states."""
    first, *others = [name for name, _ in likely if name != ELSEWHERE]
    return f"uncertain: {first} or {others[0]}" if others else f"uncertain: {first}"


def combine(reads: Sequence[tuple[StateRead, float]]) -> StateRead:
    """The states of a vehicle's frames with their weights -> one: the most probable on average.

    Frames of one pass see the same plate and err alike, so probabilities are averaged, not multiplied. The state
    is named when the frames that named it outweigh all others that were asked.
    """
    told = [(read, weight) for read, weight in reads if read.likely]
    if not told:
        return reads[0][0] if reads else UNREAD
    total = sum(weight for _, weight in told)
    shares: dict[str, float] = {}
    for read, weight in told:
        for name, probability in read.likely:
            shares[name] = shares.get(name, 0.0) + probability * weight / total
    likely = tuple(sorted(shares.items(), key=lambda item: -item[1])[:MAX_LIKELY])
    name, probability = likely[0]
    if sum(weight for read, weight in told if read.state == name) * 2 > total:
        return StateRead(name, probability, "", likely)
    if name == ELSEWHERE:
        return StateRead(None, 0.0, NOT_US, likely)
    grey = all(read.note == GREY for read, _ in told)
    return StateRead(None, 0.0, GREY if grey else uncertain(likely), likely)


def colourless(crop: Colour) -> bool:
    """Whether a crop (H, W, 3) is a grey picture: by night and in infrared no colours are left."""
    return float(np.ptp(crop, axis=2).mean()) < COLOURLESS


def _name(number: int) -> str:
    return ELSEWHERE if number == OTHER else STATES[number]


def state_crop(pixels: NDArray[np.uint8], corners: ArrayLike) -> Colour:
    """(H, W, 3) BGR or grey picture and corners (4, 2) px -> (72, 144, 3) upright plate with a thin margin."""
    part, quad = _near(pixels, np.asarray(corners, dtype=np.float32).reshape(4, 2))
    matrix = cv2.getPerspectiveTransform(quad - np.float32(0.5), plate_quad() - np.float32(0.5))
    out = cv2.warpPerspective(
        part, matrix, STATE_SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return in_colour(np.asarray(out, dtype=np.uint8))


def plate_quad(size: tuple[int, int] = STATE_SIZE) -> Floats:
    """Corners (4, 2) px of the plate within a crop of `size` (width, height)."""
    width, height = size
    mx = width * STATE_MARGIN[0] / (1 + 2 * STATE_MARGIN[0])
    my = height * STATE_MARGIN[1] / (1 + 2 * STATE_MARGIN[1])
    return np.array([[mx, my], [width - mx, my], [width - mx, height - my], [mx, height - my]], np.float32)


def in_colour(picture: NDArray[np.uint8]) -> Colour:
    """(H, W), (H, W, 1) or (H, W, 3) -> (H, W, 3); grey pictures become three equal channels."""
    if picture.ndim == 2:
        picture = picture[:, :, None]
    return picture if picture.shape[2] == 3 else np.repeat(picture, 3, axis=2)


def _near(pixels: NDArray[np.uint8], quad: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """The part of the picture around the quad, shrunk by area where the crop would skip pixels; the quad in it."""
    height, width = pixels.shape[:2]
    low, high = quad.min(axis=0), quad.max(axis=0)
    grow = (high - low) * 0.15 + 4.0
    x0, y0 = (int(v) for v in np.clip(np.floor(low - grow), 0, (width - 2, height - 2)))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high + grow), (x0 + 2, y0 + 2), (width, height)))
    part, moved = pixels[y0:y1, x0:x1], quad - np.array([x0, y0], np.float32)
    wide, tall = quad_size(quad)
    fx, fy = (max(1.0, side / of / MAX_SHRINK) for side, of in zip((wide, tall), STATE_SIZE, strict=True))
    if max(fx, fy) == 1.0:
        return part, moved
    size = (max(2, round((x1 - x0) / fx)), max(2, round((y1 - y0) / fy)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    scale = np.array([size[0] / (x1 - x0), size[1] / (y1 - y0)], np.float32)
    return np.asarray(small, dtype=np.uint8), moved * scale
