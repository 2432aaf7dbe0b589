"""Crops, resizing and flips: against Pillow and torchvision, in distribution, and for every kind of picture."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.errors import ConfigError
from vit.config import AugmentConfig, CropKind, EvalCrop, Interpolation
from vit.data.transforms import EvalTransform, TrainTransform, inception_box, resize


def picture(channels: int = 3, height: int = 75, width: int = 100, seed: int = 0) -> Tensor:
    """Coarse noise, so that neighbours are alike, with fine noise on top: uint8 (C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    noise = 0.1 * torch.randn(channels, height, width, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8)


def transformed(augment: AugmentConfig, image: Tensor, seed: int, size: tuple[int, int] = (32, 32)) -> Tensor:
    return TrainTransform(augment, size)(image, np.random.default_rng(seed))


@pytest.mark.parametrize("crop", list(CropKind))
@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 8, 8), (3, 75, 100), (4, 100, 31), (2, 24, 40), (6, 9, 9)]
)
def test_every_crop_takes_every_picture_to_the_resolution(
    crop: CropKind, channels: int, height: int, width: int
) -> None:
    image = picture(channels, height, width)
    before = image.clone()
    for interpolation in Interpolation:
        augment = AugmentConfig(crop=crop, interpolation=interpolation, auto="randaugment-n2-m9", color_jitter=0.3)
        result = transformed(augment, image, 1, (24, 40))
        assert result.shape == (channels, 24, 40) and result.dtype == torch.uint8 and result.is_contiguous()
    assert torch.equal(image, before)


@pytest.mark.parametrize("auto", [None, "rand-m9-mstd0.5-inc1", "bv_randaugment-n2-m10", "autoaugment", "three"])
def test_the_generator_alone_decides(auto: str | None) -> None:
    augment = AugmentConfig(auto=auto, color_jitter=0.2, interpolation=Interpolation.random)
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(results))
        np.random.seed(len(results))
        results.append(transformed(augment, picture(), seed))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_global_streams_are_not_touched() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    transformed(AugmentConfig(auto="rand-m9-mstd0.5-inc1", color_jitter=0.2), picture(), 0)
    assert torch.equal(torch.rand(1), expected)


def test_memory_layout_does_not_matter() -> None:
    image = picture()
    last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    window = torch.zeros(3, 90, 120, dtype=torch.uint8)
    window[:, 7:82, 9:109] = image
    expected = transformed(AugmentConfig(), image, 3)
    assert torch.equal(transformed(AugmentConfig(), last, 3), expected)
    assert torch.equal(transformed(AugmentConfig(), window[:, 7:82, 9:109], 3), expected)


def test_only_bytes_are_taken() -> None:
    with pytest.raises(ValueError, match=r"uint8 \(C, h, w\), not torch.float32"):
        EvalTransform(AugmentConfig(), (32, 32))(picture().float())


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 90), (150, 170)])
def test_resizing_agrees_with_pillow(cubic: bool, height: int, width: int) -> None:
    from PIL import Image

    source = picture().permute(1, 2, 0).numpy()
    how = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    expected = np.asarray(Image.fromarray(source).resize((width, height), how)).astype(int)
    assert np.abs(resize(source, (height, width), cubic) - expected).max() <= 1 + cubic


def test_resizing_uses_the_kernel_for_channels_that_lie_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is three times as fast; the input's strides choose it, and with others it falls back in silence."""
    seen, image = [], picture()
    interpolate = torch.nn.functional.interpolate

    def watch(image: Tensor, *arguments: Any, **options: Any) -> Tensor:
        seen.append(interpolate(image, *arguments, **options))
        return seen[-1]

    monkeypatch.setattr(torch.nn.functional, "interpolate", watch)
    transformed(AugmentConfig(), image, 0)
    assert len(seen) == 1 and seen[0].stride()[1:] == (1, 32 * 3, 3)


def test_channels_are_resized_alike() -> None:
    image = picture(6).permute(1, 2, 0).numpy()
    together = resize(image, (30, 44), False).astype(int)
    for channel in range(6):
        alone = resize(image[..., channel : channel + 1], (30, 44), False)[..., 0]
        assert np.abs(together[..., channel] - alone).max() <= 1


