"""Attention, stochastic layers and the fitting of pictures to patches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.tiny_nets import images, make, randomise
from trainer.errors import UserError
from vit.config import AttentionKind, DropPathShape, Fit, Gelu, ModelConfig, QkNorm
from vit.model.architecture import architecture
from vit.model.layers import Block, PatchDropout, StochasticDepth, fit_images


@pytest.mark.parametrize("qk_norm", list(QkNorm))
def test_both_attention_paths_agree(qk_norm):
    """Outputs and gradients of the fused and the explicit path."""
    found = []
    for path in (AttentionKind.sdpa, AttentionKind.explicit):
        model = randomise(make(attention=path, qk_norm=qk_norm, registers=1))
        x = images().requires_grad_()
        out = model(x)
        gradients = torch.autograd.grad(out.square().mean(), [x, *model.parameters()])
        found.append([out, *gradients])
    for fused, explicit in zip(*found, strict=True):
        torch.testing.assert_close(fused, explicit, atol=1e-5, rtol=1e-4)


def test_attention_maps():
    model = randomise(make(registers=1, depth=3)).eval()
    maps = model.attention_maps(images(size=(24, 24)))
    assert [m.shape for m in maps] == [(2, 4, 11, 11)] * 3
    for m in maps:
        torch.testing.assert_close(m.sum(-1), torch.ones(2, 4, 11))
        assert m.min() >= 0 and m.std() > 0
    first, last = model.attention_maps(images(size=(24, 24)), blocks=[0, -1])
    assert torch.equal(first, maps[0]) and torch.equal(last, maps[2])
    with pytest.raises(IndexError):
        model.attention_maps(images(), blocks=[3])
    # the maps are those that the network applies
    block = model.blocks[0]
    x = block.norm1(model.embed(images(size=(24, 24))))
    v = block.attn.qkv(x)[..., 64:].unflatten(-1, (4, 8)).transpose(1, 2)
    torch.testing.assert_close(block.attn.proj((maps[0] @ v).transpose(1, 2).flatten(2)), block.attn(x))


def test_stochastic_depth_is_exact_in_expectation_and_skips_compute():
    rate, batch, seen = 0.4, 10, []

    def branch(x):
        seen.append(len(x))
        return torch.ones_like(x)

    layer, x = StochasticDepth(rate).train(), torch.zeros(batch, 1, 1)
    mean = torch.stack([layer(x, branch) for _ in range(4000)]).mean(0)
    assert set(seen) == {6}
    # each entry has a standard error of sqrt(0.4 / 0.6 / 4000) = 0.013
    torch.testing.assert_close(mean, torch.ones_like(mean), atol=0.06, rtol=0)
    torch.testing.assert_close(mean.mean(), torch.tensor(1.0))  # as many are always kept, so exact
    assert torch.equal(layer.eval()(x, branch), torch.ones_like(x)) and seen[-1] == batch


@pytest.mark.parametrize(("rate", "batch"), [(0.05, 32), (0.4, 4)])
def test_stochastic_depth_by_mask(rate, batch):
    layer, x = StochasticDepth(rate).train(), torch.zeros(batch, 1, 1)
    torch.manual_seed(0)
    out = torch.stack([layer(x, torch.ones_like) for _ in range(4000)])
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    torch.testing.assert_close(out.mean(), torch.tensor(1.0), atol=0.02, rtol=0)


def test_stochastic_depth_gradients_of_kept_samples():
    layer = StochasticDepth(0.5).train()
    x = torch.randn(8, 3, 4, requires_grad=True)
    out = layer(x, lambda kept: kept * 2)
    out.sum().backward()
    factors = x.grad[:, 0, 0]
    assert sorted(factors.tolist()) == [1.0] * 4 + [5.0] * 4  # 1, and 1 + 2 / 0.5 where kept
    torch.testing.assert_close(out, x * factors[:, None, None])


def test_drop_path_rates():
    def rates(shape, depth=4):
        model = make(drop_path=0.3, drop_path_shape=shape, depth=depth)
        return [block.drop_path.rate for block in model.blocks if isinstance(block, Block)]

    assert rates(DropPathShape.ramp) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert rates(DropPathShape.constant) == [0.3] * 4
    assert rates(DropPathShape.ramp, depth=1) == [0.0]


def test_patch_dropout():
    x = torch.arange(8.0)[None, :, None].expand(3, 8, 2)
    layer = PatchDropout(0.5, prefix=2).train()
    out = layer(x)
    assert out.shape == (3, 5, 2)
    assert torch.equal(out[:, :2], x[:, :2])
    assert all(len(set(row)) == 3 and min(row) >= 2 for row in out[:, 2:, 0].tolist())
    torch.manual_seed(0)
    drawn = torch.cat([layer(x)[:, 2:, 0].flatten() for _ in range(400)]).long().bincount(minlength=8)
    assert drawn[:2].sum() == 0 and (drawn[2:] / 1200 - 0.5).abs().max() < 0.08
    assert PatchDropout(0.99, prefix=1).train()(x).shape == (3, 2, 2)
    assert layer.eval()(x) is x


def test_dropout_is_where_the_paper_has_it():
    """After positions, after attention's projection, after both MLP layers; attention weights have their own."""
    places = [name for name, module in make(dropout=0.25, depth=1).named_modules() if isinstance(module, nn.Dropout)]
    assert places == ["pos_dropout", "blocks.0.attn.dropout", "blocks.0.mlp.dropout"]
    mlp = make(dropout=0.25).blocks[0].mlp.train()
    calls = []
    mlp.dropout.register_forward_hook(lambda module, args, out: calls.append(out.shape[-1]))
    mlp(torch.randn(1, 2, 32))
    assert calls == [48, 32]
    model = make(attention_dropout=0.5, attention=AttentionKind.explicit).train()
    assert not torch.equal(model.forward_features(images()), model.forward_features(images()))


