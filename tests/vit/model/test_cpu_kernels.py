"""Layers computed by hand: the same function and gradients as torch's own operations, and when they step aside."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from trainer.device import fast_paths
from vit.config import AttentionKind, Gelu, ModelConfig, Pool, QkNorm
from vit.model import cpu_kernels
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer

WIDTH, HEADS, TOKENS = 48, 3, 21


def make(**changes: object) -> VisionTransformer:
    torch.manual_seed(0)
    options = {"variant": "mu", "patch": 8, "width": WIDTH, "depth": 2, "mlp": 96, "heads": HEADS, **changes}
    model = VisionTransformer(architecture(ModelConfig(**options), 7, 3, (32, 40)))
    with torch.no_grad():  # the head starts at zero: nothing would flow
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 32, 40, generator=torch.Generator().manual_seed(1))


def gradients(model: nn.Module, bf16: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and gradients, backward outside of autocast as in the trainer."""
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = model(images())
    out = torch.stack(out).sum(0) if isinstance(out, tuple) else out
    F.cross_entropy(out.float(), torch.arange(len(out))).backward()
    return out.detach().float(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def off(found: dict[str, Tensor], true: dict[str, Tensor]) -> float:
    """Relative distance of all gradients together."""
    assert found.keys() == true.keys()
    return float(
        torch.stack([(found[n] - true[n]).square().sum() for n in true]).sum().sqrt()
        / torch.stack([true[n].square().sum() for n in true]).sum().sqrt()
    )


NETS = [
    {},
    {"pool": Pool.gap},
    {"pool": Pool.map},
    {"distilled": True, "registers": 2},
    {"qkv_bias": False, "qk_norm": QkNorm.layer, "layer_scale": 0.1},
    {"gelu": Gelu.tanh, "representation": 16, "depth": 1},
]


@pytest.mark.parametrize("path", [AttentionKind.sdpa, AttentionKind.explicit])
@pytest.mark.parametrize("changes", NETS, ids=str)
def test_same_function_and_gradients_as_torch(changes: dict, path: AttentionKind) -> None:
    model = make(**changes, attention=path)
    with fast_paths.off():
        out, grads = gradients(model)
    own_out, own = gradients(model)
    torch.testing.assert_close(own_out, out, atol=1e-5, rtol=0)
    assert off(own, grads) < 1e-5


@pytest.mark.parametrize("changes", NETS, ids=str)
def test_bf16_is_as_near_to_fp32_as_torchs_own(changes: dict) -> None:
    model = make(**changes, attention=AttentionKind.auto)
    with fast_paths.off():
        true_out, true = gradients(model)
        plain_out, plain = gradients(model, bf16=True)
    out, grads = gradients(model, bf16=True)
    assert all(grad.dtype is torch.float32 for grad in grads.values())
    assert 0 < off(grads, true) < 1.2 * off(plain, true)
    assert (out - true_out).norm() < 1.2 * (plain_out - true_out).norm()
    assert off(grads, true) < 0.03


def test_bf16_is_as_near_to_fp32_as_timms() -> None:
    import timm

    torch.manual_seed(0)
    other = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=64, num_classes=10).train()
    options = ModelConfig(variant="Ti", depth=2)
    model = VisionTransformer(architecture(options, 10, 3, (64, 64)))
    model.load_state_dict(other.state_dict())
    pictures = torch.randn(8, 3, 64, 64)

    def found(net: nn.Module, bf16: bool) -> tuple[float, dict[str, Tensor]]:
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = net(pictures)
        loss = F.cross_entropy(out.float(), torch.arange(8))
        loss.backward()
        return loss.item(), {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}

    true_loss, true = found(other, False)
    timm_loss, theirs = found(other, True)
    loss, own = found(model, True)
    assert off(found(model, False)[1], true) < 1e-5
    assert off(own, true) < 1.1 * off(theirs, true)
    assert abs(loss - true_loss) < 2 * abs(timm_loss - true_loss) + 1e-3


