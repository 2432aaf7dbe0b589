"""The generator's composition, history and gradients; parameter counts; discriminators; shared passes."""

import pytest
import torch
from torch import nn

from tests.helpers.small_generator import SMALL, L, images, make, source
from trainer.errors import ConfigError
from vid2vid.config import ForegroundKind, ModelConfig, Norm
from vid2vid.model import Generator, MultiscaleDiscriminator, VideoDiscriminators, pyramid, warp


def count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


OFF, ON = ForegroundKind.off, ForegroundKind.override
ROWS = [
    # ngf, ndf, downs, foreground, norm, num_D, G per scale, D_I, D_V
    (128, 64, 3, ON, Norm.instance, 2, [411_335_241], 5_606_786, 5_553_538),
    (128, 64, 3, OFF, Norm.instance, 2, [365_391_366], 5_606_786, 5_553_538),
    (128, 64, 3, ON, Norm.instance, 3, [411_335_241, 2_880_489], 8_410_179, 8_330_307),
    (128, 64, 3, OFF, Norm.instance, 3, [365_391_366, 2_446_854], 8_410_179, 8_330_307),
    (128, 64, 3, ON, Norm.instance, 4, [411_335_241, 2_880_489, 859_641], 11_213_572, 11_107_076),
    (128, 64, 3, OFF, Norm.instance, 4, [365_391_366, 2_446_854, 707_334], 11_213_572, 11_107_076),
    (128, 64, 3, ON, Norm.instance_plain, 2, [411_229_001], 5_603_202, 5_549_954),
    (128, 64, 2, ON, Norm.instance, 1, [137_792_649], 2_803_393, 2_776_769),
    (32, 32, 3, OFF, Norm.instance, 2, [23_001_990], 3_516_962, 3_477_026),
    (32, 32, 3, ON, Norm.instance, 2, [25_944_729], 3_516_962, 3_477_026),
    (32, 32, 3, OFF, Norm.instance, 2, [23_001_990, 224_646], 3_516_962, 3_477_026),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_parameter_counts_of_the_originals(row):
    ngf, ndf, downs, foreground, norm, scales, g, d_image, d_video = row
    model = ModelConfig(
        ngf=ngf, ndf=ndf, downsamplings=downs, foreground=foreground, norm=norm, scales=len(g), blocks=9
    )
    with torch.device("meta"):
        generator = Generator(model, 36)
        assert [count(generator.scale(index)) for index in range(len(g))] == g
        assert count(generator) == sum(g)
        assert count(MultiscaleDiscriminator(39, ndf, scales, 3, norm)) == d_image
        assert count(VideoDiscriminators(3, ndf, scales, 3, norm, temporal_scales=1)) == d_video


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("foreground", list(ForegroundKind))
@pytest.mark.parametrize("scales", [1, 2])
def test_shapes_and_ranges(norm, foreground, scales):
    generator = make(norm=norm, foreground=foreground, scales=scales)
    region = torch.rand(2, 3, 1, 32, 64)
    with torch.no_grad():
        out = generator(source(3 + L, 32, 64, batch=2), None, region)
    assert out.frames.shape == out.hallucination.shape == (2, 3, 3, 32, 64)
    assert out.flow is not None and out.flow.shape == (2, 3, 2, 32, 64)
    assert out.mask is not None and out.mask.shape == (2, 3, 1, 32, 64)
    assert [x.shape for x in out.past] == [(2, L, 3, 32 >> s, 64 >> s) for s in reversed(range(scales))]
    assert out.frames.abs().max() <= 1 and out.mask.min() >= 0 and out.mask.max() <= 1
    torch.testing.assert_close(out.past[-1], out.frames[:, -L:], rtol=0, atol=0)


def test_without_a_past_the_first_frame_is_the_hallucination_and_then_the_past():
    generator = make()
    with torch.no_grad():
        out = generator(source(2 + L))
        assert out.flow is not None and out.mask is not None
        torch.testing.assert_close(out.frames[:, 0], out.hallucination[:, 0], rtol=0, atol=0)
        assert (out.flow[:, 0] == 0).all() and (out.mask[:, 0] == 1).all()
        again = generator(source(2 + L)[:, 1:], [out.frames[:, :1].expand(-1, L, -1, -1, -1)])
    torch.testing.assert_close(again.frames[:, 0], out.frames[:, 1], rtol=0, atol=0)


def test_first_keeps_the_history_but_does_not_warp_it():
    generator, past = make(), [images(L)]
    with torch.no_grad():
        warped = generator(source(1 + L), past)
        first = generator(source(1 + L), past, first=True)
        alone = generator(source(1 + L))
    torch.testing.assert_close(first.frames, first.hallucination, rtol=0, atol=0)
    torch.testing.assert_close(first.hallucination, warped.hallucination, rtol=0, atol=0)
    assert not torch.equal(first.hallucination, alone.hallucination)
    assert not torch.equal(warped.frames, warped.hallucination)


@pytest.mark.parametrize(("bias", "weight"), [(40.0, 1.0), (-40.0, 0.0)])
def test_mask_chooses_between_hallucination_and_warp(bias, weight):
    generator, past = make(mask_bias=bias), images(L)
    with torch.no_grad():
        out = generator(source(1 + L), [past])
    assert out.flow is not None
    expected = weight * out.hallucination[:, 0] + (1 - weight) * warp(past[:, -1], out.flow[:, 0])
    torch.testing.assert_close(out.frames[:, 0], expected, rtol=0, atol=1e-5)


def test_flow_head_that_starts_at_zero_keeps_the_previous_frame():
    generator, past = make(flow_init=0.0, mask_bias=-40.0), images(L)
    with torch.no_grad():
        out = generator(source(1 + L), [past])
    torch.testing.assert_close(out.frames[:, 0], past[:, -1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [ForegroundKind.override, ForegroundKind.paper])
def test_foreground_forms(kind):
    """Eq. 9, and the released code: composed by hand from the parts."""
    generator, past = make(foreground=kind), images(L)
    region = torch.zeros(1, 1, 1, 16, 32)
    region[..., 4:12, 8:24] = 1
    with torch.no_grad():
        none = generator(source(1 + L), [past], torch.zeros_like(region))
        all_over = generator(source(1 + L), [past], torch.ones_like(region))
        out = generator(source(1 + L), [past], region)
    assert out.flow is not None and out.mask is not None
    background, foreground = none.hallucination, all_over.hallucination
    merged = region * foreground + (1 - region) * background
    torch.testing.assert_close(out.hallucination, merged, rtol=0, atol=1e-6)
    warped = warp(past[:, -1], out.flow[:, 0])[:, None]
    if kind is ForegroundKind.override:
        expected = torch.where(region == 1, foreground, out.mask * background + (1 - out.mask) * warped)
    else:
        expected = out.mask * merged + (1 - out.mask) * warped
    torch.testing.assert_close(out.frames, expected, rtol=0, atol=1e-6)


def test_without_flow_frames_are_the_hallucination_with_a_past():
    generator = make(flow=False)
    with torch.no_grad():
        out = generator(source(2 + L), [images(L)])
        other = generator(source(2 + L), [images(L).flip(-1)])
    assert out.flow is None and out.mask is None
    torch.testing.assert_close(out.frames, out.hallucination, rtol=0, atol=0)
    assert not torch.equal(out.frames, other.frames)
    assert not any("flow" in name for name, _ in generator.named_parameters())


def test_frame_by_frame_model_has_no_history():
    generator = make(flow=False, past_frames=0)
    assert not any("past" in name for name, _ in generator.named_parameters())
    with torch.no_grad():
        out = generator(source(3))
        single = generator(source(3)[:, 1:2])
    assert out.past == [] and out.frames.shape[1] == 3
    torch.testing.assert_close(out.frames[:, 1:2], single.frames, rtol=0, atol=0)


def test_coarse_scales_alone_ignore_finer_ones():
    generator = make(scales=3)
    with torch.no_grad():
        out = generator(source(1 + L), None, scales=1)
        for parameter in (*generator.scale(1).parameters(), *generator.scale(2).parameters()):
            parameter.fill_(float("nan"))
        same = generator(source(1 + L), None, scales=1)
    torch.testing.assert_close(out.frames, same.frames, rtol=0, atol=0)
    assert len(out.past) == 1


def test_each_scale_keeps_its_own_past():
    generator = make(scales=2)
    with torch.no_grad():
        out = generator(source(2 + L, 32, 64))
    pooled = pyramid(out.past[1], 2)[0]
    assert out.past[0].shape == pooled.shape and not torch.allclose(out.past[0], pooled, atol=1e-3)


@pytest.mark.parametrize("by_model", [True, False])
@pytest.mark.parametrize(("backprop", "reaches"), [(1, False), (2, True)])
def test_gradients_through_time(backprop, reaches, by_model):
    """The second frame's loss reaches the label encoder by the first frame's labels only through the history."""
    generator = make(backprop_frames=backprop if by_model else 5 - backprop, past_frames=1)
    labels = source(3).requires_grad_()
    out = generator(labels, [images(1)], backprop_frames=None if by_model else backprop)
    out.frames[:, 1].square().sum().backward()
    assert labels.grad is not None
    assert bool(labels.grad[:, 0].any()) is reaches
    assert labels.grad[:, 1].any() and labels.grad[:, 2].any()
    assert not any(x.requires_grad for x in out.past)


@pytest.mark.parametrize("backprop", [1, 3])
def test_checkpointing_gives_the_same_gradients(backprop):
    grads = []
    for checkpointing in (False, True):
        generator = make(scales=2, foreground=ForegroundKind.override, backprop_frames=backprop)
        generator.checkpointing = checkpointing
        out = generator(source(3 + L, 32, 64), None, torch.ones(1, 3, 1, 32, 64) * 0.5)
        (out.frames.square().sum() + out.hallucination.abs().sum()).backward()
        grads.append([p.grad for p in generator.parameters()])
    # With a detached history nothing reads the coarse scale's images, so its heads get no gradient.
    assert [a is None for a in grads[0]] == [b is None for b in grads[1]]
    assert all(a is not None for a in grads[0]) is (backprop > 1)
    for a, b in zip(*grads, strict=True):
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


def test_absent_channels_are_left_out_exactly():
    """36 channels of which 6 occur: the same output and gradients as with all channels."""
    torch.manual_seed(0)
    generator = Generator(SMALL, 36)
    ids = torch.randint(3, 9, (1, 2 + L, 16, 32))
    labels = nn.functional.one_hot(ids, 36).movedim(-1, 2).float()
    out = generator(labels)
    out.frames.square().sum().backward()
    first = generator.scale(0).labels.layers[0].conv.weight.grad.clone()
    generator.zero_grad()
    all_present = labels.clone()
    all_present[..., 0, 0] += 1e-30  # every channel occurs, nothing else changes
    whole = generator(all_present)
    whole.frames.square().sum().backward()
    torch.testing.assert_close(out.frames, whole.frames, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        first, generator.scale(0).labels.layers[0].conv.weight.grad, rtol=1e-3, atol=1e-3 * first.abs().max().item()
    )
    assert (first.unflatten(1, (L + 1, 36))[:, :, 9:] == 0).all()


def test_batched_encoding_in_bf16_stays_close():
    generator = make()
    with torch.no_grad():
        exact = generator(source(1 + L), [images(L)])
        with torch.autocast("cpu", torch.bfloat16):
            half = generator(source(1 + L), [images(L)])
    assert half.frames.dtype is torch.float32
    assert (half.hallucination - exact.hallucination).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": 4}, "model.ngf=4: must be a multiple of 8"),
        ({"past_frames": 0}, "model.flow=true needs"),
        ({"backprop_frames": 0}, "model.backprop_frames=0"),
        ({"scales": 0}, "model.scales=0"),
    ],
)
def test_models_that_cannot_be_built(changes, message):
    with pytest.raises(ConfigError, match=message):
        make(**changes)


def test_inputs_that_do_not_fit():
    generator = make(foreground=ForegroundKind.override)
    region = torch.zeros(1, 1, 1, 16, 32)
    with pytest.raises(ValueError, match="channels"):
        generator(source(1 + L)[:, :, 1:], None, region)
    with pytest.raises(ValueError, match="no foreground mask"):
        generator(source(1 + L))
    with pytest.raises(ValueError, match="past needs"):
        generator(source(1 + L), [images(L + 1)], region)
    with pytest.raises(ValueError, match="scales=2"):
        generator(source(1 + L), None, region, scales=2)
