"""A task that ``fsdp2`` cuts block by block, with sizes that no number of processes divides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.helpers.toys import LinearTask, ToyTask
from trainer.task import Segment, StepContext


class Residual(nn.Module):
    """Seven rows, then five: on four processes the last shard of each is shorter or empty."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(5, 7), nn.Linear(7, 5)
        self.norm = nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(torch.tanh(self.inner(self.norm(x))))


class Stack(nn.Module):
    """Blocks between an embedding and a head of three rows, and a buffer that is trained upon."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.blocks = nn.ModuleList(Residual() for _ in range(3))
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(5))

    def features(self, x: Tensor) -> Tensor:
        """Called instead of ``forward``, as some tasks do."""
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class BlockTask(LinearTask):
    """``LinearTask`` with a deeper network.

    Args:
        parts: calls parts of the network, and never itself.
    """

    def __init__(self, parts: bool = False, **kwargs: Any) -> None:
        ToyTask.__init__(self, **kwargs)
        self.model: Any = Stack().double()
        self.parts = parts

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        x = segment["x"].mean(dim=1).to(self.model.embedding.weight.dtype)
        with ctx.amp():
            scores = self.model.head(self.model.features(x)) if self.parts else self.model(x)
        return {"class": nn.functional.cross_entropy(scores.double(), segment["y"])}

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        with ctx.amp():  # as in training: blocks are gathered in that precision
            return super().evaluate(loader, ctx)

    def score(self, x: Tensor) -> Tensor:
        return super().score(x.to(self.model.embedding.weight.dtype))

    def shard_blocks(self) -> list[nn.Module]:
        return list(self.model.blocks)

    def one_pass(self) -> bool:
        return not self.parts
