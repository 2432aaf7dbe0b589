"""A discriminator that segments: its sizes, what "real" means to it, and that it may be differentiated twice."""

import pytest
import torch
from torch import Tensor

from trainer.device import fast_paths
from vid2vid.config import Norm
from vid2vid.losses.penalties import squared_gradient
from vid2vid.model.segmenting import SegmentingDiscriminator, log_odds
from vid2vid.model.sharing import SharedDiscriminator


def network(norm: Norm = Norm.instance) -> SegmentingDiscriminator:
    torch.manual_seed(0)
    return SegmentingDiscriminator(3, 4, 2, norm)


@pytest.mark.parametrize("size", [(16, 24), (13, 21), (8, 8)])
def test_every_pixel_gets_its_logits(size: tuple[int, int]) -> None:
    ((*features, logits),) = network()(torch.randn(2, 3, *size))
    assert logits.shape == (2, 4, *size)
    halves = [(size[0] >> n, size[1] >> n) for n in (1, 2, 1, 0)]
    assert [(x.shape[1], tuple(x.shape[2:])) for x in features] == list(zip((4, 8, 4, 4), halves, strict=True))


def test_coarse_features_and_the_frame_itself_reach_the_prediction() -> None:
    net = network(Norm.none)
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    (grad,) = torch.autograd.grad(net(x)[0][-1][0, 0, 8, 8], x)
    seen = grad.abs().sum((0, 1)) > 0
    assert seen[8, 8] and seen.sum() > 15 * 15 / 2, "far beyond the 3x3 of the last layer"
    weights = net.up[-1].conv.weight  # pyright: ignore
    with torch.no_grad():
        weights[:, -3:] = 0
    (without,) = torch.autograd.grad(net(x)[0][-1][0, 0, 8, 8], x)
    assert not torch.equal(grad, without), "the last layer sees the pixels"


def test_log_odds_are_those_of_any_class_against_generated() -> None:
    logits = torch.randn(2, 4, 5, 6)
    features = [[torch.zeros(1), logits]]
    odds = log_odds(features)[0][-1]
    assert odds.shape == (2, 1, 5, 6)
    torch.testing.assert_close(odds.sigmoid()[:, 0], 1 - logits.softmax(1)[:, -1])
    torch.testing.assert_close(log_odds([[logits + 7]])[0][-1], odds)


@pytest.mark.parametrize("norm", list(Norm))
def test_penalties_take_the_log_odds_and_are_differentiated_twice(norm: Norm) -> None:
    net, x = network(norm), torch.randn(2, 3, 16, 24)

    def by_hand() -> Tensor:
        total = x.new_zeros(())
        for sample in x:
            frame = sample[None].clone().requires_grad_()
            probability = net(frame)[0][-1].softmax(1)[:, -1].double()
            (gradient,) = torch.autograd.grad(((1 - probability) / probability).log().sum(), frame, create_graph=True)
            total = total + gradient.square().sum() / (16 * 24) / len(x)
        return total

    with torch.autocast("cpu", torch.bfloat16):
        shared = SharedDiscriminator(net, x, [x], plain=lambda frames: log_odds(net.forward(frames)))
        value = squared_gradient(shared.predict, shared.inputs[0])
    expected = by_hand()
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-3) and float(value.detach()) > 0
    weights = [p for p in net.parameters() if p.ndim == 4]
    for ours, theirs in zip(torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=2e-3 * float(theirs.abs().max()))


def test_half_precision_and_faster_kernels_say_nearly_the_same() -> None:
    net, x = network(), torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        plain = net(x)[0]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        fast = net(x)[0]
    assert fast[-1].dtype is torch.bfloat16
    for ours, theirs in zip(fast, plain, strict=True):
        assert float((ours.float() - theirs).abs().mean()) < 0.02 * float(theirs.abs().mean()) + 1e-3
    large = torch.randn(1, 3, 128, 128)
    with fast_paths.off():
        slow = net(large)[0][-1]
    torch.testing.assert_close(net(large)[0][-1], slow, rtol=1e-3, atol=1e-5)
