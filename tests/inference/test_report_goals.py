# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, reader_outputs

from inference.models import Models
from inference.report import gallery, measure, reads, speed
from inference.report.goals import Goal, goals, table
from inference.report.records import Seen, Shot, TruePlate
from inference.report.speed import Peer, time_peer

BOX = [100, 60, 180, 90]
BLANK = np.full((384, 640, 3), 90, dtype=np.uint8)


@pytest.fixture
def models() -> Models:
    return Models(
        detector=HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 3.0)), scale=0.05),
        corners=HandNet("corners", lambda _: corner_outputs(), scale=0.02),
        reader=HandNet("reader", lambda _: reader_outputs("ABC12O")),
        model_bytes=2_000_000,
        digests={"reader": "0" * 64},
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = [
        {"source": "one", "plates": [{"box": BOX, "text": "ABC120", "country": "US", "quality": "clear"}]},
        {"source": "two", "plates": [{"box": BOX, "text": "XYZ", "country": "DE", "quality": "hard"}]},
        {"source": "two", "plates": []},
    ]
    named = [{"image": f"{i}.png", **line} for i, line in enumerate(lines)]
    (tmp_path / "val.jsonl").write_text("\n".join(json.dumps(line) for line in named))
    for i in range(len(lines)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), BLANK)
    return tmp_path


@pytest.fixture
def measured(data: Path, models: Models, monkeypatch: pytest.MonkeyPatch) -> measure.Measured:
    monkeypatch.setattr(measure, "load_models", lambda *_: models)
    asked = measure.Asked(data, plate_free=data / "val.jsonl", frames=[BLANK, BLANK], candidates=True)
    return measure.measure(asked)


def test_mended_labels_have_a_row_of_their_own(
    data: Path, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "load_models", lambda *_: models)
    rows = {}
    for errors in ({}, {("1.png", "XYZ"): "ABC120"}):
        monkeypatch.setattr(measure, "label_errors", lambda errors=errors: errors)
        got = measure.measure(measure.Asked(data)).figures
        rows[len(errors)] = [g for g in goals(got) if "label error" in g.what]
        assert got["all_texts"]["exact_folded"]["value"] == 0.5
    assert rows[0] == []
    (row,) = rows[1]
    assert (row.what, row.measured) == ("the same with 1 label error mended", "1.000")


def test_everything_is_measured(measured: measure.Measured) -> None:
    got = measured.figures
    assert (got["us_clear"]["exact_folded"]["value"], got["us_clear"]["exact"]["value"]) == (1.0, 0.0)
    assert (got["all_texts"]["exact_folded"]["value"], got["all_texts"]["exact_folded"]["of"]) == (0.5, 2)
    assert (got["detection"]["recall_30"]["of"], got["detection"]["false"]) == (2, 1)
    assert (got["ghosts"]["ghosts"], got["ghosts"]["per_100"]) == (3, 100.0)
    assert got["time"]["frames"] == 2
    assert got["time"]["cpu_ms_p50"] > 0
    assert {"detect", "corners", "read", "total"} <= got["time"]["stages_ms"].keys()
    assert [shot.source for shot in measured.shots] == ["one", "two", "two"]
    assert all(shot.candidates for shot in measured.shots)
    assert json.loads(json.dumps(got)) == got


def test_the_table_has_every_goal_and_says_what_is_missing(measured: measure.Measured) -> None:
    rows = goals(measured.figures)
    written = table(rows)
    assert written.count("\n") == len(rows) + 2
    for what in (
        "acceptance US",
        "clear US plates",
        "two rows",
        "state",
        "calibration",
        "99 % precision",
        "1280x720",
        "models together",
        "ghosts",
    ):
        assert any(what in row.what for row in rows)
    assert written.count("not measured here") == 5
    assert (
        len(
            {
                line.index("| measured") if "| measured" in line else len(line)
                for line in written.splitlines()[2:]
            }
        )
        == 1
    )


def test_the_verdicts(measured: measure.Measured) -> None:
    verdicts = {row.what: row.verdict for row in goals(measured.figures)}
    assert verdicts["models together"] == "must"
    assert verdicts["ghosts in 100 plate-free pictures"] == "short"
    assert verdicts["exact, val, clear US plates ≥ 60 px, O≡0"] == "aim"
    assert verdicts["exact, acceptance US, O≡0"] == ""