def test_two_derivatives_by_differences() -> None:
    def attend(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return cpu_kernels.attention(cpu_kernels._apply(cpu_kernels._Linear, x, weight, bias), 2)

    shapes = (2, 3, 4), (12, 4), (12,)
    inputs = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(attend, inputs)
    assert torch.autograd.gradgradcheck(attend, inputs)


def test_gradient_penalty_equals_torchs() -> None:
    model = make(attention=AttentionKind.explicit)

    def penalty() -> dict[str, Tensor]:
        model.zero_grad(set_to_none=True)
        pictures = images().requires_grad_()
        (grad,) = torch.autograd.grad(model(pictures).square().sum(), pictures, create_graph=True)
        grad.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    own = penalty()
    with fast_paths.off():
        assert off(own, penalty()) < 1e-4


@pytest.mark.parametrize("wanted", [(True, True, True), (False, True, False), (True, False, False)])
def test_linear_in_bf16_equals_autocasts(wanted: tuple[bool, ...]) -> None:
    shapes = (2, 5, 6), (4, 6), (4,)
    inputs = [torch.randn(shape).requires_grad_(want) for shape, want in zip(shapes, wanted, strict=True)]
    grad = torch.randn(2, 5, 4).bfloat16()
    found = []
    for function in (cpu_kernels.linear, F.linear):
        with torch.autocast("cpu", torch.bfloat16):
            out = function(*inputs)
        found.append([out.detach(), *torch.autograd.grad(out, [x for x in inputs if x.requires_grad], grad)])
    for own, other in zip(*found, strict=True):
        assert own.dtype is other.dtype
        torch.testing.assert_close(own, other, atol=1e-2, rtol=1e-2)


def test_backward_within_autocast_stays_in_its_precision() -> None:
    qkv = torch.randn(2, 5, 12, requires_grad=True)
    (true,) = torch.autograd.grad(cpu_kernels.attention(qkv, 2).square().sum(), qkv)
    out = cpu_kernels.attention(qkv, 2)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(out.square().sum(), qkv)
    torch.testing.assert_close(found, true, atol=1e-6, rtol=0)


def test_the_residual_sum_leaves_its_inputs_alone() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    branch = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    before = branch.detach().clone()
    out = cpu_kernels.add(x, branch)
    assert out.dtype is torch.float32
    torch.testing.assert_close(out, x + branch, rtol=0, atol=0)
    out.sum().backward()
    assert torch.equal(branch, before) and branch.grad is not None and branch.grad.dtype is torch.bfloat16


# When they step aside


def test_where_hand_written_gradients_apply() -> None:
    x = torch.randn(2, 3)
    assert cpu_kernels.by_hand(x, nn.Parameter(x), None)
    with fast_paths.off():
        assert fast_paths.are_off() and not cpu_kernels.by_hand(x)
    with torch.no_grad():
        assert not cpu_kernels.by_hand(x)
    assert not cpu_kernels.by_hand(torch.empty(2, 3, device="meta"))
    with forward_ad.dual_level():
        assert not cpu_kernels.by_hand(x)
    seen = []
    torch.func.vmap(lambda row: seen.append(cpu_kernels.by_hand(row)) or row)(x)
    assert seen == [False]


def test_transforms_and_exports_see_plain_operations() -> None:
    model = make(attention=AttentionKind.explicit)
    parameters = dict(model.named_parameters())

    def loss(values: dict[str, Tensor]) -> Tensor:
        out = torch.func.functional_call(model, values, (images(),))
        return F.cross_entropy(out, torch.arange(4))

    own = torch.func.grad(loss)({name: p.detach() for name, p in parameters.items()})
    assert off(gradients(model)[1], own) < 1e-5
    exported = torch.export.export(model, (images(),))
    names = {str(node.target) for node in exported.graph.nodes}
    assert not any("_Linear" in name or "autograd" in name for name in names)
    torch.testing.assert_close(exported.module()(images()), model(images()), atol=1e-5, rtol=0)


def test_checkpointed_blocks_give_the_same_gradients() -> None:
    model = make(attention=AttentionKind.explicit)
    kept = make(attention=AttentionKind.explicit, checkpointing=True)
    assert off(gradients(kept, bf16=True)[1], gradients(model, bf16=True)[1]) < 1e-6


# The last block


@pytest.mark.parametrize("changes", [{}, {"distilled": True}, {"drop_path": 0.05}], ids=str)
def test_the_last_block_computes_the_tokens_that_are_read(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(**changes)
    seen: list[int] = []
    real = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x, **options: seen.append(x.shape[1]) or real(x, **options))
    read = 2 if model.arch.distilled else 1
    every = model.arch.prefix + model.arch.patches
    model.eval()
    model(images())
    assert seen == [every, read]
    seen.clear()
    model.forward_features(images())
    with fast_paths.off():
        model(images())
    assert seen == [every] * 4
    torch.testing.assert_close(
        model.representation(images()), model.pool(model.forward_features(images())), atol=1e-6, rtol=0
    )


def test_who_looks_into_the_last_block_sees_all_tokens() -> None:
    model, seen = make(), []
    model.blocks[-1].get_submodule("mlp").register_forward_hook(lambda module, inputs, out: seen.append(out.shape[1]))
    model(images())
    assert seen == [model.arch.prefix + model.arch.patches]


def test_training_with_either_ends_at_the_same_weights() -> None:
    models = [make()]
    models.append(copy.deepcopy(models[0]))
    for model, plain in zip(models, (False, True), strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            if plain:
                with fast_paths.off():
                    gradients(model)
            else:
                gradients(model)
            optimizer.step()
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


# The default


def test_default_attention() -> None:
    default = cpu_kernels.default_attention
    assert default("cpu", torch.bfloat16, 197, 64) is AttentionKind.explicit
    assert default("cpu", torch.bfloat16, 197, 64, trains=False) is AttentionKind.sdpa
    assert default("cpu", torch.bfloat16, 4096, 64) is AttentionKind.sdpa
    assert default("cpu", torch.float32, 197, 64) is AttentionKind.sdpa
    assert default("cuda", torch.bfloat16, 197, 64) is AttentionKind.sdpa


def test_auto_follows_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = make(pool=Pool.gap), []
    real = cpu_kernels.attention
    monkeypatch.setattr(cpu_kernels, "attention", lambda qkv, heads: calls.append(qkv.dtype) or real(qkv, heads))
    gradients(model)
    assert calls == []
    gradients(model, bf16=True)
    assert calls == [torch.bfloat16] * 2
