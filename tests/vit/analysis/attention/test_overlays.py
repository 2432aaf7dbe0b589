"""Maps over pictures."""

from __future__ import annotations

import torch

from vit.analysis.attention.overlays import framed, overlay, stacked, stretched, tiles


def test_a_map_spans_the_scale_and_squares_stay_squares() -> None:
    values = stretched(torch.tensor([[2.0, 4.0], [3.0, 2.0]]), (4, 6), nearest=True)
    assert values.shape == (4, 6) and values[0].tolist() == [0, 0, 0, 1, 1, 1] and values[3, 0] == 0.5
    assert not stretched(torch.full((2, 2), 0.25), (4, 4)).any(), "an even map has no peak"


def test_where_more_is_attended_to_more_colour_lies() -> None:
    grey = torch.full((1, 2, 2), 100, dtype=torch.uint8)
    laid = overlay(grey, torch.tensor([[0.0, 1.0], [0.0, 0.5]])).int()
    spread = laid.amax(dim=0) - laid.amin(dim=0)
    assert laid.shape == (3, 2, 2) and spread[0, 1] > 3 * spread[0, 0] and laid[0, 0, 1] > laid[2, 0, 1], "red"


def test_a_patch_is_framed() -> None:
    marked = framed(torch.zeros(3, 8, 8, dtype=torch.uint8), (1, 0), (4, 4))
    assert int((marked[0] == 255).sum()) == 12 and marked[0, 4, 0] == 255 and marked[0, 5, 1] == 0


def test_sheets() -> None:
    picture = torch.zeros(3, 8, 4, dtype=torch.uint8)
    row = tiles([("one", picture), ("two", picture)], 32)
    assert row.shape[1] == 2 * (16 + 6) and row.shape[0] > 38
    assert stacked([row, row[:, :10]]).shape == (2 * row.shape[0], 44, 3)
