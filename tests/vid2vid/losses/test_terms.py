"""Loss values by hand, gradients where they belong."""

import math

import pytest
import torch
import torch.nn.functional as F

from vid2vid.config import Gan
from vid2vid.losses import terms as losses
from vid2vid.model import warp


def features(*predictions):
    """One scale per prediction value; three feature layers of ones before each."""
    return [[torch.ones(1, 2, 3, 3)] * 3 + [torch.full((1, 1, 2, 2), value)] for value in predictions]


def softplus(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("kind", "generator", "real", "fake"),
    [
        (Gan.lsgan, 0.25 + 4, 0.25 + 4, 0.25 + 1),
        (Gan.hinge, -0.5 + 1, 0.5 + 2, 1.5 + 0),
        (Gan.non_saturating, softplus(-0.5) + softplus(1), softplus(-0.5) + softplus(1), softplus(0.5) + softplus(-1)),
    ],
)
def test_gan_losses_sum_over_scales(kind, generator, real, fake):
    scores = features(0.5, -1.0)
    assert float(losses.gan_generator(scores, kind)) == pytest.approx(generator)
    on_real, on_fake = losses.gan_discriminator(scores, scores, kind)
    assert (float(on_real), float(on_fake)) == (pytest.approx(real), pytest.approx(fake))


def test_relativistic_losses_compare_patches() -> None:
    """Each patch with its own: a shift of both sides changes nothing."""
    real, fake = [[torch.tensor([[[[1.0, -2.0]]]])]], [[torch.tensor([[[[0.5, 3.0]]]])]]
    expected = (softplus(1.0 - 0.5) + softplus(-2.0 - 3.0)) / 2
    assert float(losses.gan_generator(fake, Gan.relativistic, real=real)) == pytest.approx(expected)
    judged = losses.discriminator([(real, [fake])], Gan.relativistic)
    assert float(sum(judged.values())) == pytest.approx((softplus(0.5 - 1.0) + softplus(3.0 + 2.0)) / 2)
    moved = [[[x + 7.0 for x in scale] for scale in side] for side in (real, fake)]
    assert float(losses.gan_generator(moved[1], Gan.relativistic, real=moved[0])) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [kind for kind in Gan if kind is not Gan.relativistic])
def test_gan_gradients_point_the_right_way(kind):
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    (g,) = torch.autograd.grad(losses.gan_generator([[x]], kind), x)
    assert (g < 0).all()  # a higher score fools better
    on_real, on_fake = losses.gan_discriminator([[x]], [[x]], kind)
    (r,) = torch.autograd.grad(on_real, x, retain_graph=True, allow_unused=True)
    assert (r < 0).all()
    if kind is not Gan.lsgan:  # at a score of 0 the least-squares loss on generated input is at its minimum
        (f,) = torch.autograd.grad(on_fake, x)
        assert (f > 0).all()


def test_feature_matching_weights_layers_and_averages_scales():
    real = features(0.0, 0.0)
    fake = [[layer + 0.5 for layer in scale[:-1]] + [scale[-1] + 100] for scale in real]
    # three layers before the prediction: each counts 4 / 3, and two scales are averaged
    assert float(losses.feature_matching(fake, real)) == pytest.approx(3 * 4 / 3 * 0.5)


def test_feature_matching_leaves_the_real_side_alone():
    real = [[torch.ones(1, 1, 2, 2, requires_grad=True), torch.ones(1)]]
    fake = [[torch.zeros(1, 1, 2, 2, requires_grad=True), torch.ones(1)]]
    losses.feature_matching(fake, real).backward()
    assert real[0][0].grad is None and fake[0][0].grad is not None


def test_masked_l1_divides_by_all_pixels():
    a, b = torch.ones(1, 2, 3, 4, 4), torch.zeros(1, 2, 3, 4, 4)
    confidence = torch.zeros(1, 2, 1, 4, 4)
    confidence[..., :1] = 1
    assert float(losses.masked_l1(a, b, confidence)) == pytest.approx(0.25)
    assert float(losses.l1(a, b)) == 1


def test_flow_loss_is_halved_for_each_further_scale():
    flow, zero, sure = torch.full((1, 1, 2, 4, 4), 3.0), torch.zeros(1, 1, 2, 4, 4), torch.ones(1, 1, 1, 4, 4)
    assert [float(losses.flow(flow, zero, sure, scales)) for scales in (1, 2, 3)] == [3.0, 1.5, 0.75]


def scene():
    torch.manual_seed(0)
    picture = F.interpolate(torch.rand(1, 3, 4, 8), size=(16, 32), mode="bilinear", align_corners=True)
    flow = torch.zeros(1, 2, 16, 32)
    flow[:, 0] = 2.0
    return picture, flow, warp(picture, flow)


def test_flow_warp_is_zero_at_the_true_flow_and_reaches_the_flow():
    previous, flow, current = scene()
    sure = torch.ones(1, 1, 1, 16, 32)
    args = (previous[None], current[None], sure)
    assert float(losses.flow_warp(flow[None], *args)) == pytest.approx(0, abs=1e-6)
    wrong = torch.zeros(1, 1, 2, 16, 32, requires_grad=True)
    value = losses.flow_warp(wrong, *args)
    value.backward()
    assert value > 1e-3 and wrong.grad is not None and wrong.grad.abs().sum() > 0


def test_output_warp_reaches_the_frame_but_not_the_one_before():
    previous, flow, current = scene()
    sure = torch.ones(1, 1, 1, 16, 32)
    before = previous[None].clone().requires_grad_()
    frame = current[None].clone().requires_grad_()
    assert float(losses.output_warp(frame, before, flow[None], sure).detach()) == pytest.approx(0, abs=1e-6)
    losses.output_warp(frame + 0.1, before, flow[None], sure).backward()
    assert before.grad is None and frame.grad is not None and frame.grad.abs().sum() > 0


def test_mask_loss_asks_for_warping_only_where_the_flow_is_trusted():
    mask = torch.full((1, 1, 1, 2, 2), 0.5, requires_grad=True)
    confidence = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[None, None, None]
    value = losses.mask(mask, confidence)
    value.backward()
    assert float(value.detach()) == pytest.approx(0.125)
    assert mask.grad is not None and mask.grad.count_nonzero() == 1


def test_half_precision_inputs_are_compared_in_fp32():
    a = torch.full((1, 1, 1, 64, 64), 1.0, dtype=torch.bfloat16)
    b = torch.full((1, 1, 1, 64, 64), 1.0078125, dtype=torch.bfloat16)
    assert losses.l1(a, b).dtype is torch.float32
    assert float(losses.l1(a, b)) == pytest.approx(0.0078125)
