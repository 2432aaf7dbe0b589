"""The sheet of classes: a row for each, frames in their colours."""

from __future__ import annotations

import torch

from vit.analysis.class_sheet import RIGHT, WRONG, Row, Tile, class_sheet

PICTURE = torch.full((1, 8, 8), 128, dtype=torch.uint8)


def colours(picture: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).unique(dim=0).tolist()}


def rgb(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(name[1:]))


def test_frames_have_their_colours() -> None:
    row = Row("a", [Tile(PICTURE)] * 2, [Tile(PICTURE, RIGHT)] * 3)
    all_right = class_sheet([row, row], ("left", "right"), "title")
    wrong = row._replace(right=[Tile(PICTURE, RIGHT), Tile(PICTURE, WRONG, "b"), Tile(PICTURE, RIGHT)])
    one_wrong = class_sheet([row, wrong], ("left", "right"), "title")
    assert rgb(RIGHT) in colours(all_right) and rgb(WRONG) not in colours(all_right)
    assert {rgb(RIGHT), rgb(WRONG)} <= colours(one_wrong) and one_wrong.shape == all_right.shape
    assert class_sheet([row] * 4, ("left", "right"), "title").shape[0] > all_right.shape[0]
