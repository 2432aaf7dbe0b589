"""Parameters in shards (``trainer.strategy=fsdp2``): what a process keeps of each are some of its rows.

Optimisers, averages and gradient norms see *rows*: plain tensors, parts of the first dimension, cut as torch's
``fully_shard`` and ``Shard(0)`` of DTensor cut them (equal chunks, the last ones shorter or empty). What the networks
compute with is the business of a form:

- ``BlockShards`` (trainer/parallel/blocks.py): torch's ``fully_shard``, a block at a time. For tasks with one phase
  that name their blocks (``Task.shard_blocks``).
- ``StateShards`` here: the networks keep whole weights, of which the rows are views; gradients are reduced to rows and
  what optimisers and averages keep are rows (stage 2 of ZeRO; Rajbhandari et al., 2020). It asks nothing of forward
  and backward passes, so it serves several phases, shared passes and networks whose parts are called one by one. A
  network that cannot be cut into blocks gains nothing from ``fully_shard``: for its passes it has to be whole.

With hybrid sharding the processes form a table: shards lie along a row, and rows of the table are copies of each other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from trainer.errors import ConfigError
from trainer.optim import foreach
from trainer.parallel.gradients import buckets, present_anywhere

# torch renamed both in 2.14
all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class Table:
    """The processes as a table of copies times shards; all of them construct it together.

    Args:
        device: of this process.
        per_group: processes that share one copy of the state; None: all of them.
        host: the gloo group of all processes.
        alone: whether nothing is communicated at the moment (a rehearsal).

    Attributes:
        mesh: this process's row of the table, one dimension.
        count, index: shards, and which of them is this process's.
        rank: of the process among all.
    """

    def __init__(self, device: torch.device, per_group: int | None, host: Any, alone: Callable[[], bool]) -> None:
        world, self.rank = dist.get_world_size(), dist.get_rank()
        self.count = per_group or world
        self.host, self.alone, self.device = host, alone, device
        if self.count == world:
            self.mesh: DeviceMesh = init_device_mesh(device.type, (world,), mesh_dim_names=("shard",))
            self._copies: Any = None
        else:
            names = ("replicate", "shard")
            table = init_device_mesh(device.type, (world // self.count, self.count), mesh_dim_names=names)
            self.mesh, self._copies = table["shard"], table["replicate"].get_group()
        self.copies = world // self.count
        self.group = self.mesh.get_group()
        self.index = self.mesh.get_local_rank()

    def rows(self, shape: Sequence[int], index: int | None = None) -> tuple[int, int]:
        """(first row, number of rows) of a parameter that a shard has."""
        chunk = self.chunk(shape)
        first = min((self.index if index is None else index) * chunk, shape[0])
        return first, min(chunk, shape[0] - first)

    def chunk(self, shape: Sequence[int]) -> int:
        """Rows of the first, largest shard."""
        return -(-shape[0] // self.count)

    def norms(self, own: Tensor) -> Tensor:
        """Norms of what the shards are parts of, out of those of this one's rows; a new tensor on the device."""
        squares = own.double().square()
        if not self.alone():
            dist.all_reduce(squares, group=self.group)
        return squares.sqrt().to(own.dtype)

    def mean_of_copies(self, flat: Tensor) -> None:
        """In place, the mean over the processes that have the same shard."""
        if self._copies is not None and not self.alone():
            dist.all_reduce(flat, group=self._copies)
            flat /= self.copies

    def distributed(self, rows: Tensor, shape: torch.Size) -> DTensor:
        """Rows as part of a tensor of that shape."""
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(rows, self.mesh, [Shard(0)], run_check=False, shape=shape, stride=stride)

    @torch.no_grad()
    def gathered(self, tensor: Tensor) -> Tensor | None:
        """A tensor in the main memory of rank 0, None elsewhere. Shards go there one by one, through the host's group.

        All processes call it for the same tensors in the same order.
        """
        if not isinstance(tensor, DTensor):
            return tensor.detach().cpu() if self.rank == 0 else None
        shape, rows = tensor.shape, tensor.to_local().cpu().contiguous()
        if self.rank:
            if self.rank < self.count and len(rows):
                dist.send(rows, dst=0, group=self.host)
            return None
        whole = torch.empty(shape, dtype=rows.dtype)
        for other in range(self.count):
            first, number = self.rows(shape, other)
            if other == 0:
                whole[first : first + number] = rows
            elif number:
                dist.recv(whole.narrow(0, first, number), src=other, group=self.host)
        return whole


