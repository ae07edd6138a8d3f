# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from hand_nets import plate_read

from inference.training.vote_fit import (
    FRAMES,
    MadePass,
    cross_validated,
    error_of,
    features,
    fit,
    frames,
    report,
    right,
)
from inference.vote import Agreement, confidence_of


def still() -> tuple[np.ndarray, tuple[float, float, float, float]]:
    picture = np.full((120, 260, 3), 60, np.uint8)
    cv2.rectangle(picture, (40, 30), (220, 90), (240, 240, 240), -1)
    return picture, (40.0, 30.0, 180.0, 60.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_box_goes_with_the_plate(seed: int) -> None:
    made = list(frames(*still(), np.random.default_rng(seed)))
    assert FRAMES[0] <= len(made) <= FRAMES[1]
    for pixels, (x, y, w, h) in made:
        middle = pixels[int(y + h / 2), int(x + w / 2)].mean()
        assert middle > 140
        edge = max(2.0, 0.1 * w)
        assert pixels[int(y + h / 2), max(0, int(x - edge))].mean() < 140
    widths = [w for _, (_, _, w, _) in made]
    assert 1.2 < max(widths) / min(widths) < 2.6


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again = (list(frames(*still(), np.random.default_rng(3))) for _ in range(2))
    assert all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(first, again, strict=True))


def test_the_fit_finds_the_weights_that_made_the_labels() -> None:
    rng = np.random.default_rng(1)
    true = Agreement(0.9, 0.4, -0.6)
    rows = np.column_stack([rng.normal(1.0, 1.5, 4000), rng.normal(0.5, 2.0, 4000)])
    chance = np.array([confidence_of(row, true) for row in rows])
    labels = (rng.random(4000) < chance).astype(float)
    found = fit(rows, labels)
    assert (found.lead, found.word, found.bias) == pytest.approx((0.9, 0.4, -0.6), abs=0.12)
    found_error = error_of(cross_validated(rows, labels), labels)
    assert found_error is not None
    assert found_error < 0.03


def test_what_counts_against_agreement_gets_no_weight() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(0, 1, (500, 2))
    labels = (rows[:, 0] - rows[:, 1] > 0).astype(float)
    assert fit(rows, labels).word == 0.0


def test_the_report_sets_single_frames_beside_the_vote() -> None:
    wrong = ["8BC123", "A8C123", "ABC723", "ABC128"]
    passes = [
        MadePass("ABC123", [plate_read("ABC123"), plate_read(wrong[n % 4]), plate_read("ABC123", p=0.9)])
        for n in range(8)
    ]
    passes += [MadePass("XYZ9", [plate_read("XYZ8", p=0.8), plate_read("XY29", p=0.7)]) for _ in range(4)]
    figures = report(passes)
    assert figures["sequences"] == 12
    assert figures["exact_vote"] == pytest.approx(8 / 12, abs=1e-3)
    assert figures["exact_single_frame"] == pytest.approx(8 / 12 * 2 / 3, abs=1e-3)
    assert features([p.track() for p in passes]).shape == (12, 2)
    assert right(passes[0], "A8C123") is False
    assert right(MadePass("AB0", []), "ABO")
