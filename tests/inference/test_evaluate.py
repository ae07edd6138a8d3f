# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, reader_outputs

from inference import bench, evaluate
from inference.evaluate import AccuracyArgs, run
from inference.models import Models
from inference.pipeline import Pipeline

ISSUED = {
    "images",
    "plates",
    "exact",
    "exact_folded",
    "detection_recall_50",
    "detection_recall_30",
    "detection_recall_30_at24",
    "detection_recall_50_at24",
    "min_width_at_input_px",
    "false_plates_per_image",
    "character_error_rate",
    "ece",
    "ece_bins",
    "coverage_at_99",
    "coverage_at_95",
    "label_errors_mended",
    "risk_coverage",
    "ms_p50",
    "ms_p95",
    "cpu_ms_p50",
    "model_bytes",
    "peak_rss_mb",
}
BOX = [100, 60, 180, 90]


@pytest.fixture(autouse=True)
def _hand_made(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(
        detector=HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 3.0)), scale=0.05),
        corners=HandNet("corners", lambda _: corner_outputs(), scale=0.02),
        reader=HandNet("reader", lambda _: reader_outputs("ABC12O")),
        model_bytes=123,
    )
    monkeypatch.setattr(evaluate, "load_models", lambda *_: models)
    monkeypatch.setattr(bench, "load_models", lambda *_: models)


@pytest.fixture
def asked(tmp_path: Path) -> AccuracyArgs:
    lines = [
        {"plates": [{"box": BOX, "text": "ABC120", "country": "US", "quality": "clear"}]},
        {"plates": [{"box": BOX, "text": "XYZ", "country": "DE", "quality": "hard"}]},
        {"plates": []},
        {"plates": [{"box": [300, 300, 310, 305]}]},
    ]
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("\n".join(json.dumps({"image": f"{i}.png", **line}) for i, line in enumerate(lines)))
    for i in range(len(lines)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((384, 640, 3), 90, dtype=np.uint8))
    return AccuracyArgs(manifest, tmp_path, json_out=tmp_path / "out.json", reads=tmp_path / "reads.ndjson")


def with_filter(asked: AccuracyArgs, **changed: object) -> AccuracyArgs:
    fields = {name: getattr(asked, name) for name in asked.__slots__}
    return AccuracyArgs(**{**fields, **changed})


