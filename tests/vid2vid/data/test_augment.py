"""One crop for all frames: geometry of pictures, ids and flow agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.made_frames import picture
from vid2vid.data.augment import Crop, centre_crop, cover, random_crop, whole_frame
from vid2vid.model.warp import warp


def test_cover_keeps_the_aspect():
    assert cover((1024, 2048), (128, 256)) == (128, 256)
    assert cover((1080, 1920), (128, 256)) == (144, 256)
    assert cover((480, 640), (256, 256)) == (256, 341)
    assert cover((10, 1000), (64, 64)) == (64, 6400)


def test_centre_crop_has_the_aspect_of_the_resolution():
    crop = centre_crop((480, 640), (128, 256))
    assert (crop.height, crop.width, crop.left, crop.top) == (320, 640, 0, 80)


def test_random_crops_stay_inside_and_repeat():
    boxes = set()
    for seed in range(200):
        crop = random_crop((100, 300), (32, 64), (1.0, 2.0), 0.5, np.random.default_rng(seed))
        again = random_crop((100, 300), (32, 64), (1.0, 2.0), 0.5, np.random.default_rng(seed))
        assert crop == again
        assert 0 <= crop.top <= crop.top + crop.height <= 100 and 0 <= crop.left <= crop.left + crop.width <= 300
        assert 50 <= crop.height <= 100 and abs(crop.width - 2 * crop.height) <= 1
        boxes.add(crop)
    assert len(boxes) == 200 and 60 < sum(crop.flip for crop in boxes) < 140


@pytest.mark.parametrize("flip", [False, True])
def test_ids_follow_the_picture(flip):
    """Where a picture is uniform, the ids under it are those of the source."""
    ids = torch.zeros(60, 90, dtype=torch.int32)
    ids[20:, 33:] = 40000
    image = (ids > 0).to(torch.uint8).expand(3, -1, -1) * 255
    crop = Crop((60, 90), 5, 10, 50, 75, (20, 30), flip)
    cropped, moved = crop.image(image), crop.ids(ids)
    assert cropped.shape == (3, 20, 30) and cropped.dtype == torch.uint8 and moved.dtype == torch.int32
    assert torch.equal(moved[cropped[0] == 255].unique(), torch.tensor([40000], dtype=torch.int32))
    assert torch.equal(moved[cropped[0] == 0].unique(), torch.tensor([0], dtype=torch.int32))


def test_crop_without_resizing_copies_pixels():
    image = torch.from_numpy(picture()).permute(2, 0, 1)
    crop = Crop((40, 80), 3, 7, 16, 32, (16, 32))
    assert torch.equal(crop.image(image), image[:, 3:19, 7:39])
    assert torch.equal(crop.ids(image[0]), image[0, 3:19, 7:39])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 64, 128), (8, 16, 40, 80), (3, 5, 32, 64)])
def test_flow_follows_the_picture(box, flip):
    """Warping the cropped previous frame by the cropped flow gives the cropped current frame."""
    shift = (6, -4)  # pixels of the source: x_t(p) = x_{t-1}(p + shift)
    big = torch.from_numpy(picture(0, 100, 180)).permute(2, 0, 1)
    previous = big[:, 20:84, 20:148]
    current = big[:, 20 + shift[1] : 84 + shift[1], 20 + shift[0] : 148 + shift[0]]
    crop = Crop((64, 128), *box, (32, 64), flip)
    for own in ((64, 128), (48, 96)):  # the flow may have been computed at another size than the frame's
        flow = torch.tensor([shift[0] * own[1] / 128, shift[1] * own[0] / 64]).view(1, 2, 1, 1).expand(1, 2, *own)
        moved, trusted = crop.flow(flow, torch.ones(1, 1, *own, dtype=torch.uint8))
        expected = (shift[0] * 64 / box[3] * (-1 if flip else 1), shift[1] * 32 / box[2])
        assert torch.allclose(moved[0, :, 10, 10], torch.tensor(expected), atol=1e-4)
        error = (warp(crop.image(previous)[None].float(), moved) - crop.image(current)[None].float()).abs()
        assert error[trusted.expand_as(error) > 0].mean() < 4
        assert 0.5 < trusted.float().mean() < 1


def test_untrusted_flow_stays_untrusted():
    confidence = torch.ones(1, 1, 32, 64, dtype=torch.uint8)
    confidence[..., 30:40] = 0
    _, trusted = whole_frame((32, 64), (64, 128)).flow(torch.zeros(1, 2, 32, 64), confidence)
    assert trusted[..., 60:80].sum() == 0 and trusted[..., :58].all() and trusted[..., 82:].all()


def test_flow_of_the_whole_frame_is_unchanged():
    flow = torch.randn(2, 2, 32, 64) * 0.5
    moved, _ = whole_frame((32, 64), (32, 64)).flow(flow, torch.ones(2, 1, 32, 64))
    assert torch.allclose(moved, flow, atol=1e-4)
