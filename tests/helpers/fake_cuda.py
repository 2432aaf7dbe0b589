"""A pretended CUDA device for machines without one: what would make the host wait, or mix devices, fails by its place.

Under torch's ``FakeTensorMode`` tensors have shape, type and device, but no memory: forward passes and losses of the
largest network run in a second. ``fake_cuda`` adds what torch itself lets pass: copies between the host and the device
that wait, indices that are copied to the device, scalars left on the CPU, scalars computed in half precision.

What cannot be pretended: the backward engine wants a real device, so ``torch.autograd.grad`` (vid2vid takes the
discriminators' gradients inside its losses) returns zeros of the right shape here.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.paths import ROOT
from vit import encoding

CUDA = torch.device("cuda", 0)
HALVES = (torch.float16, torch.bfloat16)

aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_}
INDEXED = {aten.index, aten.index_put_, aten.index_put}
READ = {aten._local_scalar_dense}
# A scalar of the host goes into these as an argument of the kernel.
TAKE_SCALARS = {aten.fill_, aten.index_put_, aten.index_put, aten.masked_fill, aten.masked_fill_}


class CudaFault(AssertionError):
    """Something that would fail, or be slow, on a card."""


class HostWait(CudaFault):
    """The host would wait for the device."""


class LeftOnCpu(CudaFault):
    """A tensor on the CPU meets one on the device."""


class WrongDtype(CudaFault):
    """A precision that loses what the computation needs, or costs what it does not."""


class PretendedGenerator(torch.Generator):
    """A generator that says it lives on the pretended device; nothing is drawn from it."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA


