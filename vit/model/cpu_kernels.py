"""How a ViT's layers are computed: on CPUs with hand-written gradients, elsewhere by torch's own operations.

Every function here computes what the plain composition of torch operations beside it computes, in the precision that
autocast would choose. ``by_hand`` is the one place that decides which of the two runs.

Shapes: B pictures, T tokens of width D, H heads of width d = D / H.

What a step of timm's S/16 spends under bf16 autocast on an Intel Xeon with AMX (batch 16, 224 px, 2 threads,
torch 2.15; 1.2 s), and what is done about it:

- 31 % in the backward pass of ``scaled_dot_product_attention``, which takes four times as long as the same in matrix
  products: ``attention`` keeps the probabilities, in bf16, and multiplies.
- 2 % in the patch convolution: as a matrix product it takes a quarter of the time (``vit.model.layers.PatchEmbed``).
- 2 % in sums for the gradients of biases: a product with a row of ones takes three quarters of the time.
- 8 % in casts, copies and stacking: ``add`` sums in one precision, the gradients of q, k and v are copied once.
- 6 % of the products, in any precision, are not needed: ``vit.model.layers.Block`` computes the class token alone in
  the last block of a net that is read there.

Together (``scripts/benchmark.py suite=vit``, other load on the machine) a step is 1.45 times as fast as timm's for S/16
and 1.53 to 1.64 times for Ti/16 in bf16, and 1.03 to 1.2 times in fp32, where only the last block differs.

Tried and left out, as they gained nothing: whole branches in one function, weights packed for oneDNN, convolutions for
weight gradients, the other orientation of weight gradients, huge pages. Copies of the weights are cast once a forward
pass: kept longer, they could go stale unseen when someone writes to ``parameter.data``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function, forward_ad

from trainer.device import fast_paths
from vit.config import AttentionKind

DTYPES = (torch.bfloat16, torch.float32, torch.float64)
EXPLICIT_TOKENS = 640  # up to 384 px at patch 16; beyond, the probabilities' memory grows and the gain shrinks


def by_hand(*tensors: Tensor | None) -> bool:
    """Whether hand-written gradients apply: dense CPU tensors, a gradient is wanted, nobody traces or transforms.

    Compilers, exporters, ``torch.func`` and forward-mode differentiation see the plain composition. A second derivative
    (``create_graph=True``) is had from the plain composition, too, in the backward pass.
    """
    return (
        not fast_paths.are_off()
        and torch.is_grad_enabled()
        and all(t is None or (type(t) in (Tensor, nn.Parameter) and t.device.type == "cpu") for t in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportAttributeAccessIssue]
        and forward_ad._current_level < 0
    )


def compute_dtype(x: Tensor) -> torch.dtype:
    """The precision of matrix products on ``x``: autocast's where it is on, else that of ``x``."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def default_attention(
    device_type: str, dtype: torch.dtype, tokens: int, head_dim: int, trains: bool = True
) -> AttentionKind:
    """Which path ``attention=auto`` takes, as measured.

    Forward and backward of ``scaled_dot_product_attention``, in times of the explicit path's, on one core of an Intel
    Xeon with AMX (and with AMX masked, as on a CPU that has avx512_bf16 only), torch 2.15, heads of 64, medians of 12::

        tokens            17    65   197   577  1025
        bf16             4.0   4.9   2.2   2.3   1.5
        bf16 without AMX 3.5   4.0   1.5   1.2   0.9
        fp32             0.9   1.1   1.0   0.8   0.8

    In the forward pass alone it is the faster of the two everywhere (0.6 to 0.8), and it keeps no probabilities:
    without gradients it is always taken. On CUDA it is flash attention.

    Args:
        device_type: ``cpu``, ``cuda``, ...
        dtype: of queries, keys and values.
        tokens: T, prefix included.
        head_dim: width of a head; with 16 the picture is the same (2.9 in bf16 at 197 tokens, 1.0 in fp32).
        trains: whether gradients are wanted.
    """
    explicit = trains and device_type == "cpu" and dtype is torch.bfloat16 and tokens <= EXPLICIT_TOKENS
    return AttentionKind.explicit if explicit else AttentionKind.sdpa


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: (..., I) and (O, I), (O) to (..., O). By hand in bf16 only: in fp32 nothing is gained."""
    if by_hand(x, weight, bias) and compute_dtype(x) is torch.bfloat16:
        return _apply(_Linear, x.to(torch.bfloat16), weight, bias)
    return F.linear(x, weight, bias)


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Self-attention softmax(q k^T / sqrt(d)) v, the explicit path.

    Args:
        qkv: (B, T, 3 D), queries, keys and values of H heads side by side.
        heads: H; d = D / H.

    Returns:
        (B, T, D), heads side by side.
    """
    parts = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, T, d)
    if by_hand(qkv) and qkv.dtype in DTYPES:
        # Laid out outside of the function, so that q, k, v are kept in one layout only.
        out = _apply(_Attention, parts.flatten(1, 2).contiguous())
        return out.unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)
    return _plain_attention(parts).transpose(1, 2).flatten(2)


