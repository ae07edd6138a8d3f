# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, plate_read, reader_outputs

from inference.accept import Acceptance
from inference.confidence import Confidence
from inference.labels import Entry, held_out
from inference.models import MANIFEST, Models
from inference.pipeline import PipelineSettings
from inference.scoring import Truth
from inference.tune import (
    Seen,
    Source,
    chosen,
    collect,
    collect_closer,
    collect_texts,
    examples,
    false_rate,
    fit,
    main,
    measured,
    record,
    tune,
    tune_zoom,
    write,
)

BOX = (100.0, 100.0, 80.0, 40.0)


def picture(true_score: float, false_score: float, *, width: float = 40.0) -> Seen:
    """A plate that the detector gives one score, and a sign elsewhere that it gives another."""
    right = replace(plate_read("ABC123"), score=true_score, text_score=0.9)
    wrong = replace(plate_read("X", x=500.0), score=false_score, text_score=0.05)
    return Seen([Truth(BOX, "ABC123", width)], [right, wrong])


def pictures() -> list[Seen]:
    rng = np.random.default_rng(0)
    return [picture(rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.6)) for _ in range(60)]


def test_examples_are_labelled_by_the_truth_and_small_plates_weigh_less() -> None:
    rows, labels, weights = examples([picture(0.7, 0.3), picture(0.7, 0.3, width=20.0)])
    assert rows.shape == (4, 5)
    assert labels.tolist() == [1, 0, 1, 0]
    assert weights.tolist() == [1, 1, 0.25, 1]


def test_a_net_that_is_wrong_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 2).astype(float)
    nothing = np.zeros(400)
    columns = [labels * 2 - 1, 1 - labels * 2, nothing, labels, 1 - labels]
    rows = np.column_stack(columns) + rng.normal(0, 1.5, (400, 5))
    found = fit(rows, labels, np.ones(400))
    assert found.accept_detector > 0.3
    assert found.accept_plate == 0.0
    assert found.accept_letters == 0.0
    assert found.accept_digits < -0.1


@pytest.mark.parametrize("target", [0.0, 0.1, 0.5])
def test_the_threshold_keeps_the_false_target(target: float) -> None:
    seen = pictures()
    found = tune(seen, target)
    assert false_rate(seen, found) <= target
    assert measured(seen, found).found_30 >= 55


def test_nothing_seen_is_no_failure() -> None:
    assert tune([]).accept_score == Acceptance().accept_score


def test_the_manifest_keeps_all_else(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(
        json.dumps({"models": {"detector": {}}, "accuracy": {"exact": 1}, "thresholds": {"other": 2.0}})
    )
    write(tmp_path, Acceptance(accept_bias=0.25), Confidence(read_bias=0.5))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["accuracy"] == {"exact": 1}
    assert manifest["thresholds"]["other"] == 2.0
    assert manifest["thresholds"]["accept_bias"] == 0.25
    assert {"candidate_score", "plate_score", "accept_score", "accept_zoomed"} <= manifest[
        "thresholds"
    ].keys()
    assert PipelineSettings().tuned(manifest["thresholds"]).confidence == Confidence(read_bias=0.5)


def test_the_accuracy_goes_beside_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / MANIFEST).write_text('{"models": {}, "thresholds": {"accept_score": 0.5}}')
    monkeypatch.setattr(
        "inference.tune.run", lambda asked: {"exact": 0.9 if asked.country else 0.8, "risk_coverage": []}
    )
    record(tmp_path, Path("val.jsonl"), Path("/somewhere/data"))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["thresholds"] == {"accept_score": 0.5}
    assert manifest["accuracy"]["exact"] == 0.8
    assert manifest["accuracy"]["command"] == "wayside bench accuracy --manifest val.jsonl --root data"
    assert manifest["accuracy"]["us_clear"]["exact"] == 0.9
    assert "risk_coverage" not in str(manifest)  # a curve is for the report


def test_the_closer_look_keeps_its_own_target_and_is_never_more_lenient() -> None:
    seen = pictures()
    usual = tune(seen, 0.5)
    strict = tune_zoom(seen, usual, 0.0)
    assert strict.accept_zoomed > usual.accept_score
    assert false_rate(seen, replace(strict, accept_score=strict.accept_zoomed)) == 0.0
    assert tune_zoom(seen, usual, 9.0).accept_zoomed == usual.accept_score
    assert tune_zoom([], usual) == usual


HELD = next(text for i in range(99) if held_out(text := f"ABC{i}"))
KNOWN = next(text for i in range(99) if not held_out(text := f"ABC{i}"))


def entries(*texts: str | None) -> list[Entry]:
    box = [100, 60, 180, 90]
    return [
        Entry(f"{i}.png", [{"box": box, "text": text}] if text else [], None) for i, text in enumerate(texts)
    ]


def test_all_pictures_with_a_held_out_text_are_fitted_on_and_a_share_of_the_others() -> None:
    given = entries(KNOWN, HELD, None, KNOWN, HELD, None, KNOWN)
    assert [entry.image for entry in chosen(given, 4)] == ["1.png", "4.png", "0.png", "6.png"]


def source(tmp_path: Path, *texts: str | None, read: str = HELD) -> Source:
    for i in range(len(texts)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((384, 640, 3), 90, dtype=np.uint8))
    models = Models(
        detector=HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 0.0)), scale=0.05),
        corners=HandNet("corners", lambda _: corner_outputs(), scale=0.02),
        reader=HandNet("reader", lambda _: reader_outputs(read)),
    )
    return Source(entries(*texts), tmp_path, models)


def test_everything_is_collected_and_the_closer_look_only_where_nothing_was_accepted(tmp_path: Path) -> None:
    given = source(tmp_path, HELD, None)
    seen = collect(given)
    assert [len(one.reads) for one in seen] == [1, 1]
    assert [r.looks for one in seen for r in one.reads] == [1, 1]
    assert [len(one.reads) for one in collect_closer(given, seen, Acceptance(0, 0, 0, 0, 0.5))] == [0, 0]
    assert isinstance(given.models.detector, HandNet)
    given.models.detector.function = lambda _: detector_outputs((100, 60, 150, 80, 0.0))  # small enough
    assert [len(one.reads) for one in collect_closer(given, seen, Acceptance(0, 0, 0, 0, 0.6))] == [1, 1]


def test_confidence_is_fitted_on_held_out_texts_alone(tmp_path: Path) -> None:
    found = collect_texts(source(tmp_path, HELD, KNOWN, None), Acceptance(0, 0, 0, 0, 0.5))
    assert [(read.text, truth) for read, truth in found] == [(HELD, HELD)]


def test_the_command_fits_writes_and_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = source(tmp_path, HELD, KNOWN, None, HELD)
    (tmp_path / MANIFEST).write_text('{"models": {}, "thresholds": {"state_score": 0.5}}')
    lines = [json.dumps({"image": e.image, "plates": e.plates}) for e in given.entries]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr("inference.tune.load_models", lambda _: given.models)
    monkeypatch.setattr("inference.evaluate.load_models", lambda *_: given.models)
    places = {
        "--manifest": "m.jsonl",
        "--report": "m.jsonl",
        "--root": "",
        "--models": "",
    }
    arguments = [part for name, place in places.items() for part in (name, str(tmp_path / place))]
    arguments += ["--false-target", "1"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["pictures"], printed["pictures_held_out"]) == (3, 2)
    assert printed["texts"] == 2
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["thresholds"].keys() >= {"state_score", "accept_score", "accept_zoomed", "read_text"}
    assert manifest["accuracy"]["plates_with_text"] == 3
