"""Cells of pictures blacked out and exchanged."""

import pytest
import torch

from trainer.errors import UserError
from vit.analysis.occlusion.cells import gathered, rearranged, spread, without_cells


def pictures(height=12, width=20, batch=3):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)) + 0.1


def test_cells_are_black_and_no_pixel_else():
    """Cell (2, 4) of a 4x5 grid of 12x20 pixels is rows 6 to 8, columns 16 to 19."""
    images, dropped = pictures(), torch.zeros(3, 4, 5, dtype=torch.bool)
    dropped[1, 2, 4] = True
    expected = images.clone()
    expected[1, :, 6:9, 16:20] = 0
    assert torch.equal(without_cells(images, dropped), expected)
    assert torch.equal(without_cells(images, torch.zeros(3, 4, 5, dtype=torch.bool)), images)


def test_what_is_filled_in():
    images = torch.randint(0, 256, (3, 3, 12, 20), dtype=torch.uint8)
    dropped = torch.ones(3, 4, 5, dtype=torch.bool)
    mean = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1)
    filled = without_cells(images, dropped, mean)
    assert filled.dtype == torch.uint8 and filled.float().mean(dim=(0, 2, 3)).tolist() == [10, 20, 30]


def test_a_moved_grid_wraps_around():
    """Cells of 3x4 pixels moved by 2: the first cell's rows are 2 to 4, the last cell's columns 18, 19, 0 and 1."""
    images, dropped = pictures(batch=1) + 1, torch.zeros(1, 4, 5, dtype=torch.bool)
    dropped[0, 0, 4] = True
    expected = images.clone()
    expected[0, :, 2:5, [18, 19, 0, 1]] = 0
    assert torch.equal(without_cells(images, dropped, offset=2), expected)


def test_a_grid_that_does_not_divide_has_cells_that_differ_by_a_pixel():
    """12 rows in 5: two or three each; 20 columns in 3: 7, 7 and 6. Together they are the picture."""
    cells = torch.arange(15).view(1, 5, 3)
    counts = spread(cells, (12, 20)).flatten().bincount()
    assert counts.view(5, 3)[0].tolist() == [21, 21, 18] and counts.view(5, 3)[:, 0].tolist() == [21, 14, 21, 14, 14]
    assert gathered(torch.ones(1, 12, 20), (5, 3))[0].flatten().tolist() == counts.tolist()
    assert gathered(torch.ones(1, 12, 20), (5, 3), offset=3)[0].flatten().tolist() == counts.tolist()


def test_one_cell_rearranged_is_the_picture():
    assert torch.equal(rearranged(pictures(), (1, 1), torch.zeros(3, 1, dtype=torch.long)), pictures())


def test_cells_come_to_their_places():
    """The order says which cell comes to each place: here the right half to the left."""
    images = pictures()
    moved = rearranged(images, (1, 2), torch.tensor([[1, 0]]).expand(3, 2))
    assert torch.equal(moved, torch.cat([images[..., 10:], images[..., :10]], dim=-1))
    order = torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(n)) for n in range(3)])
    there = rearranged(images, (4, 5), order)
    assert torch.equal(rearranged(there, (4, 5), order.argsort(dim=1)), images), "and back"
    assert not torch.equal(there, images)


def test_grids_that_do_not_fit():
    with pytest.raises(UserError, match=r"grid=5x5 does not divide pictures of 12x20: .* 4x5"):
        rearranged(pictures(), (5, 5), torch.zeros(3, 25, dtype=torch.long))