def test_inception_crop_is_a_resized_box_of_the_picture() -> None:
    image, augment = picture(), AugmentConfig(flip=0.0)
    top, left, height, width = inception_box((75, 100), augment.scale, augment.ratio, np.random.default_rng(4))
    box = image[:, top : top + height, left : left + width].permute(1, 2, 0).numpy()
    result = transformed(augment, image, 4)
    assert np.array_equal(result.permute(1, 2, 0).numpy(), resize(box, (32, 32), False))


def test_inception_boxes_are_distributed_as_configured() -> None:
    rng, scale, ratio = np.random.default_rng(0), [0.08, 0.5], [0.75, 4 / 3]
    boxes = np.array([inception_box((300, 400), scale, ratio, rng) for _ in range(4000)])
    top, left, height, width = boxes.T
    assert top.min() == left.min() == 0 and (top + height).max() == 300 and (left + width).max() == 400
    area, aspect = height * width / (300 * 400), np.log(width / height)
    assert area.min() > 0.075 and area.max() < 0.505
    assert np.abs(aspect).max() < math.log(4 / 3) + 0.02
    assert area.mean() == pytest.approx(0.29, abs=0.01)  # uniform
    assert aspect.std() == pytest.approx(2 * math.log(4 / 3) / math.sqrt(12), abs=0.01)  # log-uniform
    assert aspect.mean() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("size", "expected"), [((10, 1000), (0, 493, 10, 13)), ((1000, 9), (494, 0, 12, 9)), ((30, 30), (0, 0, 30, 30))]
)
def test_inception_falls_back_to_the_centre(size: tuple[int, int], expected: tuple[int, ...]) -> None:
    """Where nothing of the wanted area fits: the largest box of an allowed aspect."""
    scale = [1.0, 1.0] if size != (30, 30) else [2.0, 2.0]
    assert inception_box(size, scale, [0.75, 4 / 3], np.random.default_rng(0)) == expected


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_flips_come_at_their_rate(probability: float) -> None:
    image = picture(1, 16, 16)
    transform = TrainTransform(AugmentConfig(crop=CropKind.resize, flip=probability), (16, 16))
    rng, flips = np.random.default_rng(0), 0
    for _ in range(400):
        result = transform(image, rng)
        flipped = torch.equal(result, image.flip(-1))
        assert flipped or torch.equal(result, image)
        flips += flipped
    assert flips / 400 == pytest.approx(probability, abs=0.08 if 0 < probability < 1 else 0)


def test_padded_crops_show_every_offset_on_black() -> None:
    image = torch.full((3, 32, 32), 9, dtype=torch.uint8)
    transform = TrainTransform(AugmentConfig(crop=CropKind.pad, pad=4, flip=0.0), (32, 32))
    rng, seen = np.random.default_rng(0), set()
    for _ in range(600):
        result = transform(image, rng)
        rows, columns = (result[0].amax(1) > 0).nonzero().ravel(), (result[0].amax(0) > 0).nonzero().ravel()
        assert set(result.unique().tolist()) <= {0, 9}
        assert 28 <= len(rows) <= 32 and 28 <= len(columns) <= 32
        top = 4 - int(rows[0]) if rows[0] > 0 else 4 + 32 - len(rows)
        seen.add(top)
    assert seen == set(range(9))


def test_the_simple_crop_keeps_the_aspect_and_reflects() -> None:
    image = picture(3, 40, 60)
    transform = TrainTransform(AugmentConfig(crop=CropKind.simple, flip=0.0), (40, 40))
    padded = torch.nn.functional.pad(image[None].float(), (4, 4, 4, 4), mode="reflect")[0].to(torch.uint8)
    windows = padded.unfold(1, 40, 1).unfold(2, 40, 1)  # (3, rows, columns, 40, 40)
    rng, places = np.random.default_rng(0), set()
    for _ in range(20):
        same = (windows == transform(image, rng)[:, None, None]).all(dim=(0, 3, 4)).nonzero()
        assert len(same) == 1
        places.add(tuple(same[0].tolist()))
    assert len(places) > 15
    assert max(column for _, column in places) > 8  # beyond what padding alone allows


