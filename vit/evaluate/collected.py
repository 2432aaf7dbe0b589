"""Rows that gather on the CPU batch by batch, without the host waiting for the device in between."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.device.clock import synchronize


class Collected:
    """Columns of samples; those that only fill up a batch are left out when the columns are read.

    Args:
        device: where the batches come from.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._batches: list[tuple[Tensor, ...]] = []

    def add(self, counts: Tensor, *columns: Tensor) -> None:
        """A batch: ``counts`` (B,) bool, and columns (B, ...), which nobody may change afterwards."""
        # From a device this copies into pinned memory and does not wait.
        self._batches.append(tuple(part.to("cpu", non_blocking=True) for part in (counts, *columns)))

    def columns(self) -> tuple[Tensor, ...]:
        """The columns (N, ...) on the CPU; none where nothing was added. Waits for what is still on its way."""
        synchronize(self.device)
        kept = [[column[counts] for column in columns] for counts, *columns in self._batches]
        return tuple(torch.cat(parts) for parts in zip(*kept, strict=True))
