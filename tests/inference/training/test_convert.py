# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.training import manifest_build
from inference.training.__main__ import main, parse
from inference.training.convert import ConversionError, calibration_rows, check_int8, describe, export_int8

SHAPE = (1, 16, 24, 1)


def test_calibration_covers_black_to_white_and_stays_inside() -> None:
    rows = list(calibration_rows([np.full((2, 16, 24, 1), 1.5, np.float32)], SHAPE))
    assert len(rows) == 3
    assert (rows[0].min(), rows[0].max()) == (0.0, 1.0)
    assert all(row.shape == SHAPE and row.max() <= 1 for row in rows)


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
def test_a_small_net_survives_int8(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the [train] extra")
    pytest.importorskip("litert_torch", reason="needs the [train] extra")
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")

    class Small(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 8, 3, 2, 1)
            self.norm = torch.nn.BatchNorm2d(8)
            self.out = torch.nn.Conv2d(8, 3, 1)

        def forward(self, x):  # type: ignore[no-untyped-def]
            y = torch.nn.functional.relu6(self.norm(self.conv(x.permute(0, 3, 1, 2))))
            return self.out(y).permute(0, 2, 3, 1)

    torch.manual_seed(0)
    net, rng = Small().eval(), np.random.default_rng(0)
    made = export_int8(net, SHAPE, [rng.random((8, *SHAPE[1:]), np.float32)], tmp_path / "small.tflite")
    assert made == describe(tmp_path / "small.tflite")
    assert [p.name for p in tmp_path.iterdir()] == ["small.tflite"]

    model = interpreter.Interpreter(model_path=str(made.path), num_threads=1)
    model.allocate_tensors()
    picture = rng.integers(0, 256, SHAPE).astype(np.uint8)
    model.set_tensor(model.get_input_details()[0]["index"], (picture.astype(np.int16) - 128).astype(np.int8))
    model.invoke()
    entry = model.get_output_details()[0]
    scale, zero = entry["quantization"]
    got = (model.get_tensor(entry["index"]).astype(np.float32) - zero) * scale
    with torch.no_grad():
        want = net(torch.from_numpy(picture).float() / 255).numpy()
    assert 10 * np.log10((want**2).mean() / ((want - got) ** 2).mean()) > 25  # dB
    with pytest.raises(ConversionError, match="input shape"):
        check_int8(made.path, (1, 8, 8, 1))


def _model(folder: Path, name: str, content: bytes = b"weights") -> manifest_build.Entry:
    (folder / f"{name}.tflite").write_bytes(content)
    return manifest_build.Entry(name, 12, ["train.jsonl"], {"seconds": 3})


def test_the_manifest_keeps_the_other_models(tmp_path: Path) -> None:
    manifest_build.add(tmp_path, _model(tmp_path, "detector"))
    manifest_build.add_thresholds(tmp_path, detector_score=0.4)
    manifest_build.add(tmp_path, _model(tmp_path, "reader"))
    manifest_build.add_accuracy(tmp_path, {"exact": 0.9}, "bench")
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert sorted(content["models"]) == ["detector", "reader"]
    assert content["models"]["detector"]["input"] == [1, 384, 640, 1]
    assert content["models"]["detector"]["sha256"] == describe(tmp_path / "detector.tflite").sha256
    assert content["thresholds"] == {"detector_score": 0.4}
    assert content["accuracy"] == {"exact": 0.9, "command": "bench"}


def test_refresh_follows_the_files(tmp_path: Path) -> None:
    manifest_build.add(tmp_path, _model(tmp_path, "detector"))
    assert manifest_build.refresh(tmp_path) == []
    (tmp_path / "detector.tflite").write_bytes(b"other weights")
    assert manifest_build.refresh(tmp_path) == ["detector"]
    assert manifest_build.load(tmp_path)["models"]["detector"]["bytes"] == 13


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"version": 9}')
    with pytest.raises(ValueError, match="version 9"):
        manifest_build.load(tmp_path)


def test_options_have_minutes_per_net(tmp_path: Path) -> None:
    command, options = parse(["reader", "--data", str(tmp_path), "--minutes-reader", "3"])
    assert (command, options.minutes_reader, options.device) == ("reader", 3.0, "cpu")


def test_missing_data_is_said_and_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prepare", "--data", str(tmp_path / "no"), "--work", str(tmp_path / "w")]
    assert main(arguments) == 2
    assert "--data" in capsys.readouterr().err
