"""The generator's composition, history and gradients; parameter counts; discriminators; shared passes."""

import dataclasses

import pytest
import torch
from torch import nn

from trainer.errors import ConfigError
from vid2vid.config import Foreground, ModelConfig, Norm
from vid2vid.losses import terms as losses
from vid2vid.model import Generator, MultiscaleDiscriminator, VideoDiscriminators, kernels, pyramid, warp
from vid2vid.model.sharing import SharedDiscriminator
from vid2vid.model.windows import buffer_frames, temporal_windows, window_frames

SMALL = ModelConfig(ngf=4, downsamplings=2, blocks=2, local_blocks=1)
CHANNELS, L = 5, 2


def make(**changes):
    torch.manual_seed(0)
    return Generator(dataclasses.replace(SMALL, **changes), CHANNELS)


def source(frames, height=16, width=32, batch=1):
    ids = torch.randint(0, CHANNELS, (batch, frames, height, width), generator=torch.Generator().manual_seed(1))
    return nn.functional.one_hot(ids, CHANNELS).movedim(-1, 2).float()


def images(frames, height=16, width=32, batch=1):
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(2)) * 2 - 1


def count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


OFF, ON = Foreground.off, Foreground.override
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
@pytest.mark.parametrize("foreground", list(Foreground))
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


@pytest.mark.parametrize("kind", [Foreground.override, Foreground.paper])
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
    if kind is Foreground.override:
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


@pytest.mark.parametrize(("backprop", "reaches"), [(1, False), (2, True)])
def test_gradients_through_time(backprop, reaches):
    """The second frame's loss reaches the label encoder by the first frame's labels only through the history."""
    generator = make(backprop_frames=backprop, past_frames=1)
    labels = source(3).requires_grad_()
    out = generator(labels, [images(1)])
    out.frames[:, 1].square().sum().backward()
    assert labels.grad is not None
    assert bool(labels.grad[:, 0].any()) is reaches
    assert labels.grad[:, 1].any() and labels.grad[:, 2].any()
    assert not any(x.requires_grad for x in out.past)


@pytest.mark.parametrize("backprop", [1, 3])
def test_checkpointing_gives_the_same_gradients(backprop):
    grads = []
    for checkpointing in (False, True):
        generator = make(scales=2, foreground=Foreground.override, backprop_frames=backprop)
        generator.checkpointing = checkpointing
        out = generator(source(3 + L, 32, 64), None, torch.ones(1, 3, 1, 32, 64) * 0.5)
        (out.frames.square().sum() + out.hallucination.abs().sum()).backward()
        grads.append([p.grad for p in generator.parameters()])
    # With a detached history nothing reads the coarse scale's images (spec 4.6), so its heads get no gradient.
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
    generator = make(foreground=Foreground.override)
    region = torch.zeros(1, 1, 1, 16, 32)
    with pytest.raises(ValueError, match="channels"):
        generator(source(1 + L)[:, :, 1:], None, region)
    with pytest.raises(ValueError, match="no foreground mask"):
        generator(source(1 + L))
    with pytest.raises(ValueError, match="past needs"):
        generator(source(1 + L), [images(L + 1)], region)
    with pytest.raises(ValueError, match="scales=2"):
        generator(source(1 + L), None, region, scales=2)


def test_discriminator_shapes_widths_and_coarsest_scales():
    network = MultiscaleDiscriminator(7, 16, 3, 3)
    x = torch.randn(2, 7, 64, 128)
    features = network(x)
    assert [scale[0].shape[1] for scale in features] == [16, 32, 64]
    assert [scale[-1].shape[1] for scale in features] == [1, 1, 1]
    assert [tuple(f.shape[2:]) for f in features[0]] == [(33, 65), (17, 33), (9, 17), (10, 18), (11, 19)]
    coarse = network(pyramid(x, 3)[1], scales=2)
    assert len(coarse) == 2
    for a, b in zip(coarse[0], features[1], strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="scales=4"):
        network(x, scales=4)
    assert max(layer.conv.out_channels for layer in MultiscaleDiscriminator(3, 64, 1, 6).scale0.layers) == 512


