"""What a network is asked about its attention, and the maps and figures that answer.

Shapes: B pictures, H heads, N = rows x columns patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.errors import ConfigError
from vit.analysis.attention.measures import (
    Fusion,
    Rollout,
    asked,
    fused,
    mean_distance,
    mean_entropy,
    row_of,
    to_prefix,
)
from vit.analysis.attention.taps import Taps

AUTO, POOL = "auto", "pool"
FIGURES = {"distance": mean_distance, "entropy": mean_entropy, "to_prefix": to_prefix}
"""Figures of a head, by name: mean distance in pixels, entropy in nats, share that goes to what is no patch."""


@dataclass(frozen=True)
class Question:
    """Which maps are wanted.

    Attributes:
        blocks: numbers from 1, ascending.
        heads: shown one by one, from 0; None: all; empty: only what they are together.
        fusion: how heads become one, in the map of a block and for the rollout.
        query: whose attention: see ``row_of``; ``pool``: the attention pooling's; ``auto``: what the head reads, the
            class token, else the pooling, else all patches.
        rollout: also through all blocks.
        discard: share of the smallest weights that the rollout leaves out.
    """

    blocks: Sequence[int]
    heads: Sequence[int] | None
    fusion: Fusion
    query: str
    rollout: bool
    discard: float


class Look:
    """A question put to one network.

    Args:
        taps: of the network.
        size: (height, width) of the pictures in pixels.
        question: what is asked.

    Attributes:
        query: the query token, ``auto`` decided.

    Raises:
        ConfigError: the network has no such token.
    """

    def __init__(self, taps: Taps, size: tuple[int, int], question: Question) -> None:
        self.taps, self.question = taps, question
        self.tokens = taps.tokens(size)
        self.query = question.query
        if self.query == AUTO:
            pooled = POOL if taps.pool is not None else "mean"
            self.query = pooled if self.tokens.cls is None or taps.pool is not None else "cls"
        if self.query == POOL and taps.pool is None:
            raise ConfigError(f"query=pool: {taps.label} has no attention pooling; query=auto asks what its head reads")
        self._pooled = self.query == POOL
        self._rows = None if self._pooled else row_of(self.query, self.tokens, taps.label)
        self._blocks = [] if self._pooled else [number - 1 for number in question.blocks]

    @property
    def place(self) -> tuple[int, int] | None:
        """Row and column of the patch whose attention it is; None: it is no single patch's."""
        row, cross, column = self.query.partition("x")
        return (int(row), int(column)) if cross else None

    def maps(self, show: Callable[[], object]) -> dict[str, Tensor]:
        """The maps, by what they are: (B, rows, columns), not negative.

        Args:
            show: shows pictures to the network, once.
        """
        found: dict[str, Tensor] = {}
        rollout = Rollout(self.question.fusion, self.question.discard)
        pooled: list[Tensor] = []

        def take(block: int, weights: Tensor) -> None:
            if block in self._blocks and self._rows is not None:
                self._add(found, f"block {block + 1}", asked(weights.float(), self._rows, self.tokens))
            if self.question.rollout:
                rollout.add(weights)

        needed = range(self.taps.depth) if self.question.rollout else self._blocks
        with self.taps.open(take, needed, pooled.append if self._pooled else None):
            show()
        through = rollout.product
        if pooled:
            prefix = self.tokens.prefix if pooled[0].shape[-1] > self.tokens.patches else 0
            self._add(found, "pooling", pooled[0][..., prefix:].float())
            if through is not None:
                own = fused(pooled[0].float(), self.question.fusion)[:, None]
                through = own @ through[:, through.shape[-1] - own.shape[-1] :, self.tokens.prefix :]
                found["rollout"] = through[:, 0]
        elif through is not None and self._rows is not None:
            found["rollout"] = asked(through, self._rows, self.tokens)
        together = [name for name in found if "head" not in name]
        order = [*together, *(name for name in found if name not in together)]
        return {name: found[name].unflatten(1, self.tokens.grid) for name in order}

    def _add(self, found: dict[str, Tensor], name: str, heads: Tensor) -> None:
        """Of maps (B, H, N): what the heads are together, and those that are shown."""
        count = heads.shape[1]
        found[f"{name} {self.question.fusion.value}"] = fused(heads, self.question.fusion)
        for head in range(count) if self.question.heads is None else self.question.heads:
            if not 0 <= head < count:
                raise ConfigError(f"heads: {self.taps.label} has {count} heads, 0 to {count - 1}, no {head}")
            found[f"{name} head {head}"] = heads[:, head]


def figures(taps: Taps, size: tuple[int, int], show: Callable[[], object]) -> dict[str, Tensor]:
    """``FIGURES`` of every head of every block, by name: (B, blocks, H).

    Args:
        size: (height, width) of the pictures in pixels.
        show: shows pictures to the network, once.
    """
    tokens = taps.tokens(size)
    found: dict[str, list[Tensor]] = {name: [] for name in FIGURES}

    def take(block: int, weights: Tensor) -> None:
        for name, measured in FIGURES.items():
            found[name].append(measured(weights, tokens))

    with taps.open(take, range(taps.depth)):
        show()
    return {name: torch.stack(values, dim=1) for name, values in found.items()}
