"""Where a token is: sine-cosine tables, and the resampling of learned tables and of patch kernels to other sizes.

Shapes: N = rows x columns patches, N' at another size, D the width of a token, C channels, p pixels a side of a patch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.config import PosEmbed, PosInterp

BASE = 10_000.0  # longest wavelength over 2 pi, in patches


def sincos2d(grid: tuple[int, int], dim: int, kind: PosEmbed) -> Tensor:
    """A fixed table of positions, (1, rows * columns, dim), fp32, rows first.

    ``sincos2d`` is MoCo-v3's and big_vision's: wavelengths 1 to BASE both included, parts [sin x, cos x, sin y, cos y].
    ``sincos2d_mae`` is MAE's: BASE is excluded, parts the same; for x running along a row. The two differ everywhere.

    Args:
        grid: rows and columns.
        dim: width D, divisible by 4 and at least 8.
        kind: which of the two tables.

    Raises:
        ValueError: ``dim`` does not suit, or ``kind`` has no table.
    """
    if dim % 4 or dim < 8:
        raise ValueError(f"sine-cosine positions need a width of at least 8 divisible by 4, not {dim}")
    if kind not in (PosEmbed.sincos2d, PosEmbed.sincos2d_mae):
        raise ValueError(f"{kind} is no sine-cosine table")
    bands = dim // 4
    steps = bands - 1 if kind is PosEmbed.sincos2d else bands
    omega = BASE ** -(torch.arange(bands, dtype=torch.float64) / steps)
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    x, y = x.reshape(-1, 1) * omega, y.reshape(-1, 1) * omega
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1).float()[None]


def _line(old: int, new: int, method: PosInterp, device: torch.device) -> Tensor:
    """(new, old): the matrix that resamples a line of ``old`` values to ``new``."""
    eye = torch.eye(old, device=device)[None, None]
    if method is not PosInterp.bilinear_jax:
        smooth = method is PosInterp.bicubic
        return F.interpolate(eye, (new, old), mode="bicubic", align_corners=False, antialias=smooth)[0, 0]
    return F.interpolate(eye, (new, old), mode="bilinear", align_corners=True)[0, 0]


def resample(table: Tensor, old: tuple[int, int], new: tuple[int, int], prefix: int, method: PosInterp) -> Tensor:
    """A learned table at another grid: (1, prefix + N, D) -> (1, prefix + N', D), computed in fp32.

    Done as two matrix products, one per axis, for a backward pass that is the same every time on CUDA too (the backward
    of ``interpolate`` adds atomically there).

    Args:
        table: positions; the first ``prefix`` rows belong to class and distillation tokens and stay.
        old, new: (rows, columns) of patches before and after. Equal: ``table`` itself is returned.
        prefix: rows before the patches.
        method: ``bicubic`` with anti-aliasing (timm), ``bicubic_plain`` without (DeiT, MAE; torch's kernel is another
            one then, so that it differs where a grid grows too), or ``bilinear_jax``: bilinear with corners aligned
            (scipy.ndimage.zoom of order 1, which vision_transformer and big_vision use).

    Raises:
        ValueError: the table does not have ``prefix + rows * columns`` rows.
    """
    if table.ndim != 3 or table.shape[1] != prefix + old[0] * old[1]:
        raise ValueError(f"a table of shape {tuple(table.shape)} has no {prefix} + {old[0]} x {old[1]} rows")
    if old == new:
        return table
    with torch.autocast(table.device.type, enabled=False):
        patches = table[:, prefix:].float().unflatten(1, old)
        rows, columns = (_line(*sides, method, table.device) for sides in zip(old, new, strict=True))
        patches = torch.einsum("yh,bhwd->bywd", rows, patches)
        patches = torch.einsum("xw,bywd->byxd", columns, patches).flatten(1, 2)
    return torch.cat([table[:, :prefix], patches.to(table.dtype)], dim=1)


def resample_patch(weight: Tensor, new_patch: int) -> Tensor:
    """Patch kernels at another patch size: (D, C, p, p) -> (D, C, new, new), also (D, C, t, p, p); same dtype.

    FlexiViT's pseudo-inverse resizing (Beyer et al., 2023, section 3.4): the kernel whose responses to resized patches
    differ least from the old responses to the patches, w' = pinv(B^T) w with B the resizing of a patch. B is bicubic
    with anti-aliasing, as in timm.
    """
    old = weight.shape[-1]
    if weight.shape[-2] != old:
        raise ValueError(f"patches are square, not {tuple(weight.shape[-2:])}")
    if old == new_patch:
        return weight
    line = _line(old, new_patch, PosInterp.bicubic, weight.device).double()
    inverse = torch.linalg.pinv(line.T)  # (new, old); the pseudo-inverse of a Kronecker product is that of its factors
    kernels = weight.flatten(1, -3).double()  # frames of a tubelet are resized one by one, as channels are
    resized = torch.einsum("ya,xb,dcab->dcyx", inverse, inverse, kernels).to(weight.dtype)
    return resized.unflatten(1, weight.shape[1:-2])
