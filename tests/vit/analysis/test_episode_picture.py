"""The picture of an episode: a row for each class, frames by what is right."""

from __future__ import annotations

import torch

from vit.analysis.episode_picture import RIGHT, WRONG, episode_picture


def colours(picture: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).unique(dim=0).tolist()}


def rgb(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(name[1:]))


def test_frames_tell_right_from_wrong() -> None:
    grey = [torch.full((3, 1, 8, 8), 128, dtype=torch.uint8)] * 2
    all_right = episode_picture(["a", "b"], grey, grey, torch.tensor([[0, 0, 0], [1, 1, 1]]), "t")
    one_wrong = episode_picture(["a", "b"], grey, grey, torch.tensor([[0, 0, 0], [1, 0, 1]]), "t")
    assert rgb(RIGHT) in colours(all_right) and rgb(WRONG) not in colours(all_right)
    assert {rgb(RIGHT), rgb(WRONG)} <= colours(one_wrong) and one_wrong.shape == all_right.shape
    assert episode_picture(["a"] * 4, grey * 2, grey * 2, torch.zeros(4, 3), "t").shape[0] > all_right.shape[0]
