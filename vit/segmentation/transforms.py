"""Picture and mask together to what a network sees: scale, crop, flip; colours of the picture alone.

Pictures are resized smoothly, masks by the nearest pixel, both with the same centres, so that borders stay where they
are. All randomness is the generator's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from trainer.records.confusion import NONE
from vit.data.augment.policies import color_jitter
from vit.data.transforms import resize
from vit.segmentation.config import MaskAugment, Mode

Size = tuple[int, int]
TRIES = 10  # crops that are drawn where one class has too much of each


def scaled(size: Size, short_side: int | None, factor: float = 1.0) -> Size:
    """(height, width) with ``short_side`` pixels on the shorter side, times a factor, the aspect kept."""
    base = factor if short_side is None else factor * short_side / min(size)
    return max(1, round(size[0] * base)), max(1, round(size[1] * base))


@dataclass(frozen=True)
class TrainTransform:
    """A random scale, a crop of the resolution, a flip and colours.

    Attributes:
        resolution: (H, W) of the result.
        short_side: that pictures have before they are scaled; None: their own.
        fill: colour around pictures smaller than the crop, one byte per channel; the mask is void there.
    """

    augment: MaskAugment
    resolution: Size
    short_side: int | None
    fill: tuple[int, ...]

    def __call__(self, image: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """uint8 (3, h, w) and int16 (h, w) to (3, H, W) and (H, W).

        The crop is cut out first and resized then, so that large pictures cost no more than small ones.
        """
        picture, classes = image.permute(1, 2, 0).numpy(), mask.numpy()
        augment = self.augment
        factor = float(rng.uniform(augment.scale[0], augment.scale[1]))
        target = scaled(classes.shape, self.short_side, factor)  # pyright: ignore[reportArgumentType]
        kept = min(target[0], self.resolution[0]), min(target[1], self.resolution[1])
        box = self._box(classes, target, kept, rng)
        rows, columns = slice(box[0], box[0] + box[2]), slice(box[1], box[1] + box[3])
        picture, classes = resize(picture[rows, columns], kept, cubic=False), resize_mask(classes[rows, columns], kept)
        if kept != self.resolution:
            picture, classes = self._padded(picture, classes, rng)
        if augment.flip and rng.random() < augment.flip:
            picture, classes = picture[:, ::-1], classes[:, ::-1]
        if augment.color_jitter:
            picture = color_jitter(np.ascontiguousarray(picture), augment.color_jitter, rng)
        return (
            torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))),
            torch.from_numpy(np.ascontiguousarray(classes)),
        )

    def _box(self, classes: np.ndarray, target: Size, kept: Size, rng: np.random.Generator) -> tuple[int, ...]:
        """(top, left, height, width) in pixels of the picture that become ``kept`` of ``target``."""
        sides = [
            max(1, round(have * own / whole)) for have, own, whole in zip(classes.shape, kept, target, strict=True)
        ]
        for _ in range(TRIES):
            top, left = (int(rng.integers(have - side + 1)) for have, side in zip(classes.shape, sides, strict=True))
            if self.augment.largest_class >= 1.0:
                break
            found = classes[top : top + sides[0], left : left + sides[1]]
            counts = np.bincount(found[found != NONE].astype(np.int64))
            if len(counts) and counts.max() <= self.augment.largest_class * counts.sum():
                break
        return top, left, *sides

    def _padded(self, picture: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Put somewhere into the resolution, filled up all around."""
        whole = np.empty((*self.resolution, picture.shape[2]), np.uint8)
        whole[:] = self.fill
        void = np.full(self.resolution, NONE, np.int16)
        height, width = classes.shape
        top, left = (
            int(rng.integers(want - have + 1)) for want, have in zip(self.resolution, (height, width), strict=True)
        )
        whole[top : top + height, left : left + width] = picture
        void[top : top + height, left : left + width] = classes
        return whole, void


@dataclass(frozen=True)
class EvalTransform:
    """A picture as it is judged: at its short side; in one pass its sides are whole patches.

    Attributes:
        mode: of inference.
        patch: p.
        short_side: None: the picture's own size.
    """

    mode: Mode
    patch: int
    short_side: int | None

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (3, h, w) to another size."""
        height, width = scaled((image.shape[1], image.shape[2]), self.short_side)
        if self.mode is Mode.whole:
            height, width = (max(self.patch, round(side / self.patch) * self.patch) for side in (height, width))
        picture = resize(image.permute(1, 2, 0).numpy(), (height, width), cubic=False)
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))

    def describe(self) -> str:
        """What is done, in one line; belongs beside every score."""
        size = "at their own size" if self.short_side is None else f"short side {self.short_side}"
        return (
            f"pictures {size}, {'in one pass' if self.mode is Mode.whole else 'by windows'}; judged at the masks' size"
        )


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Classes int16 (h, w) to another size, each pixel that of the nearest one."""
    if mask.shape == size:
        return mask
    return cv2.resize(np.ascontiguousarray(mask), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