def _plain_attention(parts: Tensor) -> Tensor:
    q, k, v = parts.unbind(0)
    return ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(dim=-1) @ v


def add(x: Tensor, branch: Tensor) -> Tensor:
    """``x + branch`` in the precision of ``x``, at least that of ``branch``: the residual sum."""
    if x.dtype is torch.float32 and branch.dtype is torch.bfloat16 and by_hand(x, branch):
        return branch.float().add_(x)  # one type and in place: 0.6 times the time of the mixed sum
    return x + branch


def _apply(function: type[Function], *inputs: Any) -> Tensor:
    out = function.apply(*inputs)
    assert isinstance(out, Tensor)
    return out


def _again(plain_function: Callable[..., Tensor], inputs: list[Any], needed: list[bool], grad: Tensor) -> Any:
    """Gradients that can be differentiated again, from the plain composition on the same inputs."""
    sources = [x for x, want in zip(inputs, needed, strict=True) if want]
    with torch.autocast("cpu", enabled=False):
        out = plain_function(*inputs)
        found = iter(torch.autograd.grad(out, sources, grad, create_graph=True))
    return tuple(next(found) if want else None for want in needed)


def _plain_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


class _Linear(Function):
    """``x`` in the precision to compute in; weights and their gradients in that of the parameters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        cast = weight.to(x.dtype)
        ctx.save_for_backward(x, weight, bias, cast)
        return F.linear(x, cast, None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, weight, bias, cast = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _again(_plain_linear, [x, weight, bias], list(ctx.needs_input_grad), grads[0])
        for_x, for_weight, for_bias = ctx.needs_input_grad
        grad = grads[0].reshape(-1, cast.shape[0])
        grad_x = grad_weight = grad_bias = None
        with torch.autocast("cpu", enabled=False):
            if for_x:
                grad_x = torch.mm(grad, cast).view(x.shape)
            if for_weight:
                grad_weight = torch.mm(grad.t(), x.reshape(-1, x.shape[-1])).to(weight.dtype)
            if for_bias:
                grad_bias = torch.mm(grad.new_ones(1, len(grad)), grad)[0].to(bias.dtype)
        return grad_x, grad_weight, grad_bias


class _Attention(Function):
    """Queries, keys, values (3, B H, T, d) to (B H, T, d): five batched products, what it made itself overwritten."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor) -> Tensor:
        q, k, v = parts.unbind(0)
        p = torch.baddbmm(q.new_empty(len(q), q.shape[1], q.shape[1]), q, k.mT, beta=0, alpha=q.shape[-1] ** -0.5)
        torch.softmax(p, dim=-1, out=p)
        ctx.save_for_backward(parts, p)
        return torch.bmm(p, v)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        parts, p = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _again(_plain_attention, [parts], [True], grads[0])[0]
        q, k, v = parts.unbind(0)
        scale = q.shape[-1] ** -0.5
        with torch.autocast("cpu", enabled=False):
            grad = grads[0].contiguous()
            out = torch.empty_like(parts)
            torch.bmm(p.mT, grad, out=out[2])
            scores = torch.bmm(grad, v.mT)
            torch.ops.aten._softmax_backward_data.out(scores, p, -1, p.dtype, grad_input=scores)
            torch.baddbmm(out[0], scores, k, beta=0, alpha=scale, out=out[0])
            torch.baddbmm(out[1], scores.mT, q, beta=0, alpha=scale, out=out[1])
        return out