def test_gelu_kinds_differ_by_little():
    exact, tanh = (randomise(make(gelu=kind)).eval()(images()) for kind in Gelu)
    assert 0 < (exact - tanh).abs().max() < 1e-2


@pytest.mark.parametrize("fit", [Fit.pad, Fit.crop, Fit.resize])
def test_fit(fit):
    x = images(size=(21, 30))
    fitted = fit_images(x, 8, fit)
    expected = {Fit.pad: (24, 32), Fit.crop: (16, 24), Fit.resize: (24, 32)}[fit]
    assert fitted.shape[-2:] == expected
    if fit is Fit.pad:
        assert torch.equal(fitted[..., :21, :30], x) and fitted[..., 21:, :].abs().sum() == 0
    if fit is Fit.crop:
        assert torch.equal(fitted, x[..., 2:18, 3:27])
    model = make(size=(21, 30), fit=fit).eval()
    assert model.arch.grid == (expected[0] // 8, expected[1] // 8)
    assert torch.equal(model(x), model(fitted))
    whole = images()
    assert fit_images(whole, 8, fit) is whole


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"222x230 .* 16x16: use resolution 208x224 or 224x240"):
        architecture(ModelConfig("Ti/16"), 10, 3, (222, 230))
    with pytest.raises(UserError, match="use resolution 16x16 or 24x24"):
        make()(images(size=(17, 23)))
    with pytest.raises(UserError, match="no whole patch"):
        make(fit=Fit.crop)(images(size=(7, 30)))


@pytest.mark.parametrize("answer", [AttentionKind.sdpa, AttentionKind.explicit])
def test_auto_asks_for_the_default_attention(answer, monkeypatch):
    asked, fused = [], []
    monkeypatch.setattr("vit.model.cpu_kernels.default_attention", lambda *what: asked.append(what) or answer)
    real = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: fused.append(1) or real(*a, **k))
    make(depth=1)(images())
    assert asked == [("cpu", torch.float32, 7, 8, True)]
    assert len(fused) == (answer is AttentionKind.sdpa)
