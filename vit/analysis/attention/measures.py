"""What is read out of attention weights: rollout, how far and how widely heads look, who looks at whom.

Shapes: B pictures, H heads, T tokens of which P stand before the N patches (``vit.analysis.attention.taps.Tokens``);
weights (B, H, T, T), a row is a query and sums to 1.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from trainer.errors import ConfigError
from vit.analysis.attention.taps import Tokens


class Fusion(Enum):
    """How the heads of a block become one."""

    mean = "mean"
    max = "max"
    min = "min"


def fused(weights: Tensor, fusion: Fusion) -> Tensor:
    """(B, H, ...) to (B, ...)."""
    if fusion is Fusion.mean:
        return weights.mean(dim=1)
    return weights.amax(dim=1) if fusion is Fusion.max else weights.amin(dim=1)


class Rollout:
    """Attention through all blocks (Abnar and Zuidema, 2020): the product of A = 0.5 W + 0.5 I, rows summing to 1.

    Args:
        fusion: of the heads; the paper has the mean.
        discard: this share of a picture's weights, the smallest, counts as 0 (an idea of Gildenblat's "vit-explain",
            2020, whose code does so for the first picture of a batch only).

    Attributes:
        product: (B, T, T) of the blocks so far.
    """

    def __init__(self, fusion: Fusion = Fusion.mean, discard: float = 0.0) -> None:
        self.fusion, self.discard = fusion, discard
        self.product: Tensor | None = None

    def add(self, weights: Tensor) -> None:
        """The next block's weights (B, H, T, T)."""
        one = fused(weights.float(), self.fusion)
        count = int(one[0].numel() * self.discard)
        if count:
            flat = one.flatten(1)
            one = flat.scatter(1, flat.topk(count, dim=1, largest=False).indices, 0.0).view_as(one)
        one = 0.5 * one + 0.5 * torch.eye(one.shape[-1], device=one.device)
        one = one / one.sum(dim=-1, keepdim=True)
        self.product = one if self.product is None else one @ self.product


def between_patches(tokens: Tokens) -> Tensor:
    """Euclidean distances between the centres of all patches in pixels, (N, N)."""
    rows, columns = tokens.grid
    y = torch.arange(rows).repeat_interleave(columns) * float(tokens.patch[0])
    x = torch.arange(columns).repeat(rows) * float(tokens.patch[1])
    return torch.hypot(y[:, None] - y, x[:, None] - x)


def mean_distance(weights: Tensor, tokens: Tokens) -> Tensor:
    """How far patches look, in pixels: (B, H) (Dosovitskiy et al., 2021, Figure 7 right).

    The mean over patches of the distance to other patches, weighted by attention. What goes to class token and
    registers has no distance: weights are those among patches, made to sum to 1.
    """
    among = weights[..., tokens.prefix :, tokens.prefix :].float()
    far = (among * between_patches(tokens).to(among)).sum(dim=-1)
    return (far / among.sum(dim=-1).clamp_min(1e-12)).mean(dim=-1)


def mean_entropy(weights: Tensor, tokens: Tokens) -> Tensor:
    """How widely patches look, in nats: (B, H). 0: each at one token; ln T: at all alike."""
    rows = weights[..., tokens.prefix :, :].float()
    return torch.special.entr(rows).sum(dim=-1).mean(dim=-1)


def to_prefix(weights: Tensor, tokens: Tokens) -> Tensor:
    """The share of the patches' attention that goes to class token, distillation token and registers: (B, H)."""
    return weights[..., tokens.prefix :, : tokens.prefix].float().sum(dim=-1).mean(dim=-1)


def holding(weights: Tensor, share: float) -> Tensor:
    """The smallest set of patches that holds a share of the attention (Caron et al., 2021; Naseer et al., 2021).

    Args:
        weights: (..., N), not negative.
        share: 0..1 of their sum.

    Returns:
        (..., N) bool.
    """
    ascending, order = weights.double().sort(dim=-1)
    rest = ascending.cumsum(dim=-1) / ascending.sum(dim=-1, keepdim=True).clamp_min(1e-300)
    kept = rest > 1 - share + 1e-9
    return torch.zeros_like(kept).scatter(-1, order, kept)


def row_of(query: str, tokens: Tokens, label: str) -> slice | list[int]:
    """The rows of the tokens that a query means.

    Args:
        query: ``cls``, ``dist``, ``avg`` (both), ``reg`` (all registers), ``reg2`` (the third one), ``mean`` (all
            patches), or a patch as ROWxCOLUMN, counted from 0.
        label: the model's, for errors.

    Raises:
        ConfigError: no such token in this network.
    """
    there = ["mean", f"0x0 to {tokens.grid[0] - 1}x{tokens.grid[1] - 1}"]
    own = {"cls": tokens.cls, "dist": tokens.dist}
    there += [name for name, row in own.items() if row is not None]
    there += ["avg"] if None not in own.values() else []
    if tokens.registers:
        there += ["reg", f"reg0 to reg{len(tokens.registers) - 1}"]
    if query == "mean":
        return slice(tokens.prefix, None)
    if query in ("cls", "dist", "avg"):
        rows = [row for name, row in own.items() if row is not None and query in (name, "avg")]
        if len(rows) == (2 if query == "avg" else 1):
            return rows
    elif query == "reg" and tokens.registers:
        return list(tokens.registers)
    elif query.startswith("reg") and query[3:].isdecimal() and int(query[3:]) < len(tokens.registers):
        return [tokens.registers[int(query[3:])]]
    else:
        row, cross, column = query.partition("x")
        inside = cross and row.isdecimal() and column.isdecimal()
        if inside and int(row) < tokens.grid[0] and int(column) < tokens.grid[1]:
            return [tokens.prefix + int(row) * tokens.grid[1] + int(column)]
    raise ConfigError(f"query={query}: {label} has no such token; it has {', '.join(there)}")


def asked(weights: Tensor, rows: slice | list[int], tokens: Tokens) -> Tensor:
    """What tokens attend to: of weights (..., T, T) the mean of some rows, at the patches: (..., N)."""
    return weights[..., rows, tokens.prefix :].mean(dim=-2)
