"""Picture and mask move alike: pictures that show where each pixel was, masks that say it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.records.confusion import NONE
from vit.segmentation.config import MaskAugment, Mode
from vit.segmentation.transforms import EvalTransform, TrainTransform, resize_mask, scaled


def blocks(rows: int, columns: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares of one colour each, brighter by 10 from one to the next, and a mask that numbers them."""
    numbers = np.arange(rows * columns).reshape(rows, columns).repeat(side, 0).repeat(side, 1)
    picture = np.repeat((10 * numbers)[None], 3, axis=0).astype(np.uint8)
    return torch.from_numpy(picture), torch.from_numpy(numbers.astype(np.int16))


def transform(resolution: tuple[int, int], short_side: int | None = None, **keys: object) -> TrainTransform:
    return TrainTransform(MaskAugment(**keys), resolution, short_side, (7, 7, 7))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("seed", range(6))
def test_scale_crop_and_flip_keep_them_together(seed: int) -> None:
    image, mask = blocks(4, 6, 16)
    picture, classes = transform((32, 48))(image, mask, np.random.default_rng(seed))
    assert picture.shape == (3, 32, 48) and classes.shape == (32, 48) and classes.dtype == torch.int16
    known = classes != NONE
    agree = ((picture[0].int() - 10 * classes).abs() <= 5)[known]
    assert agree.float().mean() > 0.85  # all but the borders between squares, which are smooth
    assert (picture[:, ~known] == 7).all()


def test_a_flip_mirrors_both() -> None:
    image, mask = blocks(2, 3, 8)
    picture, classes = transform((16, 24), scale=[1.0, 1.0], flip=1.0)(image, mask, np.random.default_rng(0))
    assert torch.equal(picture, image.flip(2)) and torch.equal(classes, mask.flip(1))


def test_nothing_drawn_is_the_identity() -> None:
    image, mask = blocks(2, 3, 8)
    picture, classes = transform((16, 24), scale=[1.0, 1.0], flip=0.0)(image, mask, np.random.default_rng(0))
    assert torch.equal(picture, image) and torch.equal(classes, mask)


def test_small_pictures_are_filled_up_with_void() -> None:
    image, mask = blocks(1, 2, 8)
    picture, classes = transform((16, 32), scale=[1.0, 1.0], flip=0.0)(image, mask, np.random.default_rng(0))
    assert int((classes != NONE).sum()) == 8 * 16 and (picture[:, classes == NONE] == 7).all()


def test_colours_change_the_picture_alone() -> None:
    image, mask = blocks(2, 3, 8)
    made = transform((16, 24), scale=[1.0, 1.0], flip=0.0, color_jitter=0.4)
    picture, classes = made(image, mask, np.random.default_rng(0))
    assert not torch.equal(picture, image) and torch.equal(classes, mask)


def test_crops_of_one_class_are_drawn_again() -> None:
    """A tenth of the picture is another class, at the left: half as often or less with a limit than without."""
    mask = torch.zeros(8, 80, dtype=torch.int16)
    mask[:, :8] = 1
    image = torch.zeros(3, 8, 80, dtype=torch.uint8)

    def mixed(limit: float) -> int:
        made = transform((8, 16), scale=[1.0, 1.0], largest_class=limit)
        return sum(len(made(image, mask, np.random.default_rng(seed))[1].unique()) == 2 for seed in range(60))

    assert mixed(0.9) > 2 * mixed(1.0) > 0


def test_masks_keep_their_centres() -> None:
    """Halved, each pixel is one of the four it covers; doubled, each stands four times."""
    mask = np.arange(16, dtype=np.int16).reshape(4, 4)
    assert np.array_equal(resize_mask(mask, (8, 8)), mask.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(resize_mask(mask.repeat(3, 0).repeat(3, 1), (4, 4)), mask)


def test_evaluation_rounds_sides_to_patches_in_one_pass_only() -> None:
    image = torch.zeros(3, 50, 75, dtype=torch.uint8)
    assert scaled((50, 75), 20) == (20, 30)
    assert EvalTransform(Mode.whole, 8, None)(image).shape == (3, 48, 72)
    assert EvalTransform(Mode.whole, 8, 20)(image).shape == (3, 16, 32)
    assert EvalTransform(Mode.slide, 8, 20)(image).shape == (3, 20, 30)
