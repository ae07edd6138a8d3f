# SPDX-License-Identifier: Apache-2.0
"""`wayside bench models` and `wayside bench report`, typed as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_nets import HandNet, corner_outputs, detector_outputs, reader_outputs

from firmware import bench
from firmware.cli import main
from inference.models import Models
from inference.report import measure


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models = Models(
        detector=HandNet("detector", lambda _: detector_outputs((100, 60, 180, 90, 3.0)), scale=0.05),
        corners=HandNet("corners", lambda _: corner_outputs(), scale=0.02),
        reader=HandNet("reader", lambda _: reader_outputs("ABC12O")),
        model_bytes=1_000_000,
    )
    monkeypatch.setattr(measure, "load_models", lambda *_: models)
    picture = np.full((384, 640, 3), 90, dtype=np.uint8)
    monkeypatch.setattr(bench, "road_frames", lambda _: [picture])
    plate = {"box": [100, 60, 180, 90], "text": "ABC120", "country": "US", "quality": "clear"}
    (tmp_path / "val.jsonl").write_text(
        json.dumps({"image": "a.png", "source": "x", "plates": [plate]}) + "\n"
    )
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    return tmp_path


def test_the_table_is_printed_and_the_figures_written(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "figures.json"
    assert main(["bench", "models", "--data", str(data), "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| goal")
    assert "1.000 (1 of 1" in printed
    assert json.loads(out.read_text())["us_clear"]["exact_folded"]["value"] == 1.0


def test_a_set_without_plates_is_counted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = data / "free.jsonl"
    free.write_text('{"image": "a.png", "plates": []}\n')
    assert main(["bench", "models", "--data", str(data), "--plate-free", str(free)]) == 0
    assert "100.00 (1 in 1;" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["FR=x.jsonl", "US", "US="])
def test_an_unknown_acceptance_set_is_refused(data: Path, wrong: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "models", "--data", str(data), "--acceptance", wrong])
    assert ended.value.code == 2


def test_an_acceptance_set_is_measured_where_it_is_given(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = measure.load_models()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inference.evaluate.load_models", lambda *_: models)
        assert main(["bench", "models", "--data", str(data), "--acceptance", f"US={data / 'val.jsonl'}"]) == 0
    assert "1.000 (1 pictures; to the letter 0.000)" in capsys.readouterr().out


def test_the_report_is_written(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(bench, "RENDERED", 1)
    out, gallery = data / "docs", data / "gallery"
    assert main(["bench", "report", "--data", str(data), "--out", str(out), "--gallery", str(gallery)]) == 0
    assert str(out / "report.md") in capsys.readouterr().out
    assert "1.000 (1 of 1" in (out / "report.md").read_text()
    assert (gallery / "rendered" / "night.jsonl").is_file()
