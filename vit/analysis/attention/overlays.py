"""Maps laid over pictures, and sheets of them with captions.

Pictures are (C, H, W) uint8; maps (rows, columns), not negative, of any scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.records.media import as_rgb, label_panel

_GAP = 3  # pixels of white around a tile
_DIMMED = 0.8  # brightness of a picture where nothing is attended to


def stretched(values: Tensor, size: tuple[int, int], nearest: bool = False) -> Tensor:
    """A map as large as a picture, (H, W) in 0..1: its smallest value is 0, its largest 1."""
    low, high = values.amin(), values.amax()
    scaled = ((values - low) / (high - low).clamp_min(1e-12)).float()[None, None]
    mode = {"mode": "nearest"} if nearest else {"mode": "bilinear", "align_corners": False}
    return F.interpolate(scaled, size, **mode)[0, 0].cpu()  # type: ignore[arg-type]


def heat(values: Tensor) -> Tensor:
    """Values 0..1 (H, W) as colours from black over red to white: (3, H, W) uint8."""
    from matplotlib import colormaps

    return torch.from_numpy(colormaps["inferno"](values.numpy(), bytes=True)[..., :3].copy()).permute(2, 0, 1)


def overlay(picture: Tensor, values: Tensor) -> Tensor:
    """A picture under a map: grey and dim where nothing is attended to, coloured where much is.

    Args:
        values: (H, W) in 0..1.

    Returns:
        (3, H, W) uint8.
    """
    from matplotlib import colormaps

    shown = as_colour(picture).float()
    colour = torch.from_numpy(colormaps["turbo"](values.numpy())[..., :3].copy()).permute(2, 0, 1).float() * 255
    ground = (0.6 * shown.mean(dim=0, keepdim=True) + 0.4 * shown) * _DIMMED
    share = 0.08 + 0.62 * values
    return (ground * (1 - share) + colour * share).round().clamp(0, 255).byte()


def as_colour(picture: Tensor) -> Tensor:
    """``as_rgb`` on the CPU: (C, H, W) as (3, H, W)."""
    return as_rgb(picture).cpu()


def tinted(picture: Tensor, mask: Tensor, colour: tuple[int, int, int]) -> Tensor:
    """A picture (C, H, W) with the pixels of a mask (H, W) bool coloured and the others dimmed: (3, H, W) uint8."""
    shown = as_colour(picture).float()
    paint = torch.tensor(colour).view(3, 1, 1).float()
    return torch.where(mask.cpu(), 0.5 * shown + 0.5 * paint, 0.4 * shown).round().byte()


def framed(picture: Tensor, place: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """A picture (3, H, W) with a white frame around the patch at (row, column)."""
    top, left = place[0] * patch[0], place[1] * patch[1]
    marked = picture.clone()
    inner = marked[:, top + 1 : top + patch[0] - 1, left + 1 : left + patch[1] - 1].clone()
    marked[:, top : top + patch[0], left : left + patch[1]] = 255
    marked[:, top + 1 : top + patch[0] - 1, left + 1 : left + patch[1] - 1] = inner
    return marked


def tiles(cells: Sequence[tuple[str, Tensor]], side: int) -> Tensor:
    """Pictures (3, H, W) of one shape in a row, each under its caption: (H', W', 3) uint8.

    Args:
        side: the longer side of each in pixels.
    """
    shown = []
    for _, picture in cells:
        height, width = picture.shape[1:]
        scale = side / max(height, width)
        size = [max(1, round(height * scale)), max(1, round(width * scale))]
        mode = "nearest" if scale >= 1 else "area"
        image = F.interpolate(picture[None].float(), size, mode=mode)[0].round().byte().permute(1, 2, 0)
        shown.append(F.pad(image, (0, 0, _GAP, _GAP, _GAP, _GAP), value=255))
    return label_panel(shown, [caption for caption, _ in cells])


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Rows of tiles one below the other, white beside the shorter ones: (H, W, 3) uint8."""
    width = max(row.shape[1] for row in rows)
    return torch.cat([F.pad(row, (0, 0, 0, width - row.shape[1]), value=255) for row in rows])
