"""From a picture of any size to the network's: the modes of `augment.eval_crop`, to the pixel as timm makes them."""

from __future__ import annotations

import numpy as np

from vit.config import AugmentConfig, EvalCrop, Interpolation
from vit.data.augment.pixels import Picture
from vit.preprocessing import enlarged

Size = tuple[int, int]


def resized(size: Size, resolution: Size, augment: AugmentConfig) -> Size:
    """(height, width) that a picture of ``size`` is resized to before its centre is taken."""
    if augment.eval_crop is EvalCrop.squash:
        return resolution
    target = enlarged(resolution, augment.eval_crop_ratio)
    if augment.eval_crop is EvalCrop.squash_center:
        return target
    (height, width), (rows, columns) = size, target
    if augment.eval_crop is EvalCrop.center and resolution[0] == resolution[1]:
        return (rows, rows * width // height) if height <= width else (rows * height // width, rows)
    scales = height / rows, width / columns
    scale = max(scales) if augment.eval_crop is EvalCrop.border else min(scales)
    return max(1, round(height / scale)), max(1, round(width / scale))


def centre(picture: Picture, size: Size, augment: AugmentConfig) -> Picture:
    """The middle of a picture; what is smaller than ``size`` is filled up with `augment.eval_fill`."""
    extra = [max(0, want - have) for have, want in zip(picture.shape[:2], size, strict=True)]
    if any(extra):
        height, width, channels = picture.shape
        whole = np.empty((height + extra[0], width + extra[1], channels), picture.dtype)
        whole[:] = [round(255 * value) for value in augment.eval_fill]
        top, left = (side // 2 for side in extra)
        whole[top : top + height, left : left + width] = picture
        picture = whole
    over = [have - want for have, want in zip(picture.shape[:2], size, strict=True)]
    top, left = (side // 2 if augment.eval_crop_floor else round(side / 2) for side in over)
    return np.ascontiguousarray(picture[top : top + size[0], left : left + size[1]])


def describe(resolution: Size, augment: AugmentConfig) -> str:
    """What is done, in one line."""
    how = augment.eval_interpolation
    return _words(resolution, augment, "bilinear or bicubic" if how is Interpolation.random else how.value)


def _words(resolution: Size, augment: AugmentConfig, how: str) -> str:
    size, crop = f"{resolution[0]}x{resolution[1]}", augment.eval_crop
    if crop is EvalCrop.squash:
        return f"resized to {size} ({how})"
    rows, columns = enlarged(resolution, augment.eval_crop_ratio)
    if crop is EvalCrop.squash_center:
        return f"resized to {rows}x{columns} ({how}), centre crop {size}"
    if crop is EvalCrop.border:
        return f"resized to fit {rows}x{columns} ({how}), filled up to {size}"
    if resolution[0] == resolution[1]:
        return f"short side {rows} ({how}), centre crop {size}"
    return f"resized to cover {rows}x{columns} ({how}), centre crop {size}"
