"""What travels between the canvas and the server: exact ids, and refusals of whatever else a client may send."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.page.canvas import Moved, PaintClass, Painting, decode, encode

CLASSES = [
    PaintClass(7, "road", (128, 64, 128)),
    PaintClass(26, "car", (0, 0, 142)),
    PaintClass(300, "sky", (70, 130, 180)),
    PaintClass(-1, "void", (0, 0, 0)),
]
LABELS = np.array([[300, 300, 300, 300], [7, 26, 26, 7], [7, 7, 7, -1]])
SIZE = (3, 4)
PATH = ((0.0, 1.0, 1.0), (0.25, 1.5, 2.0), (1.0, -2.0, 7.0))


def sent(**changes: Any) -> dict[str, Any]:
    """A value as JSON brings it."""
    value = encode(LABELS, CLASSES, paths=True, objects=[Moved(26, (1, 1), PATH)])
    return json.loads(json.dumps(value | changes))


def test_ids_and_paths_come_back_as_they_were() -> None:
    painting = decode(sent(), CLASSES, SIZE)
    np.testing.assert_array_equal(painting.labels, LABELS[None])
    assert painting.labels.dtype == np.int32
    assert painting.objects == (Moved(26, (1, 1), PATH),)
    assert painting.frame == 0


def test_a_value_is_run_lengths_row_by_row() -> None:
    value = encode(LABELS, CLASSES, void=-1)
    assert value["frames"] == ["300 4 7 1 26 2 7 4 -1 1"]
    assert value["size"] == [3, 4]
    assert value["classes"][1] == {"id": 26, "name": "car", "colour": "#00008e"}
    assert (value["void"], value["paths"], value["objects"], value["frame"]) == (-1, False, [], 0)


def test_a_clip_comes_back_frame_by_frame() -> None:
    clip = np.random.default_rng(0).choice([7, 26, 300, -1], (5, 9, 11))
    painting = decode(encode(clip, CLASSES, frame=3), CLASSES, (9, 11), frames=5)
    np.testing.assert_array_equal(painting.labels, clip)
    assert isinstance(painting, Painting) and painting.frame == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": [4, 3]}, r"size \[4, 3\], not 3 by 4"),
        ({"size": "x" * 9999}, r"size x{40}, not"),
        ({"frames": None}, "no list of frames: between 1 and 8"),
        ({"frames": []}, "0 frames"),
        ({"frames": ["7 12"] * 9}, "9 frames: between 1 and 8"),
        ({"frames": [7]}, "frame 0 of the painting is no list of run lengths"),
        ({"frames": ["7 12 "]}, "no list of run lengths"),
        ({"frames": ["7 1e1 7 2"]}, "no list of run lengths"),
        ({"frames": ["7 nan"]}, "no list of run lengths"),
        ({"frames": ["7 12 7"]}, "no list of run lengths"),
        ({"frames": ["7 -12"]}, "no list of run lengths"),
        ({"frames": ["\u0667 12"]}, "no list of run lengths"),  # digits, but not of ASCII
        ({"frames": ["7 1 " * 10_000_000 + "7 1"]}, "no list of run lengths"),
        ({"frames": ["7 11"]}, "has 11 pixels, not 3 by 4"),
        ({"frames": ["7 13"]}, "has 13 pixels"),
        ({"frames": ["7 999999999"]}, "has 999999999 pixels"),
        ({"frames": ["8 12"], "objects": []}, "id 8 is none of the classes, whose ids are -1, 7, 26, 300"),
        ({"frames": ["7 12"]}, r"moving object 1: class 26 is not what the label map has at \[1, 1\]"),
        ({"frames": ["7 12", "7 12"]}, "a clip of 2 frames"),
        ({"frame": 1}, "frame 1: the painting has frames 0 to 0"),
        ({"frame": True}, "frame True"),
        ({"frame": float("nan")}, "frame nan"),
        ({"objects": {}}, "no list of moving objects"),
        ({"objects": [None] * 65}, "65 moving objects: at most 64"),
        ({"objects": [None]}, "seed None is not a row and a column"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(sent(**changes), CLASSES, SIZE, frames=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": [1]}, "seed"),
        ({"seed": [1.0, 1.0]}, "is not a row and a column"),
        ({"seed": [True, 1]}, "is not a row and a column"),
        ({"seed": [1, 4]}, "lies outside of the label map of 3 by 4"),
        ({"seed": [-1, 1]}, "lies outside"),
        ({"class": "26"}, "class 26 is not what"),
        ({"class": 7}, "class 7 is not what"),
        ({"path": "left"}, "a path is 2 to 512 points"),
        ({"path": [[0, 1, 1]]}, "a path is 2 to 512 points"),
        ({"path": [[0, 1, 1], [1, float("nan"), 1]]}, "each a time, a row and a column"),
        ({"path": [[0, 1, 1], [1, float("inf"), 1]]}, "each a time, a row and a column"),
        ({"path": [[0, 1, 1], [1, 10**400, 1]]}, "each a time, a row and a column"),
        ({"path": [[0, 1, 1], [1, 7, 1]]}, "more than the picture's own size"),
        ({"path": [[0, 1, 1], [1, 1, -5]]}, "more than the picture's own size"),
        ({"path": [[0, 1, 1], [0.5, 1, 2]]}, "do not rise from 0 to 1"),
        ({"path": [[0, 1, 1], [0.5, 1, 2], [0.5, 1, 3], [1, 1, 4]]}, "do not rise"),
        ({"path": [[i / 600, 1, 1] for i in range(601)]}, "a path is 2 to 512 points"),
    ],
)
def test_a_path_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    moved = {"class": 26, "seed": [1, 1], "path": [[0, 1, 1], [1, 1, 2]]} | changes
    with pytest.raises(DataError, match=message):
        decode(sent(objects=[moved]), CLASSES, SIZE)


@pytest.mark.parametrize("value", [None, "", "<p>", [], 3, {}])
def test_what_is_no_painting_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"no painting yet|has size None"):
        decode(value, CLASSES, SIZE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": LABELS * 1.0}, r"float64 \(3, 4\) are no label maps"),
        ({"labels": LABELS[0]}, r"\(4,\) are no label maps"),
        ({"labels": LABELS[:, :0]}, r"\(3, 0\) are no label maps"),
        ({"labels": np.zeros((4096, 2049), np.uint8)}, "8392704 pixels: at most 8388608"),
        ({"labels": np.zeros((4097, 1, 1), np.uint8)}, "a clip of 4097 frames"),
        ({"labels": LABELS + 1}, "id 0 is none of the classes"),
        ({"void": 255}, "void id 255 is none of the classes"),
        ({"frame": 1}, "frame 1: the painting has frames 0 to 0"),
        ({"labels": np.stack([LABELS] * 2), "paths": True}, "a clip of 2 frames"),
        ({"classes": []}, "0 classes"),
        ({"classes": [*CLASSES, CLASSES[0]]}, "5 classes with 4 ids"),
        ({"classes": [PaintClass(1 << 16, "far", (0, 0, 0))]}, "'far': id 65536 has more than 16 bits"),
        ({"classes": [PaintClass(7, "road", (0, 0, 256))]}, "not three numbers in 0..255"),
    ],
)
def test_a_canvas_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode(**{"labels": LABELS, "classes": CLASSES} | arguments)
