# SPDX-License-Identifier: Apache-2.0
"""The parts of the detector's training that need torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytestmark = pytest.mark.train

from inference.training import detector_train  # noqa: E402
from inference.training.detector_augment import Sample  # noqa: E402
from inference.training.detector_data import as_boxes  # noqa: E402
from inference.training.detector_loss import (  # noqa: E402
    Targets,
    assign,
    decode,
    detector_loss,
    flatten,
    giou,
    iou,
    make_grid,
)
from inference.training.detector_net import Detector, DeviceDetector, parameters  # noqa: E402

SIZE = (128, 64)


def _targets(boxes: list[list[float]], ignore: list[list[float]] | None = None) -> Targets:
    plates = torch.tensor([boxes], dtype=torch.float32).reshape(1, -1, 4)
    valid = torch.ones(plates.shape[:2], dtype=torch.bool)
    return Targets(plates, valid, torch.tensor([ignore or []], dtype=torch.float32).reshape(1, -1, 4))


def test_the_network_is_small_and_has_a_map_per_stride() -> None:
    net = Detector().eval()
    assert 800_000 < parameters(net) < 900_000
    shapes = [tuple(c.shape[2:]) for c, _ in net(torch.zeros(1, 1, 64, 128))]
    assert shapes == [(8, 16), (4, 8), (2, 4)]


def test_the_device_form_gives_the_same_numbers_channels_last() -> None:
    net = Detector().eval()
    x = torch.rand(1, 1, 64, 128)
    outputs = DeviceDetector(net)(x.permute(0, 2, 3, 1))
    assert [tuple(o.shape) for o in outputs[:2]] == [(1, 8, 16, 1), (1, 8, 16, 4)]
    assert torch.allclose(outputs[1].permute(0, 3, 1, 2), net(x)[0][1], atol=1e-5)


def test_a_perfect_box_has_iou_and_giou_of_one() -> None:
    box = torch.tensor([[1.0, 2.0, 30.0, 12.0]])
    assert iou(box, box).item() == pytest.approx(1.0)
    assert giou(box, box).item() == pytest.approx(1.0)
    assert giou(box, box + 100).item() < 0


def test_the_grid_s_order_is_that_of_the_flattened_maps() -> None:
    grid = make_grid(*SIZE)
    logits, _ = flatten(Detector().eval()(torch.zeros(1, 1, SIZE[1], SIZE[0])))
    assert grid.centres.shape[0] == logits.shape[1] == 16 * 8 + 8 * 4 + 4 * 2
    assert grid.centres[1].tolist() == [12.0, 4.0]


@pytest.mark.parametrize("box", [[60, 30, 72, 35], [20, 10, 90, 40], [1, 1, 127, 63]])
def test_every_plate_gets_cells_however_small(box: list[float]) -> None:
    grid = make_grid(*SIZE)
    raw = torch.zeros(1, len(grid.stride), 4)
    quality, _ = assign(torch.full(raw.shape[:2], 0.01), decode(raw, grid), grid, _targets([box]))
    assert 1 <= int((quality > 0).sum()) <= 8
    assert float(quality.max()) <= 1


def test_an_ignored_region_costs_nothing() -> None:
    grid = make_grid(*SIZE)
    maps = [
        (torch.zeros(1, 1, SIZE[1] // s, SIZE[0] // s), torch.zeros(1, 4, SIZE[1] // s, SIZE[0] // s))
        for s in (8, 16, 32)
    ]
    none = Targets(torch.full((1, 1, 4), -1e5), torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 0, 4))
    everywhere = Targets(none.plates, none.valid, torch.tensor([[[-1.0, -1.0, 999.0, 999.0]]]))
    assert float(detector_loss(maps, grid, none)[0]) > 1
    assert float(detector_loss(maps, grid, everywhere)[0]) == 0


def _picture(rng: np.random.Generator) -> Sample:
    image = rng.integers(0, 60, (SIZE[1], SIZE[0])).astype(np.uint8)
    x, y = int(rng.integers(4, 80)), int(rng.integers(4, 44))
    image[y : y + 14, x : x + 40] = 230
    return Sample(image, as_boxes([[x, y, x + 40, y + 14]]), as_boxes([]))


def test_a_few_steps_learn_a_bright_rectangle(tmp_path: Path) -> None:
    run = detector_train.Run(detector_train.Settings(tmp_path, tmp_path, minutes=1, workers=0))
    run.state.seconds = 6
    rng = np.random.default_rng(0)
    losses = [sum(run.advance(detector_train.collate([_picture(rng) for _ in range(16)]))) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5]) or losses[-1] < 1.0


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    settings = detector_train.Settings(tmp_path, tmp_path, minutes=1, workers=0)
    first = detector_train.Run(settings)
    first.advance(detector_train.collate([_picture(np.random.default_rng(0))] * 2))
    first.state.seconds = 12.5
    first.save()
    again = detector_train.Run(settings)
    assert (again.state.step, again.state.seconds) == (1, 12.5)
    weights: dict[str, Any] = torch.load(tmp_path / "detector.pt", weights_only=True)
    assert all(torch.equal(v, again.average.net.state_dict()[k]) for k, v in weights.items())
    assert json.loads((tmp_path / "detector-run.json").read_text())["steps"] == 1


def test_the_rate_warms_up_and_falls() -> None:
    rates = [detector_train.rate_at(p, 1.0) for p in (0.0, 0.02, 0.5, 1.0)]
    assert rates[0] < 0.05
    assert rates[1] == pytest.approx(1.0)
    assert rates[1] > rates[2] > rates[3] > 0


def test_too_many_plates_become_ignored() -> None:
    boxes = as_boxes([[i, 0, i + 2, 2] for i in range(30)])
    batch = detector_train.collate([Sample(np.zeros((8, 8), np.uint8), boxes, as_boxes([]))])
    assert batch.targets.plates.shape == (1, detector_train.MOST_PLATES, 4)
    assert batch.targets.ignore.shape == (1, 6, 4)
