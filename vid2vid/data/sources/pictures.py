"""Sources that are pictures as they are: colour, depth; and Canny edges, which are made of the frame itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.data.pictures.decode import Span
from trainer.data.pictures.files import read_bytes
from trainer.errors import DataError
from vid2vid.config import DataConfig, Vid2VidConfig
from vid2vid.data.augment import Crop
from vid2vid.data.folders.files import decode_frame
from vid2vid.data.ranges.settings import as_span
from vid2vid.data.sources.frame_source import Alike, SourceSequence
from vid2vid.data.sources.kinds import SourceSpec


class PictureSource:
    """A picture beside a frame, cropped and resized as the frame is.

    Args:
        pixels: uint8 (C, h, w).
    """

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        return crop.image(self.pixels)


class EdgeSource:
    """Canny edges of the frame, computed within the crop: as sharp at every resolution.

    Args:
        name: of the frame, for messages.
        data: the thresholds.
    """

    size = None

    def __init__(self, name: str, data: DataConfig) -> None:
        self.name, self.low, self.high = name, data.edge_low, data.edge_high

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        if image is None:
            raise DataError(f"{self.name}: has no picture to make edges of (data.sources has edges)")
        return canny(image, self.low, self.high)


class Pictures(SourceSequence):
    """Picture files, one per frame.

    Args:
        files: in the order of the frames.
        channels: 3, RGB, or 1, luminance.
        span: what is black and white in pictures of more than 8 bits.
    """

    def __init__(self, files: Sequence[Path | None], channels: int, span: Span | None) -> None:
        self.files, self.channels, self.span = files, channels, span

    def frame(self, index: int, alike: Alike) -> PictureSource:
        path = self.files[index]
        assert path is not None
        data = read_bytes(path)
        return PictureSource(alike(decode_frame(data, path, self.span, self.channels), path, data))

    def part(self, start: int, stop: int) -> Pictures:
        return Pictures(self.files[start:stop], self.channels, self.span)


class Edges(SourceSequence):
    """Edges of each frame."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data

    def frame(self, index: int, alike: Alike) -> EdgeSource:
        return EdgeSource(f"frame {index}", self.data)

    def part(self, start: int, stop: int) -> Edges:
        return self


def open_pictures(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> Pictures:
    """`image:` and `depth:` of one sequence; their range is `data.source_range`, or `data.range`."""
    data = config.data
    span = as_span(data.source_range if data.source_range is not None else data.range)
    return Pictures(files, entry.channels, span)


def open_edges(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> Edges:
    """`edges` of one sequence."""
    return Edges(config.data)


def canny(image: Tensor, low: int, high: int) -> Tensor:
    """Edges of a picture after a slight blur (Gaussian, sigma 1): uint8 (3, H, W) to 0/255 uint8 (1, H, W).

    Args:
        image: RGB.
        low, high: Canny's hysteresis thresholds (`data.edge_low`, `data.edge_high`).
    """
    import cv2

    grey = cv2.cvtColor(image.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2GRAY)
    return torch.from_numpy(cv2.Canny(cv2.GaussianBlur(grey, (5, 5), 1.0), low, high))[None]
