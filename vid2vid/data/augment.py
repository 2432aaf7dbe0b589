"""One random scale, crop and flip per clip, the same for all its frames, labels, instances and flow.

The crop is a box of the source frame that is resized to the wanted resolution in one go. Pictures are resized bicubic
with antialiasing, ids nearest, flow bilinear with its vectors scaled by the same factors as the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid.flow.estimate import inside

Box = tuple[int, int, int, int]  # top, left, height, width of a part of a frame, pixels


@dataclass(frozen=True)
class Crop:
    """A box of a source frame, shown at a resolution.

    Attributes:
        source: (height, width) of the frame.
        top, left, height, width: the box, pixels of the frame.
        size: (height, width) it is resized to.
        flip: mirrored left to right after resizing.
    """

    source: tuple[int, int]
    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    flip: bool = False

    def image(self, frames: Tensor) -> Tensor:
        """uint8 (..., C, H, W) of the source size to uint8 (..., C, *size)."""
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2 import functional as tvf

        box = tvf.crop(frames, self.top, self.left, self.height, self.width)
        if (self.height, self.width) != self.size:
            box = tvf.resize(box, list(self.size), interpolation=InterpolationMode.BICUBIC, antialias=True)
        return (tvf.horizontal_flip(box) if self.flip else box).contiguous()

    def ids(self, maps: Tensor) -> Tensor:
        """Ids (..., H, W) of any integer type, by the nearest source pixel (centres aligned, as `image` does)."""
        rows = self.top + _nearest(self.height, self.size[0])
        columns = self.left + _nearest(self.width, self.size[1])
        if self.flip:
            columns = columns.flip(0)
        return maps[..., rows[:, None], columns]

    def flow(self, flow: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """Flow of the whole frame, at any resolution of its own, brought to this crop.

        Args:
            flow: (T, 2, h, w) in pixels of its own h x w grid that spans the whole source frame.
            confidence: (T, 1, h, w) 0/1.
        Returns:
            float32 (T, 2, *size) in pixels of the crop; uint8 (T, 1, *size), 0 too where the vector leaves the crop.
        """
        own_height, own_width = flow.shape[-2:]
        ratio_y, ratio_x = own_height / self.source[0], own_width / self.source[1]
        height, width = self.size
        rows = (self.top + (torch.arange(height) + 0.5) * self.height / height) * ratio_y
        columns = (self.left + (torch.arange(width) + 0.5) * self.width / width) * ratio_x
        # grid_sample without aligned corners: -1 and 1 are the outer edges of the frame.
        grid = torch.stack(
            torch.meshgrid(columns / own_width * 2 - 1, rows / own_height * 2 - 1, indexing="xy"), dim=-1
        )
        grid = grid.to(torch.float32).expand(flow.shape[0], -1, -1, -1)
        moved = F.grid_sample(flow.float(), grid, padding_mode="border", align_corners=False)
        trusted = F.grid_sample(confidence.float(), grid, padding_mode="border", align_corners=False) > 0.99
        factors = torch.tensor([width / (self.width * ratio_x), height / (self.height * ratio_y)])
        moved = moved * factors.view(1, 2, 1, 1)
        if self.flip:
            moved = moved.flip(-1) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
            trusted = trusted.flip(-1)
        return moved, (trusted & inside(moved)).to(torch.uint8)


def cover(source: tuple[int, int], resolution: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the frame resized, aspect kept, so that it just covers the resolution."""
    ratio = max(resolution[0] / source[0], resolution[1] / source[1])
    return max(resolution[0], round(source[0] * ratio)), max(resolution[1], round(source[1] * ratio))


def whole_frame(source: tuple[int, int], resolution: tuple[int, int]) -> Crop:
    """The uncropped frame at the size that covers the resolution: what cached flow is computed on."""
    return Crop(source, 0, 0, source[0], source[1], cover(source, resolution))


def centre_crop(source: tuple[int, int], resolution: tuple[int, int]) -> Crop:
    """The largest centred box of the resolution's aspect: validation and generation."""
    height, width = _box(source, resolution, 1.0)
    return Crop(source, (source[0] - height) // 2, (source[1] - width) // 2, height, width, resolution)


def random_crop(
    source: tuple[int, int],
    resolution: tuple[int, int],
    scale: tuple[float, float],
    flip: float,
    rng: np.random.Generator,
    within: Box | None = None,
) -> Crop:
    """A box drawn for a whole clip.

    Args:
        source: (height, width) of the frames.
        resolution: (height, width) wanted.
        scale: the frame is as if resized to cover the resolution, times a factor drawn from [low, high], low >= 1.
        flip: probability of mirroring.
        rng: draws factor, position and flip, always the same number of times.
        within: in place of the whole frame.
    """
    above, beside, rows, columns = within or (0, 0, *source)
    factor, row, column, coin = rng.uniform(scale[0], scale[1]), rng.random(), rng.random(), rng.random()
    height, width = _box((rows, columns), resolution, factor)
    top = above + int(row * (rows - height + 1))
    left = beside + int(column * (columns - width + 1))
    return Crop(source, top, left, height, width, resolution, bool(coin < flip))


def _box(source: tuple[int, int], resolution: tuple[int, int], factor: float) -> tuple[int, int]:
    ratio = max(resolution[0] / source[0], resolution[1] / source[1]) * factor
    height = min(source[0], max(1, round(resolution[0] / ratio)))
    width = min(source[1], max(1, round(resolution[1] / ratio)))
    return height, width


def _nearest(source: int, target: int) -> Tensor:
    """Index of the source pixel under the centre of each target pixel."""
    return ((torch.arange(target, dtype=torch.float64) + 0.5) * source / target).floor().long().clamp(max=source - 1)
