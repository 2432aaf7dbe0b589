"""Cells of pictures blacked out and exchanged."""

import pytest
import torch

from trainer.errors import UserError
from vit.analysis.occlusion import drop_cells, shuffle_cells


def pictures(height=12, width=20, batch=3):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)) + 0.1


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("cells", [0, 1, 7, 20])
def test_so_many_cells_are_black_and_no_pixel_else(cells):
    images = pictures()
    dropped = drop_cells(images, cells, (4, 5), seeded())
    assert ((dropped == 0).sum(dim=(2, 3)) == cells * 3 * 4).all()
    assert torch.equal(dropped[dropped != 0], images[dropped != 0])
    black = (dropped == 0).view(3, 3, 4, 3, 5, 4).float().mean(dim=(3, 5))
    assert set(black.unique().tolist()) <= {0.0, 1.0}  # whole cells


def test_nothing_dropped_is_the_clean_picture():
    assert torch.equal(drop_cells(pictures(), 0, (4, 5), seeded()), pictures())


def test_pictures_lose_different_cells_and_a_seed_repeats_them():
    images = torch.ones(8, 1, 28, 28)
    first, second = (drop_cells(images, 98, (14, 14), seeded()) for _ in range(2))
    assert torch.equal(first, second)
    assert len({tuple(picture.flatten().tolist()) for picture in first}) == 8
    assert not torch.equal(first, drop_cells(images, 98, (14, 14), seeded(1)))


def test_one_cell_shuffled_is_the_picture():
    assert torch.equal(shuffle_cells(pictures(), (1, 1), seeded()), pictures())


def test_shuffling_moves_whole_cells():
    images = pictures()
    moved = shuffle_cells(images, (4, 5), seeded())

    def cells(x):
        return x.view(3, 3, 4, 3, 5, 4).permute(0, 2, 4, 1, 3, 5).reshape(3, 20, -1)

    assert not torch.equal(moved, images)
    for before, after in zip(cells(images), cells(moved), strict=True):
        assert {tuple(c.tolist()) for c in before} == {tuple(c.tolist()) for c in after}


def test_grids_that_do_not_fit():
    with pytest.raises(UserError, match=r"grid=5x5 does not divide pictures of 12x20: .* 4x5"):
        shuffle_cells(pictures(), (5, 5), seeded())
    with pytest.raises(UserError, match=r"cells=21: a grid of 4x5 has 20"):
        drop_cells(pictures(), 21, (4, 5), seeded())
