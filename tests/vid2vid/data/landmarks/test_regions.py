"""Boxes of faces and hands by hand, and that they follow the crop."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from vid2vid.config import Region
from vid2vid.data.augment import Crop
from vid2vid.data.frames import RawFrame
from vid2vid.data.landmarks.person import Person, missing
from vid2vid.data.landmarks.regions import region_boxes
from vid2vid.model.regions import cut_out

BOTH = [Region.face, Region.hands]


def points(count: int, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """As many points on the edge of a box, all seen."""
    found = missing(count)
    found[:, 2] = 1.0
    found[:, :2] = [[left, top], [right, bottom], [left, bottom], [right, top]] * (count // 4) + [[left, top]] * (
        count % 4
    )
    return found


def test_boxes_have_room_around_the_points() -> None:
    """A face of 10 x 20 pixels, 1.6 times as large; a hand of 5 x 5 pixels, 1.4 times; the right hand is not there."""
    person = Person(face=points(68, 10, 20, 19, 39), left_hand=points(21, 50, 50, 54, 54))
    boxes = region_boxes([[person]], BOTH)
    assert boxes[0].tolist() == pytest.approx([15 - 8, 30 - 16, 15 + 8, 30 + 16])
    assert boxes[1].tolist() == pytest.approx([52.5 - 3.5, 52.5 - 3.5, 52.5 + 3.5, 52.5 + 3.5])
    assert boxes[2].isnan().all()


def test_of_a_body_without_face_the_head_is_taken() -> None:
    body = missing(25)
    for index, place in {0: (20, 20), 15: (17, 18), 16: (23, 18), 17: (14, 20), 18: (25, 20)}.items():
        body[index] = (*place, 0.9)
    box = region_boxes([[Person(body=body)]], [Region.face])[0].tolist()
    assert box == pytest.approx([20 - 9.6, 19.5 - 2.4, 20 + 9.6, 19.5 + 2.4])
    body[15:] = 0
    assert region_boxes([[Person(body=body)]], [Region.face]).isnan().all(), "a nose is no face"


def test_sources_complete_each_other_and_the_largest_person_counts() -> None:
    near, far = Person(face=points(68, 0, 0, 40, 40)), Person(face=points(68, 50, 0, 55, 5))
    hand = Person(right_hand=points(21, 60, 60, 69, 69))
    boxes = region_boxes([[far, near], [hand]], BOTH)
    assert torch.equal(boxes[0], region_boxes([[near]], [Region.face])[0])
    assert torch.equal(boxes[2], region_boxes([[hand]], [Region.hands])[1])
    assert boxes[1].isnan().all() and region_boxes([[], []], BOTH).isnan().all()


class Drawn:
    """A source of landmarks that draws nothing."""

    size = None

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        return torch.zeros(1, *crop.size, dtype=torch.uint8)

    def people(self) -> Sequence[Person]:
        return [Person(face=points(68, 100, 40, 119, 59), left_hand=points(21, 30, 30, 39, 39))]


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_follow_the_crop(flip: bool) -> None:
    """A white face on black: what is cut out of the crop is the face and its margin, wherever the crop lies."""
    image = torch.zeros(3, 96, 192, dtype=torch.uint8)
    image[:, 40:60, 100:120] = 255
    image[0, 30:40, 30:40] = 255
    frame = RawFrame("a", "a", (96, 192), image, sources=[Drawn()])
    cropped = frame.cropped(Crop((96, 192), 16, 20, 64, 128, (32, 64), flip), regions=BOTH)
    boxes = cropped["regions"]
    assert boxes.shape == (3, 4) and boxes[1 if flip else 2].isnan().all(), "the mirror has exchanged the hands"
    cuts = cut_out(cropped["image"].float()[None, None] / 255, boxes[None, None])
    face, hand = cuts[0], cuts[2 if flip else 1]
    assert (face[:, 3:5, 3:5] > 0.9).all() and float(face[:, 0].max()) < 0.1
    assert float(face.mean()) == pytest.approx((10 / 10.5 / 1.6) ** 2, abs=0.02)
    assert float(hand[0].mean()) == pytest.approx((5 / 5.5 / 1.4) ** 2, abs=0.04) and float(hand[1].max()) < 0.1
    assert "regions" not in frame.cropped(Crop((96, 192), 0, 0, 96, 192, (96, 192)))