class Shards(ABC):
    """The rows of all parameters that this process keeps.

    Args:
        networks: by name; all parameters on the device, or to be brought there.
        table: the processes.

    Attributes:
        rows: by full name (``network.parameter``); what optimisers and averages are made for.

    Raises:
        ConfigError: a parameter has no dimension to be cut along.
    """

    blockwise = False

    def __init__(self, networks: Mapping[str, nn.Module], table: Table) -> None:
        self.networks, self.table = networks, table
        self.shapes = {f"{n}.{name}": p.shape for n, net in networks.items() for name, p in net.named_parameters()}
        for name, shape in self.shapes.items():
            if not shape:
                raise ConfigError(
                    f"trainer.strategy=fsdp2: parameter {name} is a single number, which has no rows to be divided; "
                    "use trainer.strategy=flat"
                )
        self.rows: dict[str, nn.Parameter] = {}
        self._live: dict[int, nn.Parameter] = {}  # by id of the rows: the networks' own parameter

    def _register(self, name: str, rows: Tensor, live: nn.Parameter) -> None:
        self.rows[name] = nn.Parameter(rows)
        self._live[id(self.rows[name])] = live

    def live(self, rows: Tensor) -> nn.Parameter:
        """The networks' own parameter to which rows belong."""
        return self._live[id(rows)]

    def own(self, name: str, value: Tensor) -> Tensor:
        """Of a tensor as large as the parameter, whole or distributed, this process's rows; any other as it is."""
        if isinstance(value, DTensor):
            return value.to_local()
        shape = self.shapes.get(name)
        return value if shape is None or value.shape != shape else value.narrow(0, *self.table.rows(shape))

    def distributed(self, name: str, value: Tensor) -> Tensor:
        """Rows as part of the whole, for a checkpoint; what is not of the shape of the parameter's rows as it is."""
        if name not in self.rows or not value.ndim or value.shape != self.rows[name].shape:
            return value
        return self.table.distributed(value, self.shapes[name])

    def empty(self, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor | None:
        """Room for the rows of a tensor of a parameter's shape, as part of the whole; None for any other tensor."""
        if self.shapes.get(name) != shape:
            return None
        return self.table.distributed(torch.empty_like(self.rows[name], dtype=dtype, requires_grad=False), shape)

    def gradient(self, rows: nn.Parameter) -> Tensor | None:
        """What backward has left for the parameter of these rows: its gradient, or that of the rows alone."""
        grad = self.live(rows).grad
        return grad.to_local() if isinstance(grad, DTensor) else grad

    @abstractmethod
    def micro_batch(self, last: bool) -> None:
        """A micro-batch begins; gradients are communicated in the last one at most."""

    @abstractmethod
    def backward(self, loss: Tensor, rows: list[nn.Parameter]) -> None:
        """Accumulates gradients in the parameters to which these rows belong."""

    @abstractmethod
    def reduce(self, rows: list[nn.Parameter]) -> None:
        """Gives rows the mean of their gradients over all processes, and takes them from the networks."""

    @abstractmethod
    def refresh(self, rows: Sequence[nn.Parameter] | None = None) -> None:
        """The rows (None: any of them) have changed: the networks follow. All processes call it alike."""

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, networks are whole and may be called by any process, as often as it likes, without gradients."""
        yield

    def forget_gradients(self) -> None:
        """Drops what a step that was broken off has left."""
        for rows in self.rows.values():
            rows.grad = self.live(rows).grad = None


class StateShards(Shards):
    """Whole weights; gradients reduced to rows; moments and averages of rows. See the head of this file."""

    def __init__(self, networks: Mapping[str, nn.Module], table: Table) -> None:
        super().__init__(networks, table)
        for network, module in networks.items():
            for name, live in module.named_parameters():
                full = f"{network}.{name}"
                self._register(full, live.detach().narrow(0, *table.rows(live.shape)), live)

    def micro_batch(self, last: bool) -> None: ...

    def backward(self, loss: Tensor, rows: list[nn.Parameter]) -> None:
        torch.autograd.backward(loss, inputs=[self.live(each) for each in rows])

    @torch.no_grad()
    def reduce(self, rows: list[nn.Parameter]) -> None:
        """A parameter without gradient in some process counts as zero there; without any, it stays without."""
        table = self.table
        pairs = [(each, self.live(each)) for each in rows]
        present = present_anywhere([live for _, live in pairs], table.host, table.alone())
        used = [pair for pair, some in zip(pairs, present, strict=True) if some]
        grads = [torch.zeros_like(live) if live.grad is None else live.grad for _, live in used]
        for _, live in pairs:
            live.grad = None
        for bucket in buckets(grads):
            members = [used[index] for index in bucket]
            packed = foreach.chunk_cat([grads[index].contiguous() for index in bucket], 0, table.count)
            flat = torch.empty_like(packed[0])
            if table.alone():
                flat.copy_(packed[table.index])
            else:
                reduce_scatter(flat, packed.reshape(-1), group=table.group)
                flat /= table.count
            table.mean_of_copies(flat)
            for (each, _), piece in zip(members, flat.split(self._padded([live for _, live in members])), strict=True):
                # In the memory format of the rows: fused kernels walk through both side by side.
                each.grad = torch.empty_like(each).copy_(piece[: each.numel()].view(each.shape))

    @torch.no_grad()
    def refresh(self, rows: Sequence[nn.Parameter] | None = None) -> None:
        table = self.table
        if table.alone():
            return
        wanted = list(self.rows.values()) if rows is None else list(rows)
        lives = [self.live(each) for each in wanted]
        for bucket in buckets(lives):
            members = [lives[index] for index in bucket]
            sizes = self._padded(members)
            flat = members[0].new_zeros(sum(sizes))
            for index, piece in zip(bucket, flat.split(sizes), strict=True):
                piece[: wanted[index].numel()].view(wanted[index].shape).copy_(wanted[index])
            everyone = flat.new_empty(table.count * flat.numel())
            all_gather(everyone, flat, group=table.group)
            pieces = everyone.view(table.count, -1).split(sizes, dim=1)
            whole = [p.reshape(-1)[: live.numel()].view(live.shape) for live, p in zip(members, pieces, strict=True)]
            foreach.copy_([live.detach() for live in members], whole)

    def _padded(self, parameters: Sequence[Tensor]) -> list[int]:
        """Numbers that every shard gives, each as many as the largest has."""
        return [self.table.chunk(p.shape) * (p.numel() // max(p.shape[0], 1)) for p in parameters]
