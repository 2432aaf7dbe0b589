"""A phase's gradients as the mean over all processes: packed and all-reduced after it, or by DDP during it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainer.optim import foreach

BUCKET_BYTES = 32 * 2**20
# Buffers stay each process's own between checkpoints; torch 2.15 gave the switch another name.
_DDP_OPTIONS = inspect.signature(nn.parallel.DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {
    ("forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers"): False
}


@torch.no_grad()
def average(parameters: list[nn.Parameter], world: int, host: Any, alone: bool = False) -> None:
    """Replaces gradients by their mean over all processes, which must call this alike.

    A parameter without gradient in some process counts as zero there; without any, it stays without.

    Args:
        parameters: in the same order everywhere.
        world: number of processes.
        host: process group through which they tell which gradients there are.
        alone: the same work on this process's gradients, without the others (a rehearsal): they stay as they are.
    """
    present = present_anywhere(parameters, host, alone)
    used = [p for p, some in zip(parameters, present, strict=True) if some]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [p.grad for p in used if p.grad is not None]
    pending = []
    for bucket in ([grads[index] for index in indexes] for indexes in buckets(grads)):
        flat = torch.cat([grad.reshape(-1) for grad in bucket])
        pending.append((bucket, flat, None if alone else dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in pending:
        if work is not None:
            work.wait()
        flat /= 1 if alone else world
        parts = flat.split([grad.numel() for grad in bucket])
        foreach.copy_(bucket, [part.view(g.shape) for part, g in zip(parts, bucket, strict=True)])


def present_anywhere(parameters: list[nn.Parameter], host: Any, alone: bool) -> list[bool]:
    """For each parameter, whether any process has a gradient of it (``alone``: whether this one has)."""
    present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
    if not alone:
        dist.all_reduce(present, dist.ReduceOp.MAX, group=host)
    return [bool(some) for some in present.tolist()]


def put_ddp_into(
    module: nn.Module, device: torch.device
) -> tuple[nn.parallel.DistributedDataParallel, Callable[..., Any]]:
    """Has a module's ``forward`` go through DDP; deleting the instance's attribute ``forward`` undoes it.

    Returns:
        DDP, and the forward as it was.
    """
    inner = _Forward(module)
    devices = [device] if device.type == "cuda" else None
    ddp = nn.parallel.DistributedDataParallel(inner, device_ids=devices, **_OWN_BUFFERS)
    module.forward = _through(ddp, inner.original)
    return ddp, inner.original


class _Forward(nn.Module):
    """A module's own forward as a module of its own, for DDP to wrap without calling the replaced one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.original = module.forward
        self.called = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.called = True
        return self.original(*args, **kwargs)


def _through(ddp: nn.Module, original: Callable[..., Any]) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        # Evaluation need not be in step on all processes, and has no gradients to reduce.
        return ddp(*args, **kwargs) if torch.is_grad_enabled() else original(*args, **kwargs)

    return forward


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[int]]:
    """Places of tensors of one type, together at most ``BUCKET_BYTES`` (a larger one alone), in a fixed order."""
    groups: dict[torch.dtype, list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault(tensor.dtype, []).append(index)
    for group in groups.values():
        bucket: list[int] = []
        size = 0
        for index in group:
            if bucket and size + tensors[index].nbytes > BUCKET_BYTES:
                yield bucket
                bucket, size = [], 0
            bucket.append(index)
            size += tensors[index].nbytes
        yield bucket
