"""What a plain ViT has learnt before its first block: filters of patches, positions.

Shapes: D the width of a token, C channels, p x p pixels a patch, N = rows x columns patches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import UserError
from vit.model.timm_model import TimmClassifier, bare


def patch_filters(model: nn.Module, label: str) -> Tensor:
    """The filters of the patch embedding: (D, C, p, p) float32.

    Raises:
        UserError: patches are embedded in another way.
    """
    embed: Any = getattr(bare(model), "patch_embed", None)
    weight = getattr(getattr(embed, "proj", None), "weight", None)
    if weight is None or weight.ndim != 4 or weight.shape[-1] == 1:
        raise UserError(
            f"{label} has no linear patch embedding, whose filters could be looked at; parts=[positions,distance] "
            "leaves them out"
        )
    return weight.detach().float().cpu()


def principal_filters(filters: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Principal components of filters, the largest first (Figure 7, left).

    Args:
        filters: (D, C, p, p).
        count: at most so many; never more than there are directions.

    Returns:
        (n, C, p, p) of unit length, the sign such that the largest weight is positive; and the share of the filters'
        variance along each, (n,).
    """
    flat = filters.flatten(1).double()
    _, spread, components = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    components = components[:count]
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    share = spread.square() / spread.square().sum().clamp_min(1e-300)
    return (components * largest.sign()).float().view(-1, *filters.shape[1:]), share[:count].float()


def position_table(model: nn.Module, label: str) -> Tensor:
    """Positions of the patches, as stored: (rows, columns, D) float32.

    Raises:
        UserError: the network adds none.
    """
    net: Any = bare(model)
    table = getattr(net, "pos_embed", None)
    if not isinstance(table, Tensor) or table.ndim != 3:
        raise UserError(
            f"{label} adds no table of positions (it has none, or rotary or relative ones); parts=[filters,distance] "
            "leaves it out"
        )
    rows, columns = net.patch_embed.grid_size if isinstance(model, TimmClassifier) else net.arch.grid
    return table[0, table.shape[1] - rows * columns :].detach().float().cpu().view(rows, columns, -1)


def similarity(positions: Tensor) -> Tensor:
    """Cosine between the positions of all patches: (rows, columns, D) to (rows, columns, rows, columns)."""
    unit = nn.functional.normalize(positions, dim=-1)
    return torch.einsum("abd,xyd->abxy", unit, unit)


def neighbours(cosines: Tensor) -> tuple[float, float]:
    """The mean cosine of patches side by side or one above the other, and of all other pairs; NaN without any."""
    rows, columns = cosines.shape[:2]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    y, x = y.flatten(), x.flatten()
    apart = (y[:, None] - y).abs() + (x[:, None] - x).abs()
    flat = cosines.reshape(rows * columns, -1)
    return float(flat[apart == 1].mean()), float(flat[apart > 1].mean())
