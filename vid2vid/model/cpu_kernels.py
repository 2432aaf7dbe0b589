"""How layers are computed on CPUs: weights cast and laid out once a call, norms and padding that keep the layout.

Measured on a 128x256 window (one thread, torch 2.15): with channels last the strided, transposed and 7x7 convolutions
take half the time, reflection padding a quarter of its backward time; autocast would cast every padded activation to
fp32 and back. Small fp32 inputs are left alone: there nothing is gained, and each frame keeps the bits it has when it
is computed alone.

Shapes: N frames, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.device import fast_paths

MIN_PIXELS = 128 * 128  # in fp32, from this size on the faster layout is used


def fast_layout(x: Tensor) -> bool:
    """Whether input ``x`` (..., H, W) should be computed in channels last with prepared weights."""
    if fast_paths.are_off() or x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return torch.is_autocast_enabled("cpu") or (x.dtype is torch.float32 and x.shape[-2] * x.shape[-1] >= MIN_PIXELS)


def to_fast_layout(x: Tensor) -> Tensor:
    """``x`` in autocast's precision, if there is one, and in channels last."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return x.to(dtype, memory_format=torch.channels_last)


@contextmanager
def prepared(module: nn.Module, active: bool = True) -> Iterator[None]:
    """Within, the module's convolutions have weights in autocast's precision and in channels last.

    A ``FullConv2d`` keeps its precision. Each of the others is cast once, where autocast and the convolutions would do
    it at every call; gradients flow through the cast to the parameters. Whatever is computed within must not be
    computed again after it (activation checkpointing).
    """
    if not active:
        yield
        return
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    held: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
                for name, parameter in part.named_parameters(recurse=False):
                    # The attribute must stay a registered name, but may be a plain tensor for a while, as in
                    # torch.func.functional_call.
                    precision = parameter.dtype if isinstance(part, FullConv2d) else dtype
                    part._parameters[name] = _Prepare.apply(parameter, precision)  # pyright: ignore
                    held.append((part, name, parameter))
        yield
    finally:
        for part, name, parameter in held:
            part._parameters[name] = parameter


class FullConv2d(nn.Conv2d):
    """A convolution in fp32 (fp64 where its weights are), also under autocast: see ``full_conv2d``."""

    def forward(self, input: Tensor) -> Tensor:
        return full_conv2d(input, self.weight, self.bias)


def full_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution (no padding) of ``x`` in the precision of its weights, whatever autocast is in force.

    What comes out of a bf16 convolution has 8 significant bits: a flow of 120 pixels in steps of 0.5 or more. The
    input may be in half precision, which only adds noise; the output is on no grid.
    """
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x.to(weight.dtype), weight, bias)


class _Prepare(torch.autograd.Function):
    """Precision and layout of a weight, and back for its gradient: one at a time, which is faster than both at once."""

    @staticmethod
    def forward(ctx, parameter: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = parameter.dtype
        ctx.plain = parameter.is_contiguous()
        out = parameter.to(dtype)
        if out.ndim == 4:
            out = out.contiguous(memory_format=torch.channels_last)
        return parameter.view_as(parameter) if out is parameter else out

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        return (grad.contiguous() if ctx.plain else grad).to(ctx.dtype), None


def keeps_channels_last(x: Tensor) -> bool:
    """Whether ``instance_norm_channels_last`` should norm ``x`` (N, C, H, W): where it lies in channels last, only so.

    On CUDA of single samples only (a frame of one clip), which one batch norm does without a copy; of several it would
    be one after the other. Not measured on a card yet: ``trainer.device.fast_paths.off`` switches it off, to compare.
    """
    if torch.compiler.is_compiling() or not x.is_contiguous(memory_format=torch.channels_last) or x.is_contiguous():
        return False
    return x.device.type == "cpu" or (x.device.type == "cuda" and x.shape[0] == 1 and not fast_paths.are_off())


def reflect(x: Tensor, width: int) -> Tensor:
    """Reflection padding of ``width`` pixels in the precision of ``x``, which autocast on CPUs would raise to fp32."""
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, (width,) * 4, mode="reflect")


def instance_norm_channels_last(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """``F.instance_norm`` that keeps channels last, in which torch has none: a batch norm of each sample."""
    if x.shape[0] == 1:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    out = _InstanceNorm.apply(x, weight, bias, eps)
    assert isinstance(out, Tensor)
    return out


class _InstanceNorm(torch.autograd.Function):
    """Batch norm sample by sample, written into one tensor."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        out = torch.empty_like(x)
        mean = x.new_empty(x.shape[:2], dtype=torch.promote_types(x.dtype, torch.float32))
        invstd = torch.empty_like(mean)
        for i in range(x.shape[0]):
            y, mean[i], invstd[i] = torch.native_batch_norm(x[i : i + 1], weight, bias, None, None, True, 0.0, eps)
            out[i : i + 1] = y
        ctx.save_for_backward(x, weight, mean, invstd)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        grad_x = torch.empty_like(x)
        grad_weight = grad_bias = None
        affine = weight is not None
        for i in range(x.shape[0]):
            part, w, b = torch.ops.aten.native_batch_norm_backward(
                grad[i : i + 1],
                x[i : i + 1],
                weight,
                None,
                None,
                mean[i],
                invstd[i],
                True,
                ctx.eps,
                [True, affine, affine],
            )
            grad_x[i : i + 1] = part
            if affine:
                grad_weight = w if grad_weight is None else grad_weight + w
                grad_bias = b if grad_bias is None else grad_bias + b
        return grad_x, grad_weight, grad_bias, None


def present_channels(source: Tensor) -> Tensor | None:
    """Indices of the source channels that are not zero everywhere, or None where leaving the others out does not pay.

    Most label ids are absent from any one clip, and with 36 channels the first convolution is a third of the forward
    pass. Absent channels add nothing, so leaving them out is exact, but for the order of summation: hence not for a
    few. On an accelerator looking would wait for the device.
    """
    if fast_paths.are_off() or source.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    present = source.detach().ne(0).any(dim=0).any(dim=0).flatten(1).any(dim=1).nonzero().flatten()
    absent = source.shape[2] - len(present)
    return present if len(present) > 0 and absent >= 16 else None
