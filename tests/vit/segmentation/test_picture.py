"""Masks as pictures: colours, indices that keep their numbers, and legends that hold every class."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from trainer.data.labels.colour_tables import colour_table
from trainer.records.confusion import NONE
from vit.segmentation.classes import named, numbered, of_table
from vit.segmentation.picture import WIDTH, Seen, index_png, known, legend, overlaid, sheet

CLASSES = named(["sky", "sea"])


def test_a_png_of_indices_holds_numbers_and_colours() -> None:
    found = torch.tensor([[0, 1], [NONE, 1]])
    file = io.BytesIO()
    index_png(found, CLASSES).save(file, "PNG")
    again = Image.open(file)
    assert again.mode == "P" and np.asarray(again).tolist() == [[0, 1], [255, 1]]
    assert np.array_equal(np.asarray(again.convert("RGB")), CLASSES.painted(found).numpy())
    assert CLASSES.painted(found)[1, 0].tolist() == [0, 0, 0]


def test_many_classes_take_sixteen_bits() -> None:
    file = io.BytesIO()
    index_png(torch.tensor([[299, NONE]]), numbered(300)).save(file, "PNG")
    assert np.asarray(Image.open(file)).tolist() == [[299, 65535]]


def test_overlays_lie_between_picture_and_colours() -> None:
    image, colours = torch.zeros(1, 1, 3, dtype=torch.uint8), torch.full((1, 1, 3), 200, dtype=torch.uint8)
    assert overlaid(image, colours).tolist() == [[[110, 110, 110]]]


def test_legends_grow_with_the_classes_and_show_each_colour() -> None:
    few, many = legend(CLASSES, 400), legend(numbered(40), 400)
    assert few.shape[1] == many.shape[1] == 400 and many.shape[0] > 4 * few.shape[0]
    seen = {tuple(pixel) for pixel in many.reshape(-1, 3).tolist()}
    assert set(numbered(40).colours) <= seen


def test_sheets() -> None:
    one = Seen(torch.zeros(3, 5, 8, dtype=torch.uint8), torch.zeros(10, 16).long(), torch.ones(10, 16).long(), "x")
    made = sheet([one, one], CLASSES, [0.5, None])
    assert made.shape[1] == 4 * WIDTH and made.shape[0] > 2 * WIDTH * 10 // 16
    middle = made[100]
    assert tuple(middle[WIDTH + 9].tolist()) == CLASSES.colours[0]
    assert tuple(middle[2 * WIDTH + 9].tolist()) == CLASSES.colours[1]
    assert known([one], CLASSES).shape[1] == 3 * WIDTH


def test_classes_of_a_table() -> None:
    made = of_table(colour_table("cityscapes_train_ids"), [255])
    assert len(made) == 19 and made.names[0] == "road" and made.colours[13] == (0, 0, 142)
    assert len(of_table(colour_table("voc"), [255])) == 21
