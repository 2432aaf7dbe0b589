"""Operations on one picture, with every number given: what augmentation policies are made of.

A picture is a NumPy array (H, W, C), uint8, C-contiguous, with any number of channels. Geometric operations move all
channels. The others change the first three (so a fourth, alpha or infrared, stays as it is), or all of fewer than
three; those that need colour leave pictures of fewer than three channels unchanged. None changes its argument.

Definitions are those of Pillow, which torchvision, timm and big_vision all follow, to within a grey level, and two
for interpolation (OpenCV rounds positions to 1/32 pixel and its bicubic kernel has a = -0.75; Pillow's has -0.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

Picture = np.ndarray

NEAREST, BILINEAR, BICUBIC = cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC

_VALUES = np.arange(256, dtype=np.float32)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def hwc(picture: Picture, like: Picture) -> Picture:
    """Give back the channel dimension that OpenCV drops where C is 1."""
    return picture if picture.ndim == 3 else picture.reshape(*picture.shape[:2], like.shape[2])


def _on_colour(change: Callable[[Picture], Picture], picture: Picture) -> Picture:
    if picture.shape[2] <= 3:
        return hwc(change(picture), picture)
    result = picture.copy()
    result[..., :3] = change(np.ascontiguousarray(picture[..., :3]))
    return result


def _map_values(picture: Picture, table: np.ndarray) -> Picture:
    """Replace values by a table: float or int (256,), or one per channel (256, C); cut to 0..255, fraction dropped."""
    table = np.clip(table, 0, 255).astype(np.uint8).reshape(1, 256, -1)
    return _on_colour(lambda p: cv2.LUT(p, table), picture)


def _colours(picture: Picture) -> int:
    return min(3, picture.shape[2])


def _grey(picture: Picture) -> np.ndarray:
    """Luma (H, W) of the first three channels; of fewer, the first."""
    if picture.shape[2] < 3:
        return np.ascontiguousarray(picture[..., 0])
    return cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)


def _histograms(picture: Picture) -> list[np.ndarray]:
    return [cv2.calcHist([picture], [c], None, [256], [0, 256]).ravel() for c in range(_colours(picture))]


# Geometry


def affine(picture: Picture, matrix: np.ndarray, fill: int, interpolation: int) -> Picture:
    """Result (x, y) is the picture at ``matrix @ (x, y, 1)``, in pixel indices; `fill` where that lies outside.

    Args:
        matrix: float (2, 3).
    """
    height, width, channels = picture.shape
    groups = []
    for first in range(0, channels, 4):  # OpenCV takes four channels at a time
        group = picture if channels <= 4 else np.ascontiguousarray(picture[..., first : first + 4])
        warped = cv2.warpAffine(
            group,
            matrix,
            (width, height),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(fill,) * 4,
        )
        groups.append(hwc(warped, group))
    return groups[0] if len(groups) == 1 else np.concatenate(groups, axis=2)


def shear_x(picture: Picture, factor: float, fill: int, interpolation: int) -> Picture:
    """Shift each row by `factor` times its height, about the top left corner."""
    return affine(picture, np.array([[1, factor, factor / 2], [0, 1, 0]]), fill, interpolation)


def shear_y(picture: Picture, factor: float, fill: int, interpolation: int) -> Picture:
    """Shift each column by `factor` times its place, about the top left corner."""
    return affine(picture, np.array([[1, 0, 0], [factor, 1, factor / 2]]), fill, interpolation)


def translate(picture: Picture, right: float, down: float, fill: int, interpolation: int) -> Picture:
    """Shift by pixels."""
    return affine(picture, np.array([[1, 0, -right], [0, 1, -down]], np.float64), fill, interpolation)


def rotate(picture: Picture, degrees: float, fill: int, interpolation: int) -> Picture:
    """Turn counter-clockwise about the centre; corners are cut off."""
    height, width, _ = picture.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]])
    return affine(picture, matrix, fill, interpolation)


def cutout(picture: Picture, row: int, column: int, half: int, fill: int) -> Picture:
    """Fill a square of side 2 half around a pixel (DeVries and Taylor, 2017); at the border the rest of it."""
    result = picture.copy()
    result[max(0, row - half) : row + half, max(0, column - half) : column + half] = fill
    return result


# Colour. A factor of 1 changes nothing, 0 takes the property away, more strengthens it.


def brightness(picture: Picture, factor: float) -> Picture:
    return _map_values(picture, _VALUES * factor)


def contrast(picture: Picture, factor: float) -> Picture:
    """Away from, or towards, the picture's mean luma."""
    mean = float(np.rint(cv2.mean(_grey(picture))[0]))
    return _map_values(picture, mean + factor * (_VALUES - mean))