def test_the_figures(asked: AccuracyArgs) -> None:
    figures = run(asked)
    assert figures.keys() >= ISSUED
    assert (figures["images"], figures["plates"], figures["plates_with_text"]) == (4, 3, 2)
    assert (figures["exact"], figures["exact_folded"]) == (0.0, 0.5)
    assert figures["detection_recall_30"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["detection_recall_30_at24"] == 1.0
    assert figures["false_plates_per_image"] == 0.5
    assert figures["character_error_rate"] == pytest.approx((1 + 6) / 9, abs=1e-4)
    assert figures["model_bytes"] == 123
    assert figures["ece"] == pytest.approx(0.5, abs=0.02)  # both surely read, one of them right
    assert (figures["coverage_at_99"], figures["coverage_at_95"]) == (0.0, 0.0)
    assert figures["risk_coverage"] == [[pytest.approx(0.992, abs=5e-3), 1.0, 0.5]]
    assert figures["ms_p95"] >= figures["ms_p50"] > 0
    assert json.loads((asked.json_out or Path()).read_text()) == figures


def test_known_label_errors_are_mended_in_figures_of_their_own(
    asked: AccuracyArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "label_errors", lambda: {("1.png", "XYZ"): "ABC120"})
    figures = run(asked)
    assert figures["exact_folded"] == 0.5
    mended = figures["label_errors_mended"]
    assert (mended["labels"], mended["exact_folded"], mended["coverage_at_99"]) == (1, 1.0, 1.0)
    assert mended["ece"] < 0.02 < figures["ece"]
    assert run(with_filter(asked, country="US"))["label_errors_mended"]["labels"] == 0


def test_the_reads_file_has_a_line_per_picture(asked: AccuracyArgs) -> None:
    run(asked)
    lines = [json.loads(line) for line in (asked.reads or Path()).read_text().splitlines()]
    assert [line["image"] for line in lines] == ["0.png", "1.png", "2.png", "3.png"]
    plate = lines[0]["plates"][0]
    assert plate["text"] == "ABC12O"
    assert plate["box"] == pytest.approx([100, 60, 80, 30], abs=6)
    assert len(plate["corners"]) == 4
    assert plate["state"] is None
    assert {"ms", "cpu_ms"} <= lines[0].keys()
    assert plate["width_px"] == pytest.approx(80, abs=6)
    assert plate["confidence"] == pytest.approx(plate["text_score"], abs=1e-3)
    assert (plate["looks"], plate["agreed"], plate["zoomed"]) == (3, 3, False)
    assert plate["sharpness"] >= 0
    assert [char for char, _, _ in plate["chars"]] == list("ABC12O")


def test_what_was_rejected_is_told_with_its_numbers(
    asked: AccuracyArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = evaluate.load_models(None, 1)
    doubting = replace(models, thresholds={"accept_score": 1.0, "accept_zoomed": 1.0})
    monkeypatch.setattr(evaluate, "load_models", lambda *_: doubting)
    run(asked)
    (line, *_) = [json.loads(line) for line in (asked.reads or Path()).read_text().splitlines()]
    assert line["plates"] == []
    assert {one["reason"] for one in line["rejected"]} == {"doubtful plate"}
    first = line["rejected"][0]
    assert first["accept_score"] < first["threshold"] == 1.0
    assert {"score", "plate_score", "text_score", "width_px", "box"} <= first.keys()


def test_stills_are_looked_at_closer_where_nothing_was_accepted(asked: AccuracyArgs) -> None:
    half_seen = HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, -1.2)), scale=0.05)
    models = replace(evaluate.load_models(None, 1), detector=half_seen)
    for looks in (0, 4):
        half_seen.calls = 0
        settings = evaluate.for_stills(models, looks)
        Pipeline(models, settings).process(np.zeros((384, 640), dtype=np.uint8))
        assert half_seen.calls == (2 if looks else 1)


@pytest.mark.parametrize(
    ("changed", "plates", "false"),
    [
        ({"country": "US"}, 1, 0.5),
        ({"quality": "hard"}, 1, 0.5),
        ({"min_width": 60}, 2, 0.5),
        ({"min_width": 90}, 0, 0.5),
        ({"limit": 2}, 2, 0.0),
    ],
)
def test_filters_choose_what_counts(
    asked: AccuracyArgs, changed: dict[str, object], plates: int, false: float
) -> None:
    figures = run(with_filter(asked, **changed))
    assert (figures["plates"], figures["false_plates_per_image"]) == (plates, false)


def test_a_manifest_without_truth_gives_what_can_be_measured(asked: AccuracyArgs) -> None:
    asked.manifest.write_text('{"image": "0.png"}\n')
    figures = run(asked)
    assert figures["images"] == 1
    assert figures["exact"] is figures["detection_recall_30"] is figures["false_plates_per_image"] is None
    assert figures["ms_p50"] > 0


def test_a_manifest_without_boxes_still_measures_texts(asked: AccuracyArgs) -> None:
    asked.manifest.write_text('{"image": "0.png", "plates": [{"text": "ABC120"}]}\n')
    figures = run(asked)
    assert (figures["exact"], figures["exact_folded"]) == (0.0, 1.0)
    assert figures["detection_recall_30"] is None


def test_progress_is_told(asked: AccuracyArgs) -> None:
    told: list[tuple[int, int]] = []
    run(asked, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_module_prints_json(asked: AccuracyArgs, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--manifest", str(asked.manifest), "--root", str(asked.root), "--limit", "1"]
    assert evaluate.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1


def test_bench_gives_p50_and_p95_per_stage() -> None:
    figures = bench.bench_pipeline(frames=3)
    assert figures["frames"] == 3
    assert {"grey", "detect", "corners", "read", "total"} <= figures["stages_ms"].keys()
    total = figures["stages_ms"]["total"]
    assert total["p95"] >= total["p50"] > 0
    assert bench.bench_pipeline(seconds=0.05)["frames"] >= 1