def test_windows_spans_and_inputs():
    """Spec 13.4: for 10 frames scale 0 spans 2 frames back, scale 1 spans 6, scale 2 needs 19."""
    assert [window_frames(3, s) for s in range(3)] == [3, 7, 19]
    assert buffer_frames(3, 3) == 18
    frames = images(10)
    flow = torch.arange(10.0)[None, :, None, None, None].expand(1, 10, 2, 16, 32)
    zero = temporal_windows(frames, -frames, flow, 10, 3, 0)
    assert zero is not None and zero.real.shape == (3, 3, 3, 16, 32)
    torch.testing.assert_close(zero.real[0], frames[0, 7:], rtol=0, atol=0)
    assert zero.flow[0, :, 0, 0, 0].tolist() == [8, 9]
    assert zero.real_input().shape == (3, 13, 16, 32)
    assert zero.real_input()[0, -1, 0, 0] == pytest.approx(9 / 20)
    torch.testing.assert_close(zero.fake_input()[:, :9], -zero.real_input()[:, :9], rtol=0, atol=0)

    one = temporal_windows(frames, frames, flow, 10, 3, 1, lambda a, b: flow[:, a] - flow[:, b])
    assert one is not None and one.real.shape[0] == 2
    torch.testing.assert_close(one.real[0], frames[0, [3, 6, 9]], rtol=0, atol=0)
    assert (one.flow == 3).all()
    assert temporal_windows(frames, frames, flow, 10, 3, 2, lambda a, b: flow[:, a]) is None
    with pytest.raises(ValueError, match="long_flow"):
        temporal_windows(frames, frames, flow, 10, 3, 1)


@pytest.mark.parametrize(("new", "windows"), [(1, 1), (3, 1), (4, 2), (10, 3)])
def test_at_most_one_window_for_each_new_frame(new, windows):
    frames = images(10)
    made = temporal_windows(frames, frames, frames[:, :, :2], new, 3, 0)
    assert made is not None and made.real.shape[0] == windows


def test_windows_of_several_clips_do_not_mix():
    frames = images(4, batch=2)
    made = temporal_windows(frames, frames, frames[:, :, :2], 4, 3, 0)
    assert made is not None and made.real.shape[0] == 2
    torch.testing.assert_close(made.real[1], frames[1, 1:], rtol=0, atol=0)


