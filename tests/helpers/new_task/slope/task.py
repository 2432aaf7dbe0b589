"""One batch, from points to loss: x and y are (B, 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slope.config import DataConfig, SlopeConfig
from trainer.task import Phase, SampleDataset, Segment, Stage, StepContext, Task


class Points:
    """Points of a line; those of the validation split lie halfway between those of training."""

    def __init__(self, data: DataConfig, split: str) -> None:
        shift = 0.0 if split == "train" else 1.0 / data.count
        self.x = np.linspace(-1, 1, data.count, dtype=np.float32) + np.float32(shift)
        self.y = np.float32(data.slope) * self.x + np.float32(data.intercept)

    def __len__(self) -> int:
        return len(self.x)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"x": self.x[index : index + 1], "y": self.y[index : index + 1]}


class SlopeTask(Task):
    def __init__(self, config: SlopeConfig) -> None:
        self.config = config
        self.line = nn.Linear(1, 1, bias=config.model.bias)
        nn.init.zeros_(self.line.weight)

    def networks(self) -> dict[str, nn.Module]:
        return {"line": self.line}

    def phases(self, stage: Stage) -> tuple[Phase, ...]:
        return (Phase("main", ("line",)),)

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        return Points(self.config.data, split)

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        return {"square": nn.functional.mse_loss(self.line(segment["x"]), segment["y"])}

    def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
        return {"square": measure(self.line, loader)}


def measure(line: nn.Module, loader: Any) -> tuple[float, float]:
    """(sum of squared errors, how many) over batches with ``weight`` (B,), 0 where a sample only fills up."""
    total = weight = 0.0
    for batch in loader:
        with torch.no_grad():
            error = (line(batch["x"]) - batch["y"]).square().squeeze(1).double()
        total += (error * batch["weight"]).sum().item()
        weight += batch["weight"].sum().item()
    return total, weight
