"""What a process does with its share of the parameters, where they are sharded; nothing of it where they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from trainer.parallel.shards import Shards


class Sharing:
    """The half of ``Parallel`` that is about shards.

    Attributes:
        shards: what this process keeps of the parameters; None where it keeps all of them.
        shard_group: processes that share one copy of the state; None: all.
    """

    device: torch.device
    host: Any
    shards: Shards | None = None
    shard_group: int | None = None
    _alone: bool

    @property
    def norms(self) -> Callable[[Tensor], Tensor] | None:
        """What makes norms of whole tensors of those of this process's rows; None where parameters are whole."""
        return None if self.shards is None else self.shards.table.norms

    def shard(self, networks: Mapping[str, nn.Module], blocks: Sequence[nn.Module], dtype: torch.dtype | None) -> None:
        """Leaves this process its rows of all parameters. Needs ``start``; all processes call it alike, once.

        Args:
            networks: by name; their parameters are replaced.
            blocks: parts of them that are whole one at a time; none: see ``StateShards``.
            dtype: in which blocks are gathered; None: as they are.

        Raises:
            ConfigError: a parameter cannot be divided.
        """
        from trainer.parallel.blocks import BlockShards  # FSDP and DTensor take their time to import
        from trainer.parallel.shards import StateShards, Table

        table = Table(self.device, self.shard_group, self.host, lambda: self._alone)
        if blocks:
            self.shards = BlockShards(networks, table, blocks, dtype)
        else:
            self.shards = StateShards(networks, table)

    def refresh(self, parameters: Sequence[nn.Parameter] | None = None) -> None:
        """Parameters (None: any) have changed: where they are shards, the networks follow. All must call it alike."""
        if self.shards is not None:
            self.shards.refresh(parameters)

    def forget_gradients(self) -> None:
        """Drops what a step that was broken off has left in shards."""
        if self.shards is not None:
            self.shards.forget_gradients()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, networks are whole on every process, which may call them alone; without gradients."""
        with nullcontext() if self.shards is None else self.shards.whole():
            yield

    def own(self, name: str, value: Tensor) -> Tensor:
        """This process's share of a tensor that belongs to a parameter, by full name; all of it without shards."""
        return value if self.shards is None else self.shards.own(name, value)

    def distributed(self, name: str, value: Tensor) -> Tensor:
        """Counterpart of ``own``: a share as part of the whole, as checkpoints take it."""
        return value if self.shards is None else self.shards.distributed(name, value)

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors of shares, in the main memory of rank 0; empty on others. Without shards all as they are."""
        if self.shards is None:
            return dict(tensors)
        found = {name: self.shards.table.gathered(tensor) for name, tensor in tensors.items()}
        return {name: tensor for name, tensor in found.items() if tensor is not None}
