"""Shape and texture of pictures from their names."""

import pytest
import torch

from trainer.errors import DataError
from vit.analysis.passes import Pictures
from vit.analysis.shape.cues import Cues

CLASSES = ["bear", "knife", "polar bear", "car-t"]


def pictures(names: list[str], labels: list[int]) -> Pictures:
    index = torch.arange(len(names))
    return Pictures(torch.zeros(len(names), 3, 2, 2), index, torch.tensor(labels), 0, {"name": names})


def test_names():
    names = ["/x/knife/knife3-bear2.png", "polar bear1-car-t7.JPG", "car-t-knife.png", "Bear10-Knife1.png"]
    shape, texture = Cues(CLASSES).of(pictures(names, [1, 2, 3, 0]))
    assert shape.tolist() == [1, 2, 3, 0] and texture.tolist() == [0, 3, 1, 1]


def test_of_the_built_in_shapes():
    shown = pictures(["val/0"], [0])
    shown.facts["shape"], shown.facts["texture"] = torch.tensor([4]), torch.tensor([7])  # type: ignore[index]
    assert [cue.tolist() for cue in Cues(CLASSES).of(shown)] == [[4], [7]]


def test_names_that_tell_nothing():
    with pytest.raises(DataError, match=r"IMG_1\.png: its name does not tell .*bear/bear3-car-t2\.png"):
        Cues(CLASSES).of(pictures(["IMG_1.png"], [0]))
    with pytest.raises(DataError, match=r"shape is knife, its folder bear: put it"):
        Cues(CLASSES).of(pictures(["knife3-bear2.png"], [0]))