def saturation(picture: Picture, factor: float) -> Picture:
    if picture.shape[2] < 3:
        return picture.copy()
    grey = cv2.cvtColor(_grey(picture), cv2.COLOR_GRAY2RGB)
    return _on_colour(lambda p: cv2.addWeighted(p, factor, grey, 1 - factor, 0), picture)


def greyscale(picture: Picture) -> Picture:
    return saturation(picture, 0.0)


def sharpness(picture: Picture, factor: float) -> Picture:
    """Away from, or towards, a 3x3 smoothed picture; the outermost pixels stay."""

    def change(colours: Picture) -> Picture:
        smooth = hwc(cv2.filter2D(colours, -1, _SMOOTH), colours)
        result = hwc(cv2.addWeighted(colours, factor, smooth, 1 - factor, 0), colours)
        result[[0, -1]], result[:, [0, -1]] = colours[[0, -1]], colours[:, [0, -1]]
        return result

    return _on_colour(change, picture)


def gaussian_blur(picture: Picture, sigma: float) -> Picture:
    """Blur with a standard deviation in pixels."""
    return _on_colour(lambda p: cv2.GaussianBlur(p, (0, 0), sigma), picture)


def posterize(picture: Picture, bits: int) -> Picture:
    """Keep the highest `bits` bits of each value: 8 changes nothing, 0 is black."""
    return _map_values(picture, np.arange(256) & (256 - (1 << (8 - bits))))


def solarize(picture: Picture, threshold: float) -> Picture:
    """Invert values of at least the threshold."""
    return _map_values(picture, np.where(threshold <= _VALUES, 255 - _VALUES, _VALUES))


def solarize_add(picture: Picture, addition: int) -> Picture:
    """Brighten values below 128 by `addition`."""
    return _map_values(picture, np.where(_VALUES < 128, _VALUES + addition, _VALUES))


def invert(picture: Picture) -> Picture:
    return _map_values(picture, 255 - _VALUES)


def autocontrast(picture: Picture) -> Picture:
    """Stretch each channel so that its values reach from 0 to 255."""

    def table(histogram: np.ndarray) -> np.ndarray:
        found = np.flatnonzero(histogram)
        low, high = int(found[0]), int(found[-1])
        scale = 255 / (high - low) if high > low else 1.0
        return np.arange(256) * scale - (low * scale if high > low else 0)

    return _map_values(picture, _per_channel(table, picture))


def equalize(picture: Picture) -> Picture:
    """Make each channel's histogram as even as can be."""

    def table(histogram: np.ndarray) -> np.ndarray:
        counts = histogram.astype(np.int64)
        step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        if step == 0:
            return np.arange(256)
        return (step // 2 + np.cumsum(counts) - counts) // step

    return _map_values(picture, _per_channel(table, picture))


def _per_channel(table: Callable[[np.ndarray], np.ndarray], picture: Picture) -> np.ndarray:
    return np.stack([table(histogram) for histogram in _histograms(picture)], axis=1)


def color_jitter(picture: Picture, factors: Sequence[float], order: Sequence[int]) -> Picture:
    """Brightness, contrast and saturation by three factors, in the order given by their indices 0..2."""
    for index in order:
        picture = (brightness, contrast, saturation)[index](picture, factors[index])
    return picture
