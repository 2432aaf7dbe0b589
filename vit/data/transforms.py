"""From a decoded picture to the run's resolution: crop, resize, flip, augment. uint8 in, uint8 out.

Values stay bytes until they are on the device: a batch is a quarter of its size in floats, and normalising there costs
nothing. All randomness is the NumPy generator's, so a sample is a function of (seed, epoch, index) alone.

Resizing is PyTorch's uint8 kernel with antialiasing. Bilinear it agrees with Pillow to a grey level; bicubic it need
not at hard edges, so there evaluation resizes by Pillow, unless the weights come from where that kernel is used
(Hugging Face). It is fast where channels lie last in memory, as a JPEG decoder leaves them, so everything here works on
(H, W, C) and only the end result is laid out as (C, H, W).
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainer.errors import ConfigError
from vit.config import AugmentConfig, CropKind, EvalCrop, Interpolation
from vit.data import eval_crop as framing
from vit.data.augment.pixels import Picture, hwc
from vit.data.augment.policies import Augmenter, color_jitter
from vit.data.augment.policy_names import parse_auto
from vit.data.decoding.crop_plan import Plan

Size = tuple[int, int]


class TrainTransform:
    """Random crop, flip and augmentation of one picture: ``transform(image, rng)``.

    The order: crop and resize (`augment.crop`), mirror with probability `augment.flip`, the policy `augment.auto`,
    then `augment.color_jitter`. Mixup, CutMix and erasing follow on the device (`mixup.py`, `erasing.py`).

    Args:
        resolution: (H, W) of the result.

    Raises:
        ConfigError: `augment.auto` is no policy's name.
    """

    def __init__(self, augment: AugmentConfig, resolution: Size) -> None:
        self.augment = augment
        self.resolution = (resolution[0], resolution[1])
        self._auto = Augmenter(parse_auto(augment.auto), augment.interpolation) if augment.auto else None

    @property
    def plans(self) -> bool:
        """Whether `plan` can be asked for: the crop comes before all else."""
        return self.augment.crop in (CropKind.inception, CropKind.resize)

    def plan(self, size: Size, rng: np.random.Generator) -> Plan:
        """Draws what is drawn before the policies, for a picture of (height, width) ``size``; needs `plans`."""
        cubic = self._cubic(rng)
        box = (0, 0, *size)
        if self.augment.crop is CropKind.inception:
            box = inception_box(size, self.augment.scale, self.augment.ratio, rng)
        return Plan(box, cubic, self._flips(rng))

    def __call__(self, image: Tensor, rng: np.random.Generator, plan: Plan | None = None) -> Tensor:
        """Transform one picture.

        Args:
            image: uint8 (C, h, w), any C and size; not changed.
            plan: of `plan`, where ``image`` is the plan's box already; None: drawn here.

        Returns:
            uint8 (C, H, W), contiguous.
        """
        picture = _channels_last(image)
        if plan is None and self.plans:
            plan = self.plan(_size(picture), rng)
            top, left, height, width = plan.box
            picture = picture[top : top + height, left : left + width]
        if plan is None:
            picture, flip = self._crop(picture, rng), self._flips(rng)
        else:
            picture, flip = resize(picture, self.resolution, plan.cubic), plan.flip
        if flip:
            own = picture if picture.shape[2] > 1 else None  # resizing made new memory; OpenCV takes one channel as 2-D
            picture = hwc(cv2.flip(picture, 1, dst=own), picture)
        if self._auto is not None:
            picture = self._auto(picture, rng)
        if self.augment.color_jitter:
            picture = color_jitter(picture, self.augment.color_jitter, rng)
        return _channels_first(picture)

    def _crop(self, picture: Picture, rng: np.random.Generator) -> Picture:
        augment, size = self.augment, self.resolution
        cubic = self._cubic(rng)
        match augment.crop:
            case CropKind.center:
                covering = framing.resized(_size(picture), size, replace(augment, eval_crop=EvalCrop.center))
                return framing.centre(resize(picture, covering, cubic), size, augment)
            case CropKind.pad:
                return _random_window(_pad(resize(picture, size, cubic), augment.pad, cv2.BORDER_CONSTANT), size, rng)
            case CropKind.simple:
                covering = resize(picture, _cover(_size(picture), size), cubic)
                return _random_window(_pad(covering, augment.pad, cv2.BORDER_REFLECT_101), size, rng)
            case _:
                raise ValueError(f"augment.crop={augment.crop.value} is planned")

    def _cubic(self, rng: np.random.Generator) -> bool:
        if self.augment.interpolation is Interpolation.random:
            return rng.random() < 0.5
        return self.augment.interpolation is Interpolation.bicubic

    def _flips(self, rng: np.random.Generator) -> bool:
        return bool(self.augment.flip) and rng.random() < self.augment.flip

    def describe(self) -> str:
        """What is done, in one line."""
        augment, size = self.augment, _show(self.resolution)
        how = "bilinear or bicubic" if augment.interpolation is Interpolation.random else augment.interpolation.value
        match augment.crop:
            case CropKind.inception:
                area = f"{100 * augment.scale[0]:g}-{100 * augment.scale[1]:g} % of the area"
                crop = f"random crop of {area}, aspect {augment.ratio[0]:.3g}-{augment.ratio[1]:.3g}, to {size} ({how})"
            case CropKind.resize:
                crop = f"resized to {size} ({how})"
            case CropKind.center:
                how_evaluated = replace(augment, eval_crop=EvalCrop.center, eval_interpolation=augment.interpolation)
                crop = framing.describe(self.resolution, how_evaluated)
            case CropKind.pad:
                crop = f"{size} ({how}), zero padding by {augment.pad}, random crop {size}"
            case CropKind.simple:
                crop = f"resized to cover {size} ({how}), reflect padding by {augment.pad}, random crop {size}"
        parts = [crop]
        if augment.flip:
            parts.append(f"flip {augment.flip:g}")
        if augment.auto:
            parts.append(augment.auto)
        if augment.color_jitter:
            parts.append(f"colour jitter {augment.color_jitter:g}")
        return ", ".join(parts)


class EvalTransform:
    """The transform a score depends on: ``transform(image)``, the same result for the same picture.

    Args:
        resolution: (H, W) of the result.

    Raises:
        ConfigError: `augment.eval_interpolation` is random.
    """

    def __init__(self, augment: AugmentConfig, resolution: Size) -> None:
        if augment.eval_interpolation is Interpolation.random:
            raise ConfigError("augment.eval_interpolation=random: a score must be repeatable; use bilinear or bicubic")
        self.augment = augment
        self.resolution = (resolution[0], resolution[1])

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (C, h, w) to uint8 (C, H, W), contiguous."""
        picture, cubic = _channels_last(image), self.augment.eval_interpolation is Interpolation.bicubic
        size = framing.resized(_size(picture), self.resolution, self.augment)
        by_pillow = cubic and not self.augment.eval_crop_floor
        picture = _bicubic_by_pillow(picture, size) if by_pillow else resize(picture, size, cubic)
        return _channels_first(framing.centre(picture, self.resolution, self.augment))

    def describe(self) -> str:
        """What is done, in one line; belongs beside every score."""
        return framing.describe(self.resolution, self.augment)


