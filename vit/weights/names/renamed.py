"""Tensors under our names, and what their old names tell; what all translations share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainer.text import few
from vit.weights.names.heads import settle, take_beside

Tensors = dict[str, Tensor]

PATCH = "patch_embed.proj.weight"
PRETRAINED = ("MoCo v3", "DINO")  # makers whose heads project features for the loss of pre-training


@dataclass
class Renamed:
    """Tensors under our names, and what their old names tell.

    Attributes:
        state: by our names.
        family: ``timm``, ``hf`` or ``torchvision``.
        maker: who publishes such files, as far as names tell: ``MAE``, ``DINOv2``, ``DeiT III``...; or empty.
        known: fields of an architecture that the names settle.
        notes: what was left out or rewritten.
        lost_head: why the classifier in the file cannot be read; empty where it can, or there is none.
    """

    state: Tensors
    family: str
    maker: str = ""
    known: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lost_head: str = ""

    def leave_out(self, names: list[str], why: str) -> None:
        """Notes tensors that are not taken over."""
        if names:
            self.notes.append(f"left out ({why}): {few(sorted(names))}")

    def settle_head(self, names: list[str]) -> None:
        """Makes one linear layer of the tensors of a head, or says why it cannot be read."""
        notes, self.lost_head = settle(self.state, names, self.state[PATCH].shape[0])
        self.notes += notes + ([f"left out: {self.lost_head}"] if self.lost_head else [])

    def head_beside(self, tensors: Mapping[str, Tensor], outside: list[str], prefix: str) -> list[str]:
        """Takes a head that stands beside the network; returns what else is outside."""
        if not self.lost_head and self.maker not in (*PRETRAINED, "MAE"):
            pooled = self.family == "hf"
            notes, self.lost_head, outside = take_beside(self.state, tensors, outside, prefix, pooled)
            self.notes += notes
        return outside


def inside_outside(tensors: Mapping[str, Tensor], prefix: str) -> tuple[Tensors, list[str]]:
    """Those under a prefix, without it, and the names of the others."""
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return inside, [name for name in tensors if not name.startswith(prefix)]
