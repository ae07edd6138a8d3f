# SPDX-License-Identifier: Apache-2.0
"""The corner net's two bodies (needs PyTorch)."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from inference.training.corners_model import CornerNet, freeze_corners, restore  # noqa: E402


def test_weights_of_one_body_serve_both() -> None:
    net, again = CornerNet().eval(), CornerNet().eval()
    with torch.no_grad():
        net.judge.verdict.weight.zero_()
        net.judge.verdict.bias.zero_()
    net.judge.body.load_state_dict(net.body.state_dict())
    net.judge.hidden.load_state_dict(net.hidden.state_dict())
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("judge.")}
    state |= {"flag.weight": net.judge.flag.weight, "flag.bias": net.judge.flag.bias}
    restore(again, state)
    picture = torch.rand(2, 1, 64, 128)
    for one, other in zip(net(picture), again(picture), strict=True):
        assert torch.equal(one, other)


def test_other_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="train it anew"):
        restore(CornerNet(), {"weight": torch.zeros(1)})


def test_only_the_judge_learns_once_the_corners_are_frozen() -> None:
    net = CornerNet()
    freeze_corners(net)
    assert all(name.startswith("judge.") for name, p in net.named_parameters() if p.requires_grad)
    before = {k: v.clone() for k, v in net.body.state_dict().items()}
    corners, flags = net(torch.rand(4, 1, 64, 128))
    (corners.sum() + flags.sum()).backward()
    assert all(torch.equal(v, before[k]) for k, v in net.body.state_dict().items())
    assert net.judge.flag.weight.grad is not None