def inception_box(
    size: Size, scale: list[float], ratio: list[float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width) of a crop (Szegedy et al., 2015, arXiv:1409.4842), as torchvision draws it.

    Ten times an area uniform in `scale` (shares of the picture's) and an aspect width / height log-uniform in
    `ratio`; the first that fits is placed at random. If none fits: the centre, as large as the aspect allows.
    """
    height, width = size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * rng.random())
        aspect = math.exp(low + (high - low) * rng.random())
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def resize(picture: Picture, size: Size, cubic: bool) -> Picture:
    """Resize uint8 (h, w, C) to (H, W, C), antialiased; any strides in, contiguous memory of its own out.

    A window of a larger picture is read where it lies: copying it first costs as much as resizing it.
    """
    if _size(picture) == size:
        return np.array(picture, order="C")
    if any(stride < 0 for stride in picture.strides) or not picture.flags.writeable:  # which torch does not take
        picture = np.array(picture, order="C")
    # the order matters: a batch dimension added last has a stride that does not tell of channels_last
    image = torch.from_numpy(picture)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(image, size, mode="bicubic" if cubic else "bilinear", antialias=True)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1)[0].numpy())


def _bicubic_by_pillow(picture: Picture, size: Size) -> Picture:
    """As `resize`, bitwise as Pillow, with whose pictures torchvision and timm evaluate.

    Where one side shrinks more than the other, Pillow resizes that one first, PyTorch always the width; overshoots of
    the first pass are cut off, so they can be tens of grey levels apart at hard edges. Channels other than RGB are
    resized one by one, as Pillow would weigh colours by alpha.
    """
    if _size(picture) == size:
        return np.array(picture, order="C")
    bands = [picture] if picture.shape[2] == 3 else [picture[..., c] for c in range(picture.shape[2])]
    shape, method = (size[1], size[0]), Image.Resampling.BICUBIC
    made = [np.asarray(Image.fromarray(np.ascontiguousarray(band)).resize(shape, method)) for band in bands]
    return np.array(made[0], order="C") if picture.shape[2] == 3 else np.stack(made, axis=2)


def _channels_last(image: Tensor) -> Picture:
    """(C, h, w) to an array (h, w, C), without a copy where the memory already lies so (as decoders leave it)."""
    if image.dtype != torch.uint8 or image.ndim != 3:
        raise ValueError(f"a picture must be uint8 (C, h, w), not {image.dtype} {tuple(image.shape)}")
    channels = image.shape[0]
    if channels == 1 or image.stride(0) == 1:
        return image.permute(1, 2, 0).numpy()
    return cv2.merge([plane.numpy() for plane in image.unbind()])


def _channels_first(picture: Picture) -> Tensor:
    """(H, W, C) to a contiguous tensor (C, H, W), seven times as fast as `contiguous()`."""
    height, width, channels = picture.shape
    planes = np.empty((channels, height, width), np.uint8)
    cv2.split(picture, list(planes))
    return torch.from_numpy(planes)


def _size(picture: Picture) -> Size:
    return picture.shape[0], picture.shape[1]


def _cover(size: Size, resolution: Size) -> Size:
    """The size, of the picture's aspect, that just covers the resolution (a square's short side is that)."""
    (height, width), (rows, columns) = size, resolution
    if height * columns <= width * rows:
        return rows, max(columns, rows * width // height)
    return max(rows, columns * height // width), columns


def _pad(picture: Picture, amount: int, border: int) -> Picture:
    return hwc(cv2.copyMakeBorder(picture, amount, amount, amount, amount, border, value=(0,) * 4), picture)


def _random_window(picture: Picture, size: Size, rng: np.random.Generator) -> Picture:
    top, left = (int(rng.integers(have - want + 1)) for have, want in zip(_size(picture), size, strict=True))
    return np.ascontiguousarray(picture[top : top + size[0], left : left + size[1]])


def _show(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
