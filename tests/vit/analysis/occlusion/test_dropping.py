"""What pictures lose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vit.analysis.occlusion.dropping import By, Dropping, Fill, Mode, in_corner, whole
from vit.analysis.passes import Pictures
from vit.analysis.scope import Scope

SIZE = (12, 20)


class Gradient:
    """Attention that falls from patch to patch: 0.4, 0.3, 0.2, 0.1 on a grid of 2x2."""

    def pixels(self, pixels: Tensor) -> Tensor:
        mass = torch.tensor([[0.4, 0.3], [0.2, 0.1]], dtype=torch.float64)
        mass = mass.repeat_interleave(SIZE[0] // 2, 0).repeat_interleave(SIZE[1] // 2, 1)
        return (mass / mass.sum()).expand(len(pixels), -1, -1)


def dropping(grid: tuple[int, int] = (4, 5), **changes: object) -> Dropping:
    usual = {"offset": 0, "fill": Fill.zero, "scope": Scope.image, "by": By.mass, "seed": 0, "saliency": Gradient()}
    return Dropping(grid, **{**usual, **changes})  # type: ignore[arg-type]


def pictures(first: int = 0, count: int = 6, number: int = 0) -> Pictures:
    every = torch.randint(1, 256, (8, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    index = torch.arange(first, first + count)
    return Pictures(every[index], index, index, number)


def lost(mode: Mode, ratio: float, run: int = 0, of: Pictures | None = None, **changes: object) -> Tensor:
    of = of or pictures()
    shown, mask = dropping(**changes).shown(None, of, mode, ratio, run)  # type: ignore[arg-type]
    assert torch.equal(shown, of.pixels.masked_fill(mask[:, None], 0)), "nothing else has changed"
    return mask


def test_so_many_cells_are_so_many_pixels() -> None:
    """0.3 of 20 cells are 6, of 3x4 pixels each, whole cells, other ones for each picture; 0.34 are 6 too."""
    for ratio, offset in ((0.3, 0), (0.34, 0), (0.3, 7)):
        mask = lost(Mode.random, ratio, offset=offset)
        assert mask.sum(dim=(1, 2)).tolist() == [6 * 12] * 6
    cells = lost(Mode.random, 0.3).unflatten(1, (4, 3)).unflatten(3, (5, 4)).float().mean(dim=(2, 4))
    assert set(cells.flatten().tolist()) == {0.0, 1.0} and len({str(row.tolist()) for row in cells}) == 6
    assert lost(Mode.pixel, 0.3).sum(dim=(1, 2)).tolist() == [72] * 6
    assert not torch.equal(lost(Mode.pixel, 0.3), lost(Mode.random, 0.3))
    assert whole(0.29 * 100) == 29 and whole(0.7 * 10) == 7 and whole(0.99) == 0


def test_draws_are_of_the_picture_whatever_the_batch() -> None:
    all_at_once = lost(Mode.random, 0.5)
    parts = [lost(Mode.random, 0.5, of=pictures(first, 2, number)) for number, first in enumerate((0, 2, 4))]
    assert torch.equal(torch.cat(parts), all_at_once)
    assert not torch.equal(lost(Mode.random, 0.5, run=1), all_at_once)
    assert not torch.equal(lost(Mode.random, 0.5, seed=1), all_at_once)
    assert (lost(Mode.random, 0.6) >= all_at_once).all(), "what is lost at 0.5 is lost at 0.6 too"


def test_a_batch_shares_a_draw_in_the_papers_way() -> None:
    mask = lost(Mode.random, 0.5, scope=Scope.batch)
    assert (mask == mask[0]).all()
    assert not torch.equal(lost(Mode.random, 0.5, of=pictures(number=1), scope=Scope.batch), mask)


@pytest.mark.parametrize(
    ("ratio", "by", "cells"),
    [
        (0.4, By.mass, [[1, 0], [0, 0]]),
        (0.41, By.mass, [[1, 1], [0, 0]]),
        (0.7, By.mass, [[1, 1], [0, 0]]),
        (0.95, By.mass, [[1, 1], [1, 1]]),
        (0.75, By.cells, [[1, 1], [1, 0]]),
        (0.49, By.cells, [[1, 0], [0, 0]]),
        (1.0, By.cells, [[1, 1], [1, 1]]),
    ],
)
def test_the_smallest_set_that_holds_the_attention(ratio: float, by: By, cells: list[list[int]]) -> None:
    mask = lost(Mode.salient, ratio, grid=(2, 2), by=by)
    assert mask[:, ::6, ::10].int().tolist() == [cells] * 6 and mask[:, 5::6, 9::10].int().tolist() == [cells] * 6


@pytest.mark.parametrize("by", list(By))
@pytest.mark.parametrize("offset", [0, 5])
def test_salient_and_other_cells_are_the_picture_without_overlap(by: By, offset: int) -> None:
    """The attention is on a grid of 2x2, cells are 4x5: halves of two patches among them."""
    for ratio in (0.0, 0.2, 0.33, 0.5, 0.8, 1.0):
        salient = lost(Mode.salient, ratio, by=by, offset=offset)
        others = lost(Mode.nonsalient, 1 - ratio, by=by, offset=offset)
        assert torch.equal(salient, ~others)
    assert not lost(Mode.nonsalient, 0.0, by=by).any() and lost(Mode.salient, 1.0, by=by).all()


def test_what_comes_in_place_of_pixels() -> None:
    class Subject:
        class loaded:
            mean = [0.1, 0.5, 0.9]  # noqa: RUF012

    of = pictures()
    shown, mask = dropping(fill=Fill.mean).shown(Subject, of, Mode.random, 0.5, 0)  # type: ignore[arg-type]
    gone = shown.permute(0, 2, 3, 1)[mask]
    assert shown.dtype == torch.uint8 and gone.unique(dim=0).tolist() == [[26, 128, 230]]
    shown, mask = dropping(fill=Fill.noise).shown(Subject, of, Mode.random, 0.5, 0)  # type: ignore[arg-type]
    gone = shown.permute(0, 2, 3, 1)[mask].float()
    assert 120 < float(gone.mean()) < 135 and 70 < float(gone.std()) < 77 and float(gone.max()) > 250
    assert torch.equal(shown.permute(0, 2, 3, 1)[~mask], of.pixels.permute(0, 2, 3, 1)[~mask])
    part, _ = dropping(fill=Fill.noise).shown(Subject, pictures(3, 2, 9), Mode.random, 0.5, 0)  # type: ignore[arg-type]
    assert torch.equal(part, shown[3:5])


def test_a_corner_holds_the_picture() -> None:
    """A quarter of the area of a picture whose four quarters are plain: its own quarters, at 6x10 pixels."""
    plain = torch.zeros(1, 1, 12, 20)
    plain[..., :6, :10], plain[..., 6:, 10:] = 100, 200
    for corner, (top, left) in enumerate([(0, 0), (0, 10), (6, 0), (6, 10)]):
        shown, mask = in_corner(plain, 0.75, corner, torch.tensor(7))
        inside = shown[0, 0, top : top + 6, left : left + 10]
        assert inside[0, 0] == 100 and inside[5, 9] == 200 and int((~mask).sum()) == 60
        assert (shown[0, 0][mask[0]] == 7).all() and not mask[0, top : top + 6, left : left + 10].any()
    assert torch.equal(in_corner(plain, 0.0, 3, None)[0], plain) and in_corner(plain, 1.0, 0, None)[1].all()
