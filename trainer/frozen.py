"""Networks that others learn from and that never learn themselves: teachers, and features that losses compare by."""

from __future__ import annotations

from typing import Self

from torch import nn


class Frozen(nn.Module):
    """A module in evaluation mode whose parameters require no gradients once ``freeze`` was called."""

    def freeze(self) -> None:
        """To be called when all parts are there."""
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, whatever it is told."""
        return super().train(False)