@pytest.mark.parametrize(
    ("value", "up", "verdict"),
    [(0.9, True, "aim"), (0.8, True, "must"), (0.7, True, "short"), (0.9, False, "short"), (None, True, "")],
)
def test_a_goal_is_met_or_not(value: float | None, up: bool, verdict: str) -> None:
    aim = 0.9 if up else 0.1
    assert Goal("x", 0.8, aim, value, "", up=up).verdict == verdict
    assert Goal("x", None, None, value, "").verdict == ""


def test_acceptance_is_told_where_it_is_given(measured: measure.Measured) -> None:
    got: dict[str, Any] = {
        "exact": 0.9, "exact_folded": 0.95, "images": 222, "detection_recall_30": 0.99, "detection_recall_50": 0.9,
        "false_plates_per_image": 0.02,
    }  # fmt: skip
    rows = {row.what: row for row in goals({**measured.figures, "acceptance": {"US": got}})}
    assert rows["exact, acceptance US, O≡0"].verdict == "must"
    assert rows["recall at IoU 0.3, acceptance US"].verdict == "must"
    assert rows["false plates an image, acceptance US"].verdict == "aim"
    assert "recall at IoU 0.3, acceptance" not in rows


def test_the_peer_is_measured_against_where_it_ran(measured: measure.Measured) -> None:
    slow = {**measured.figures, "peer": {"ms": 1e6, "note": ""}}
    row = next(row for row in goals(slow) if "1280x720" in row.what)
    assert (row.verdict, "in this run" in row.measured) == ("aim", True)


def test_a_peer_that_is_not_there_is_told() -> None:
    assert time_peer([BLANK]).ms is None
    assert "not installed" in time_peer([BLANK]).note
    assert time_peer([BLANK], "/nowhere/python") == Peer(None, "not measured: FileNotFoundError")


def _peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peer", speed.PEER_SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FastAlpr:
    """What of fast-alpr 0.4.0 is called."""

    def __init__(
        self,
        *,
        detector_providers: object,
        detector_sess_options: object,
        ocr_device: str,
        ocr_sess_options: object,
    ) -> None:
        self.one_thread = detector_sess_options is ocr_sess_options

    def predict(self, frame: np.ndarray) -> list[SimpleNamespace]:
        assert frame.shape == (384, 640, 3)
        return [SimpleNamespace(ocr=SimpleNamespace(text="ABC")), SimpleNamespace(ocr=None)]


def test_the_peers_script_times_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), BLANK)
    monkeypatch.setitem(sys.modules, "fast_alpr", SimpleNamespace(ALPR=FastAlpr))
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(SessionOptions=SimpleNamespace))
    module = _peer()
    monkeypatch.setattr(module.metadata, "version", lambda _: "0.4.0")
    told = module.measure(tmp_path)
    assert (told["frames"], told["read"], told["version"]) == (1, 1, "0.4.0")
    assert told["ms_p50"] >= 0


def test_reads_of_a_folder_come_as_lines(data: Path, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "load_models", lambda *_: models)
    lines = list(reads.reads_of(data))
    assert [line["image"] for line in lines] == ["0.png", "1.png", "2.png"]
    assert lines[0]["plates"][0]["text"] == "ABC12O"
    assert len(lines[0]["plates"][0]["corners"]) == 4


def test_the_gallery_shows_failures_in_its_own_folder(data: Path, measured: measure.Measured) -> None:
    written = gallery.write(data / "gallery", data, measured.shots)
    assert {path.name for path in written} == {"wrong.png", "nothing.png"}
    assert cv2.imread(str(written[0])).shape == (gallery.TILE[1], gallery.TILE[0] * gallery.COLUMNS, 3)


def test_a_box_at_the_edge_of_its_picture_is_shown(data: Path) -> None:
    shot = Shot("0.png", "s", (TruePlate((600.0, 370.0, 60.0, 30.0), "EDGE"),), (), ())
    seen = Shot("1.png", "s", (), (Seen("X", 0.5, (-5.0, -5.0, 30.0, 12.0)),))
    assert len(gallery.write(data / "gallery", data, [shot, seen])) == 2
