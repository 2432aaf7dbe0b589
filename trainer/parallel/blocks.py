"""Parameters in shards by torch's ``fully_shard`` (FSDP2; Zhao et al., 2023): a block is whole only while it works.

Each block and, with what is left, each network is a group: gathered before its forward and its backward pass, freed
after, its gradients reduced to rows during the backward pass of the others. What no block has (the embedding, the head)
stays whole from a micro-batch's beginning to the end of its backward pass, so a task may call parts of its networks
instead of their ``forward``.

Precision: blocks are gathered in the run's precision, half the bytes in bf16, gradients are reduced in fp32, and the
rows that optimisers move are fp32. Inputs are not cast: autocast does that where it is due. What no block has is
gathered in fp32, as parts of it are used outside autocast, and so are the blocks' norms and scales: autocast computes
with them in fp32, and what they weigh is little. They stay whole, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from trainer.parallel import fsdp_internals
from trainer.parallel.shards import Shards, Table, all_gather, reduce_scatter


class BlockShards(Shards):
    """See the head of this file.

    Args:
        networks, table: as of ``Shards``. Parameters may be in main memory: blocks are brought to the device one by
            one, so that it need never hold all of them.
        blocks: parts of the networks that are gathered one by one.
        dtype: in which blocks are gathered; None: as their parameters are.
    """

    blockwise = True

    def __init__(
        self, networks: Mapping[str, nn.Module], table: Table, blocks: Sequence[nn.Module], dtype: torch.dtype | None
    ) -> None:
        super().__init__(networks, table)
        own = MixedPrecisionPolicy(cast_forward_inputs=False)
        low = MixedPrecisionPolicy(
            param_dtype=dtype, reduce_dtype=None if dtype is None else torch.float32, cast_forward_inputs=False
        )
        blocks = [block for block in blocks if any(True for _ in block.parameters())]
        roots = [module for module in networks.values() if any(True for _ in module.parameters())]
        self._whole: list[FSDPModule] = []
        for root in roots:  # a group spans no two networks, for each is a tree of its own to fully_shard
            inside = [block for block in blocks if any(block is module for module in root.modules())]
            fine = [module for block in inside for module in _vectors_only(block)] if dtype else []
            if fine:
                fully_shard(fine, mesh=table.mesh, mp_policy=own, reshard_after_forward=False)
            self._whole += [module for module in fine[:1] if isinstance(module, FSDPModule)]
        for block in blocks:
            fully_shard(block, mesh=table.mesh, mp_policy=low, reshard_after_forward=True)
        for root in roots:
            fully_shard(root, mesh=table.mesh, mp_policy=own, reshard_after_forward=False)
        self._roots = [module for module in roots if isinstance(module, FSDPModule)]
        self._whole = [*self._roots, *self._whole]
        self._blocks = [block for block in blocks if isinstance(block, FSDPModule)]
        for root in self._roots:
            fsdp_internals.make_root(root)
        parts: list[Any] = self._parts()  # torch does not export the types of what it takes here
        for part in parts:
            part.set_custom_all_gather(_Gather(table))
            part.set_custom_reduce_scatter(_Scatter(table))
            if table.copies > 1:
                part.set_all_reduce_hook(table.mean_of_copies)
        for network, module in networks.items():
            for name, live in module.named_parameters():
                assert isinstance(live, DTensor)
                with torch.no_grad():
                    self._register(f"{network}.{name}", live.to_local(), live)

    def _parts(self) -> list[FSDPModule]:
        return [*self._whole, *self._blocks]

    def micro_batch(self, last: bool) -> None:
        for root in self._roots:
            root.set_requires_gradient_sync(last)
        for part in self._whole:
            part.unshard()

    def backward(self, loss: Tensor, rows: list[nn.Parameter]) -> None:
        loss.backward()  # there is one phase: nothing but its parameters requires gradients

    def reduce(self, rows: list[nn.Parameter]) -> None:
        for each in rows:
            live = self.live(each)
            each.grad = live.grad.to_local() if isinstance(live.grad, DTensor) else None
            live.grad = None

    def refresh(self, rows: Sequence[nn.Parameter] | None = None) -> None:
        for part in self._parts():
            part.reshard()  # what was gathered before counts no more

    @contextmanager
    def whole(self) -> Iterator[None]:
        self.refresh()
        for part in self._parts():
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        try:
            yield
        finally:
            self.refresh()
            for block in self._blocks:
                block.set_reshard_after_forward(True, recurse=False)

    def forget_gradients(self) -> None:
        super().forget_gradients()
        for root in self._roots:
            fsdp_internals.forget_pass(root)
        for part in self._parts():
            for group in fsdp_internals.groups(part):
                for parameter in group.fsdp_params:
                    parameter.unsharded_accumulated_grad = None
                    if hasattr(parameter, "_unsharded_param"):
                        parameter.unsharded_param.grad = None


def _vectors_only(block: nn.Module) -> Iterator[nn.Module]:
    """Norms and scales among the parts of a block: those whose parameters no matrix product takes.

    A scale that is the block's own, or beside matrices, is gathered with them: ``fully_shard`` takes modules whole.
    """
    for part in block.children():
        own = any(True for _ in part.parameters(recurse=False)) and type(part).forward is not nn.Module.forward
        if own and all(parameter.ndim < 2 for parameter in part.parameters()):
            yield part
        else:
            yield from _vectors_only(part)


class _Allocates:
    def __init__(self, table: Table) -> None:
        self.table = table

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)


class _Gather(_Allocates):
    """What ``fully_shard`` gathers with. In a rehearsal this shard stands for all: sizes and kernels are the same."""

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, async_op: bool = False
    ) -> Any:
        if not self.table.alone():
            return all_gather(output_tensor, input_tensor, group=group, async_op=async_op)
        for index, part in enumerate(output_tensor.chunk(group.size())):
            if index != group.rank():  # the input is a view of its own place
                part.copy_(input_tensor)
        return None


class _Scatter(_Allocates):
    """What ``fully_shard`` reduces gradients with; in a rehearsal nobody else's are added."""

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: dist.ProcessGroup, op: Any, async_op: bool = False
    ) -> Any:
        if not self.table.alone():
            return reduce_scatter(output_tensor, input_tensor, op=op, group=group, async_op=async_op)
        output_tensor.copy_(input_tensor.view(group.size(), -1)[group.rank()])
        return None