@pytest.mark.parametrize(("height", "width"), [(75, 100), (100, 75), (64, 64), (20, 33)])
@pytest.mark.parametrize("interpolation", [Interpolation.bilinear, Interpolation.bicubic])
def test_evaluation_equals_torchvision(height: int, width: int, interpolation: Interpolation) -> None:
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as tvf

    image = picture(3, height, width)
    resized = tvf.resize(image, [64], InterpolationMode(interpolation.value), antialias=True)
    expected = tvf.center_crop(resized, [56, 56])
    result = EvalTransform(AugmentConfig(eval_interpolation=interpolation), (56, 56))(image)
    assert (result.int() - expected.int()).abs().max() <= 1


def test_evaluation_covers_resolutions_that_are_not_square() -> None:
    image = picture(1, 60, 60)
    result = EvalTransform(AugmentConfig(eval_crop_ratio=0.5), (10, 30))(image)  # resized to 60x60: nothing changes
    assert torch.equal(result, image[:, 25:35, 15:45])
    squashed = EvalTransform(AugmentConfig(eval_crop=EvalCrop.squash), (10, 30))(image)
    assert np.array_equal(squashed[0].numpy(), resize(image.permute(1, 2, 0).numpy(), (10, 30), False)[..., 0])


def test_training_with_the_centre_crop_is_as_evaluated() -> None:
    augment = AugmentConfig(crop=CropKind.center, flip=0.0)
    assert torch.equal(transformed(augment, picture(), 0), EvalTransform(augment, (32, 32))(picture()))


def test_descriptions() -> None:
    assert EvalTransform(AugmentConfig(), (224, 224)).describe() == "short side 256 (bilinear), centre crop 224x224"
    wide = EvalTransform(AugmentConfig(eval_interpolation=Interpolation.bicubic), (128, 256)).describe()
    assert wide == "resized to cover 146x292 (bicubic), centre crop 128x256"
    squash = EvalTransform(AugmentConfig(eval_crop=EvalCrop.squash), (384, 384)).describe()
    assert squash == "resized to 384x384 (bilinear)"
    augment = AugmentConfig(auto="three", color_jitter=0.3)
    assert TrainTransform(augment, (224, 224)).describe() == (
        "random crop of 8-100 % of the area, aspect 0.75-1.33, to 224x224 (bilinear), flip 0.5, three, "
        "colour jitter 0.3"
    )
    lines = [TrainTransform(AugmentConfig(crop=crop), (32, 32)).describe() for crop in CropKind]
    assert all(one != other and "\n" not in one for one, other in pairwise(sorted(lines)))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"augment.auto=randaug: there is no policy 'randaug'; the forms are"):
        TrainTransform(AugmentConfig(auto="randaug"), (32, 32))
    with pytest.raises(ConfigError, match=r"augment.eval_interpolation=random"):
        EvalTransform(AugmentConfig(eval_interpolation=Interpolation.random), (32, 32))


@pytest.mark.parametrize("crop", list(CropKind))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_of_the_right_size_is_mirrored_and_not_changed(crop: CropKind, channels: int) -> None:
    """Mirroring happens in place: the memory must be the transform's own, also where nothing is resized."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, channels), dtype=np.uint8)
    before = pixels.copy()
    augment = AugmentConfig(crop=crop, scale=[1.0, 1.0], ratio=[1.0, 1.0], pad=0, eval_crop_ratio=1.0, flip=1.0)
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    mirrored = TrainTransform(augment, (16, 16))(picture, np.random.default_rng(0))
    assert (pixels == before).all()
    assert torch.equal(mirrored, torch.from_numpy(before[:, ::-1].copy()).permute(2, 0, 1))


@pytest.mark.parametrize("cubic", [False, True])
def test_a_window_is_resized_where_it_lies(cubic: bool) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    window = picture[7:48, 11:70]
    picture.flags.writeable = False
    for given in (window, picture[7:48, 11:70]):
        assert (resize(given, (24, 32), cubic) == resize(np.array(window), (24, 32), cubic)).all()