class Watch(TorchDispatchMode):
    """Sees every operation before the fake tensors do.

    Args:
        allowed: places at which the host may wait (``vid2vid/encoding.py:_check``) and the number that it then reads.
        double: whether float64 is meant, as in metrics.
        half: whether single numbers of half precision are meant, as in Muon's orthogonalisation.

    Attributes:
        waits: how often the host waited, by place.
    """

    def __init__(self, allowed: Mapping[str, Any] | None = None, double: bool = False, half: bool = False) -> None:
        super().__init__()
        self.allowed, self.double, self.half = dict(allowed or {}), double, half
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return func(*args)
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # operations come here whole, which are taken apart before elsewhere
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        packet = func.overloadpacket
        found = list(_tensors((args, kwargs)))
        if any(t.device.type == "cuda" for t in found) or _goes_to_cuda(packet, kwargs):
            self._look(packet, func, found, args, kwargs)
        if packet in READ and found and found[0].device.type == "cuda":
            return self._read(found[0], self.wait(f"{func} reads a value"))
        try:
            out = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            if any(t.device.type == "cuda" for t in found):
                self.wait(f"{func} depends on values")
            raise error
        for tensor in _tensors(out):
            if tensor.device.type == "cuda" and tensor.ndim == 0 and tensor.dtype in HALVES and not self.half:
                raise WrongDtype(f"{self._where()[1]}: {func} makes a scalar in {tensor.dtype}")
            if tensor.device.type == "cuda" and tensor.dtype is torch.float64 and not self.double:
                raise WrongDtype(f"{self._where()[1]}: {func} computes in float64 on the device")
        return out

    def _look(self, packet: Any, func: Any, found: list[Tensor], args: Any, kwargs: Any) -> None:
        if packet in COPIES:
            self._copy(packet, func, args, kwargs)
        elif packet is aten.grid_sampler_2d and any(t.dtype in HALVES for t in found):
            raise WrongDtype(f"{self._where()[1]}: a picture is sampled in half precision, or at coordinates in it")
        elif packet in INDEXED:
            indices = [t for t in _tensors(args[1]) if t.device.type == "cpu"]
            if indices:
                self.wait(f"{func}: an index of shape {tuple(indices[0].shape)} is copied to the device")
            values = list(_tensors(args[2:3]))
            if values and any(t.dtype is torch.bool for t in _tensors(args[1])) and values[0].numel() != 1:
                self.wait(f"{func} by a mask counts it")
        left = [t for t in found if t.device.type == "cpu" and not (packet in TAKE_SCALARS and t.ndim == 0)]
        if left and packet not in COPIES | INDEXED and func is not torch.ops.aten.lift_fresh.default:
            raise LeftOnCpu(f"{self._where()[1]}: {func} takes a tensor of shape {tuple(left[0].shape)} on the CPU")

    def _copy(self, packet: Any, func: Any, args: Any, kwargs: Any) -> None:
        if packet is aten.copy_:
            to, source = args[0].device, args[1].device
            ahead = bool(args[2]) if len(args) > 2 else bool(kwargs.get("non_blocking"))
        else:
            to, source = kwargs.get("device") or args[0].device, args[0].device
            ahead = bool(kwargs.get("non_blocking"))
        if torch.device(to).type != source.type and not ahead:
            self.wait(f"{func} copies from {source.type} to {torch.device(to).type}")

    def wait(self, what: str) -> str:
        """The host waits here: an exception, but at the places that are allowed."""
        place, line = self._where()
        if place not in self.allowed:
            raise HostWait(f"{line}: {what}; the host waits for the device")
        self.waits[place] += 1
        return place

    def _read(self, tensor: Tensor, place: str) -> Any:
        return {torch.bool: bool}.get(tensor.dtype, float if tensor.is_floating_point() else int)(self.allowed[place])

    def _where(self) -> tuple[str, str]:
        """(``vit/losses.py:one_hot``, the same with the line) of the innermost code that is ours."""
        frame = sys._getframe(1)
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT) and path != Path(__file__) and "site-packages" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                return f"{name}:{frame.f_code.co_name}", f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"
            frame = frame.f_back
        return "?", "?"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _goes_to_cuda(packet: Any, kwargs: Mapping[str, Any]) -> bool:
    return packet in COPIES and kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda"


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Within, tensors can be made on ``CUDA`` and autocast works there. Tensors of before cannot be mixed in."""

    def no_gradients(outputs: Any, inputs: Sequence[Tensor], **options: Any) -> tuple[Tensor, ...]:
        return tuple(torch.zeros_like(x) for x in inputs)

    encoding._scale_and_shift.cache_clear()  # tensors of another device's making
    common = torch.cuda.amp.common
    tracer, collects = sys.gettrace(), gc.isenabled()
    gc.disable()  # fake tensors are many, and small
    sys.settrace(None)  # coverage would double the time, and other tests run the same lines
    try:
        with (
            mock.patch.object(common, "amp_definitely_not_available", lambda: False),  # else autocast switches off
            mock.patch.object(torch.cuda, "is_bf16_supported", lambda *args, **kwargs: True),
            mock.patch.object(torch.autograd, "grad", no_gradients),
            warnings.catch_warnings(),
            FakeTensorMode(allow_non_fake_inputs=False),
        ):
            yield
    finally:
        sys.settrace(tracer)
        if collects:
            gc.enable()
        encoding._scale_and_shift.cache_clear()


@contextmanager
def watched(allowed: Mapping[str, Any] | None = None, double: bool = False, half: bool = False) -> Iterator[Watch]:
    """Within ``fake_cuda``: every operation is looked at. ``torch.cuda.synchronize`` counts as a wait."""
    watch = Watch(allowed, double, half)
    with mock.patch.object(torch.cuda, "synchronize", lambda *args: watch.wait("torch.cuda.synchronize")), watch:
        yield watch


def to_fake(modules: Mapping[str, nn.Module]) -> None:
    """Puts pretended tensors in the place of all parameters and buffers (of modules made on ``meta``, say)."""
    for module in modules.values():
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    made = torch.empty(parameter.shape, dtype=parameter.dtype, device=CUDA)
                    part._parameters[name] = nn.Parameter(made, parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)


def check_losses(losses: Mapping[str, Tensor]) -> None:
    """Every loss is one number in fp32 on the device, and somebody learns from their sum.

    Raises:
        CudaFault: names the loss.
    """
    for name, value in losses.items():
        if value.device != CUDA:
            raise LeftOnCpu(f"the loss '{name}' is on {value.device}")
        if value.dtype is not torch.float32:
            raise WrongDtype(f"the loss '{name}' is in {value.dtype}")
        if value.ndim:
            raise CudaFault(f"the loss '{name}' has the shape {tuple(value.shape)}")
    if losses and not any(value.requires_grad for value in losses.values()):
        raise CudaFault("nothing learns from these losses")


def check_dtype(what: str, tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> None:
    """A result that must be on the device and in this type; None passes."""
    if tensor is not None and tensor.device != CUDA:
        raise LeftOnCpu(f"{what} is on {tensor.device}")
    if tensor is not None and tensor.dtype is not dtype:
        raise WrongDtype(f"{what} is in {tensor.dtype}, not in {dtype}")


# What tests plant into a task's loss, and what must find it.
PLANTED: dict[str, tuple[Callable[[Tensor], Tensor], type[CudaFault]]] = {
    "item": (lambda loss: loss * loss.mean().item(), HostWait),
    "mask": (lambda loss: loss.reshape(-1)[loss.reshape(-1) > 0].sum(), HostWait),
    "tensor": (lambda loss: loss * torch.tensor(2.0, device=CUDA), HostWait),
    "one tensor on the cpu": (lambda loss: loss * torch.ones(1), LeftOnCpu),
    "all on the cpu": (lambda loss: loss.to("cpu", non_blocking=True), LeftOnCpu),
    "half": (lambda loss: loss.half(), WrongDtype),
    "double": (lambda loss: loss.double(), WrongDtype),
}
