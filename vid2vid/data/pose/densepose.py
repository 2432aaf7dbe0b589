"""DensePose maps (Gueler et al. 2018) as pictures: U and V of the surface, and which of 24 parts of the body it is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError

PARTS = 24  # 0 is the background; 23 and 24 are the head


def check_iuv(iuv: Tensor, path: Path) -> None:
    """Refuse what is no map of parts.

    Args:
        iuv: uint8 (3, H, W) as the file's RGB.
    Raises:
        DataError: the third channel holds other values than 0..24, and where they may be instead; or the picture is
            grey, as DensePose's files of who is who are (_INDS).
    """
    highest = [int(channel.max()) for channel in iuv]
    if 0 < highest[2] <= PARTS and torch.equal(iuv[0], iuv[2]) and torch.equal(iuv[1], iuv[2]):
        raise DataError(
            f"{path}: is no DensePose map: it is grey, so U and V are missing, as in DensePose's _INDS files. Keep its "
            "_IUV files in a folder of their own, and name that one in data.sources"
        )
    if highest[2] > PARTS:
        elsewhere = "its first channel does: exchange the first and the third" if highest[0] <= PARTS else ""
        remedy = elsewhere or "write the part as it is, not scaled, as the third channel of a PNG"
        raise DataError(
            f"{path}: is no DensePose map: its third channel goes up to {highest[2]} and should hold the part, "
            f"0..{PARTS}; {remedy}"
        )


def draw_iuv(iuv: Tensor, dropped: Collection[int] = ()) -> Tensor:
    """A map as the network sees it: parts spread over all values, as in the released code, none between two of them.

    Args:
        iuv: uint8 (3, H, W), resized to the nearest pixel: a value between two parts would be a third one.
        dropped: parts that become background.
    Returns:
        uint8 (3, H, W), the third channel the part times 255 / 24, rounded.
    """
    table = torch.tensor([round(part * 255 / PARTS) for part in range(PARTS + 1)], dtype=torch.uint8)
    drawn = torch.cat([iuv[:2], table[iuv[2:].long()]])
    if dropped:
        gone = torch.isin(iuv[2], torch.tensor(sorted(dropped), dtype=torch.uint8))
        drawn = drawn.masked_fill(gone, 0)
    return drawn


def dropped_parts(rng: np.random.Generator, probability: float) -> frozenset[int]:
    """Each of the 24 parts on its own with a probability."""
    return frozenset((1 + np.flatnonzero(rng.random(PARTS) < probability)).tolist())