def test_sharing_gives_the_gradients_of_separate_passes():
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(4, 8, 2, 3)
    maker = nn.Conv2d(3, 3, 3, padding=1)
    labels, x, real = torch.rand(2, 1, 16, 32), torch.rand(2, 3, 16, 32), torch.rand(2, 3, 16, 32)

    def prepare(frames):
        return torch.cat([labels, frames], dim=1)

    def objective(on_real, on_fakes):
        return {
            "gan": torch.stack([losses.gan_generator(f) for f in on_fakes]).sum(),
            "feature": 10 * torch.stack([losses.feature_matching(f, on_real) for f in on_fakes]).sum(),
        }

    def separately():
        fakes = [maker(x), maker(x).tanh()]
        on_real = network(prepare(real))
        terms = objective(on_real, [network(prepare(f)) for f in fakes])
        sum(terms.values()).backward()
        g = [p.grad.clone() for p in maker.parameters()]
        network.zero_grad()
        halves = [losses.gan_discriminator(network(prepare(real)), network(prepare(f.detach()))) for f in fakes]
        (0.5 * sum(a + b for a, b in halves)).backward()
        return terms, g, [p.grad.clone() for p in network.parameters()]

    def together():
        fakes = [maker(x), maker(x).tanh()]
        shared = SharedDiscriminator(network, real, fakes, prepare=prepare)
        terms = shared.generator_losses(objective)
        sum(terms.values()).backward()
        assert all(p.grad is None for p in network.parameters())
        g = [p.grad.clone() for p in maker.parameters()]
        halves = [losses.gan_discriminator(shared.real, f) for f in shared.fakes]
        (0.5 * sum(a + b for a, b in halves)).backward()
        for p, before in zip(maker.parameters(), g, strict=True):
            torch.testing.assert_close(p.grad, before, rtol=0, atol=0)
        return terms, g, [p.grad.clone() for p in network.parameters()]

    results = []
    for run in (separately, together):
        maker.zero_grad()
        network.zero_grad()
        results.append(run())
    (terms, g, d), (terms_shared, g_shared, d_shared) = results
    for name in terms:
        assert float(terms_shared[name].detach()) == pytest.approx(float(terms[name].detach()), rel=1e-5)
    for a, b in zip(g + d, g_shared + d_shared, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def injected(weight, loss_scale, dtype=torch.float16):
    """The gradient in a frame of a loss of some weight on D's features, D computing in a half precision."""
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(3, 8, 1, 2)
    frame = images(1)[0].requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        shared = SharedDiscriminator(network, images(2)[0, :1], [frame])

    def objective(real, fakes):
        return {"gan": weight * losses.gan_generator(fakes[0])}

    (shared.generator_losses(objective, loss_scale)["gan"] * loss_scale).backward()
    return frame.grad / loss_scale  # as the scaler takes it out again


def test_small_gradients_survive_fp16_by_the_trainers_own_scale():
    """At this weight they are below fp16's smallest number where the loss is not scaled."""
    weight = 1e-5
    exact = injected(weight, 1.0, torch.float32)
    assert injected(weight, 1.0).count_nonzero() < 0.5 * exact.numel()
    for scale in (torch.tensor(2.0**16), 2.0**14):
        error = (injected(weight, scale) - exact).norm() / exact.norm()
        assert error < 0.02


def test_an_overflow_in_fp16_reaches_the_scaler():
    """A scale of this file's own would never be lowered; the trainer's is, when it sees infinity."""
    assert not torch.isfinite(injected(1.0, torch.tensor(2.0**26))).all()
    assert torch.isfinite(injected(1.0, torch.tensor(2.0**10))).all()


def test_sharing_without_a_generator_to_train():
    network = MultiscaleDiscriminator(3, 4, 1, 2)
    shared = SharedDiscriminator(network, images(2)[0], [images(2)[0]])
    terms = shared.generator_losses(lambda real, fakes: {"gan": losses.gan_generator(fakes[0])})
    assert not terms["gan"].requires_grad


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_in_channels_last(affine):
    torch.manual_seed(0)
    weight, bias = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    parameters = (weight, bias) if affine else (None, None)
    x = torch.randn(3, 5, 4, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = kernels.instance_norm_channels_last(x, *parameters, 1e-5)
    expected = nn.functional.instance_norm(x, weight=parameters[0], bias=parameters[1])
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grad = torch.randn_like(y)
    inputs = [x, *(p for p in parameters if p is not None)]
    for a, b in zip(torch.autograd.grad(y, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("scales", [1, 2])
def test_fast_layout_gives_the_same_frames_and_gradients(scales, monkeypatch):
    generator = make(scales=scales, foreground=Foreground.override, past_frames=L)
    labels, region = source(2 + L, 32, 64, batch=2), torch.rand(2, 2, 1, 32, 64)
    before = [(p, p.data_ptr()) for p in generator.parameters()]
    results = []
    for pixels in (10**9, 1):
        monkeypatch.setattr(kernels, "MIN_PIXELS", pixels)
        generator.zero_grad()
        out = generator(labels, None, region)
        (out.frames.square().sum() + out.hallucination.sum()).backward()
        results.append((out.hallucination, [p.grad for p in generator.parameters()]))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=0, atol=1e-3)
    for a, b in zip(results[1][1], results[0][1], strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.stride() == b.stride()
            if a.ndim > 1:  # biases before a norm have no gradient but noise
                assert (a - b).norm() <= 1e-2 * b.norm()
    # The parameters themselves are back in their places.
    assert all(p is q and p.data_ptr() == at for p, (q, at) in zip(generator.parameters(), before, strict=True))


def test_prepared_weights_are_put_back_after_an_error():
    network = MultiscaleDiscriminator(3, 4, 1, 2)
    names = [name for name, p in network.named_parameters() if isinstance(p, nn.Parameter)]
    with pytest.raises(RuntimeError), torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(1, 5, 16, 16))
    assert [name for name, p in network.named_parameters() if isinstance(p, nn.Parameter)] == names


@pytest.mark.parametrize("bf16", [False, True])
def test_condition_is_the_first_channels_of_every_part(bf16):
    torch.manual_seed(0)
    network = MultiscaleDiscriminator(5, 8, 2, 3)
    condition, x = torch.rand(2, 2, 32, 64), torch.rand(6, 3, 32, 64)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        whole = network(torch.cat([condition.repeat(3, 1, 1, 1), x], dim=1))
        split = network(x, condition=condition)
    for a, b in zip(whole, split, strict=True):
        torch.testing.assert_close(b[-1].float(), a[-1].float(), rtol=1e-4, atol=0.1 if bf16 else 1e-4)
