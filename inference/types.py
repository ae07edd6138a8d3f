# SPDX-License-Identifier: Apache-2.0
"""What flows through the library. Boxes: (x, y, w, h); corners: (4, 2) TL, TR, BR, BL; px of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Corners = NDArray[np.float32]


class Reason(StrEnum):
    """Why something seen gave no read: the ledger counts by these words."""

    NOT_A_PLATE = "not a plate"  # to the corner net
    DOUBTFUL = "doubtful plate"  # to all nets together
    ODD_SHAPE = "not the shape of a plate"
    LETTERING = "lettering that is no plate"
    TOO_SMALL = "too small"
    UNREADABLE = "unreadable"
    ONE_FRAME_ONLY = "one frame only"
    BELOW_CONFIDENCE = "below confidence"
    TOO_MANY = "too many in one frame"
    SEEN_TWICE = "a plate seen twice"


@dataclass(frozen=True, slots=True)
class Detection:
    """One plate found: its box, corners and the detector's score (0..1)."""

    box: Box
    corners: Corners
    score: float
    plate_score: float = 1.0  # the corner net's word on whether it is a plate
    two_rows: float = 0.0  # ... and on whether it has two rows of characters


@dataclass(frozen=True, slots=True)
class CharRead:
    """One character, its probability, and what else it might be (most probable first)."""

    char: str
    probability: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """The reader's text with per-character probabilities; `confidence` is that the whole text is right."""

    text: str
    confidence: float
    chars: tuple[CharRead, ...]
    others: tuple[tuple[str, float], ...] = ()  # other whole texts and their probabilities


@dataclass(frozen=True, slots=True)
class Reading:
    """What one or more looks at a plate's characters gave together."""

    decoded: Decoded
    sharpness: float  # of the first crop
    looks: int = 1
    agreed: int = 1  # looks whose own best text is the one given


@dataclass(frozen=True, slots=True)
class PlateRead:
    """A plate read in one frame; `confidence` is the calibrated chance that the whole text is right."""

    text: str
    confidence: float
    chars: tuple[CharRead, ...]
    state: str | None
    state_confidence: float
    state_note: str
    corners: Corners
    box: Box
    score: float
    plate_score: float
    width_px: float
    height_px: float
    sharpness: float
    others: tuple[tuple[str, float], ...] = ()
    text_score: float = 0.0  # of the reader alone, before calibration
    accept_score: float = 1.0  # of all nets together, that it is a plate
    looks: int = 1  # crops read
    agreed: int = 1  # ... whose own best text is the one given
    two_rows: bool = False
    zoomed: bool = False  # found by a closer look at a part of the frame
    states: tuple[tuple[str, float], ...] = ()  # of issuance ("other": none of the US), most probable first


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something the detector proposed that gave no read, and why; what was not measured is None."""

    reason: Reason
    box: Box
    score: float  # of the detector
    width_px: float = 0.0
    plate_score: float | None = None  # of the corner net
    text_score: float | None = None  # of the reader
    accept_score: float | None = None  # of all together
    threshold: float | None = None  # what the last of these had to reach


@dataclass(frozen=True, slots=True)
class FrameResult:
    """All that one frame gave; `timings` are milliseconds per stage."""

    reads: list[PlateRead]
    rejected: list[Rejected]
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """One read of a track with the frame it came from."""

    sequence: int
    t_us: int
    read: PlateRead


@dataclass(frozen=True, slots=True)
class VotedRead:
    """What the frames of one vehicle pass agree on; not a read when `reason_if_unread` is set."""

    text: str
    confidence: float
    chars: tuple[CharRead, ...]
    state: str | None
    state_confidence: float
    state_note: str
    frames_seen: int
    frames_agreed: int
    best: PlateRead
    best_frame_sequence: int
    first_us: int
    last_us: int
    reason_if_unread: Reason | None = None
