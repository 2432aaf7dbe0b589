"""Pictures with lines of text below."""

import numpy as np
import torch

from vit.analysis.contact_sheet import BAD, PLAIN, Tile, contact_sheet


def test_every_picture_is_there_and_rows_are_filled_from_the_left():
    """Seven tiles in rows of three: red ones, the last alone in the third row; grey pictures are shown in grey."""
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)
    sheet = contact_sheet("title", [Tile(red, [("said", PLAIN)])] * 7, columns=3).numpy()
    is_red = (sheet == [255, 0, 0]).all(axis=2)
    assert is_red.sum() > 7 * 160**2
    columns, rows = (np.flatnonzero(np.diff(is_red.any(axis=axis).astype(int)) == 1) for axis in (0, 1))
    assert len(columns) == 3 and len(rows) == 3
    assert is_red[rows[2] + 20 :, columns[1] :].sum() == 0
    grey = contact_sheet("", [Tile(torch.full((1, 8, 8), 90, dtype=torch.uint8), [("x" * 99, BAD)])]).numpy()
    assert (grey == 90).all(axis=2).sum() > 160**2
    assert (grey[:, -5:] == 255).all(), "what has no room is cut off"
