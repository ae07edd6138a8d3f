# SPDX-License-Identifier: Apache-2.0
"""The reader and corner nets: shapes, sizes, folding, decoding (needs PyTorch)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from inference.training import reader_train  # noqa: E402
from inference.training.corners_model import CornerExport, CornerNet, Ema, fold, parameter_count  # noqa: E402
from inference.training.corners_session import rate_at  # noqa: E402
from inference.training.reader_model import (  # noqa: E402
    BLANK,
    TIME_STEPS,
    ReaderExport,
    ReaderNet,
    ctc_loss,
    encode,
    greedy,
)
from inference.training.reader_train import forward, load_net  # noqa: E402


def _logits(path: list[int]) -> NDArray[np.float32]:
    logits = np.zeros((TIME_STEPS, BLANK + 1), np.float32)
    logits[np.arange(TIME_STEPS), [*path, *[BLANK] * (TIME_STEPS - len(path))]] = 10
    return logits


def test_shapes_and_sizes() -> None:
    reader, corners = ReaderNet().eval(), CornerNet().eval()
    assert reader(torch.zeros(2, 1, 48, 144)).shape == (2, TIME_STEPS, BLANK + 1)
    points, flags = corners(torch.zeros(2, 1, 64, 128))
    assert points.shape == (2, 8)
    assert flags.shape == (2, 2)
    assert 600_000 < parameter_count(reader) < 800_000
    assert 200_000 < parameter_count(corners) < 300_000


@pytest.mark.parametrize(
    ("module", "net", "shape"),
    [(ReaderExport, ReaderNet, (1, 48, 144, 1)), (CornerExport, CornerNet, (1, 64, 128, 1))],
)
def test_folding_batch_norms_changes_nothing(module: type, net: type, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    export = module(net().eval()).eval()
    picture = torch.rand(shape)
    before = export(picture)
    after = fold(export)(picture)
    for a, b in zip(torch.atleast_1d(before), torch.atleast_1d(after), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_greedy_merges_repeats_and_drops_blanks() -> None:
    a, b = encode("A7")
    text, confidence = greedy(_logits([a, a, BLANK, a, b, b]))
    assert text == "AA7"
    assert confidence > 0.95


def test_greedy_of_blanks_is_empty() -> None:
    assert greedy(_logits([])) == ("", 0.0)


def test_the_loss_is_low_for_the_right_text_only() -> None:
    logits = torch.from_numpy(_logits(encode("WAY51DE"))[None])
    assert ctc_loss(logits, ["WAY51DE"]) < 0.1
    assert ctc_loss(logits, ["WAY51DX"]) > 1


def test_the_rows_of_a_plate_read_as_one_text() -> None:
    upper, lower = (torch.from_numpy(_logits(encode(t))) for t in ("LEC", "8019"))
    one = torch.from_numpy(_logits(encode("AB12")))
    logits = torch.stack([upper, lower, one])
    assert ctc_loss(logits, ["LEC8019", "AB12"], [2, 1]) < 0.1
    assert ctc_loss(logits, ["8019LEC", "AB12"], [2, 1]) > 1


def test_logits_of_grey_levels_are_floats_on_the_cpu() -> None:
    logits = forward(ReaderNet().eval(), np.zeros((2, 1, 48, 144), np.uint8), "cpu")
    assert logits.shape == (2, TIME_STEPS, BLANK + 1)
    assert logits.dtype == torch.float32


def test_tiles_or_not_the_logits_are_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    net, crop = (
        ReaderNet().eval(),
        np.random.default_rng(1).integers(0, 255, (1, 1, 48, 144)).astype(np.uint8),
    )
    both = []
    for tiles in (True, False):
        monkeypatch.setattr(reader_train, "halves", lambda _device, tiles=tiles: tiles)
        with torch.no_grad():
            both.append(forward(net, crop, "cpu"))
    assert not torch.equal(*both)
    assert torch.allclose(*both, atol=0.05)


def test_weights_come_back_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    net = ReaderNet()
    torch.save(net.state_dict(), tmp_path / "reader.pt")
    torch.save(CornerNet().state_dict(), tmp_path / "corners.pt")
    picture = torch.rand(1, 1, 48, 144)
    assert torch.equal(load_net(tmp_path / "reader.pt")(picture), net.eval()(picture))
    with pytest.raises(ValueError, match=r"corners\.pt: not the weights of this reader"):
        load_net(tmp_path / "corners.pt")


def test_the_rate_warms_up_and_falls() -> None:
    assert rate_at(0.0, 0, 1.0) < 0.01
    assert rate_at(0.0, 500, 1.0) == pytest.approx(1.0)
    assert rate_at(1.0, 9000, 1.0) == pytest.approx(0.01)


def test_the_average_follows_the_weights() -> None:
    net = CornerNet()
    ema = Ema(net, 0.5)
    with torch.no_grad():
        net.judge.flag.bias += 1
    before = ema.state["judge.flag.bias"].clone()
    ema.update(net, 1000)
    assert torch.allclose(ema.state["judge.flag.bias"], (before + net.judge.flag.bias) / 2)
