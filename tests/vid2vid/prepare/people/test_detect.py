from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.fake_people import fake_people
from trainer.errors import ConfigError
from vid2vid.prepare.people.detect import PARTS, POINTS, following, together, triples
from vid2vid.prepare.people.detector import Detector, parts, task_files

BODY, LEFT, RIGHT, FACE = parts().values()


def _body(x: float) -> np.ndarray:
    """Nose at (x, 10), shoulders 40 apart, wrists 30 to each side."""
    points = np.ones((33, 3))
    points[:, :2] = (x, 60)
    points[0, 1] = 10
    points[11, 0], points[12, 0], points[15, 0], points[16, 0] = x + 20, x - 20, x + 30, x - 30
    return points


def _face(x: float) -> np.ndarray:
    points = np.ones((478, 3))
    points[:, 0] = np.linspace(x - 10, x + 10, 478)
    points[:, 1] = 12
    return points


def _hand(x: float, y: float = 60.0) -> np.ndarray:
    return np.full((21, 3), 1.0) * (x, y, 1)


def test_parts_of_an_answer() -> None:
    assert list(PARTS) == ["body", "left", "right", "face"] and POINTS == 33 + 21 + 21 + 478
    assert (slice(0, 33), slice(75, 553)) == (BODY, FACE)


def test_landmarks_become_pixels() -> None:
    """The corner of the picture is half a pixel outside of the first pixel's middle."""
    points = [SimpleNamespace(x=0.0, y=0.5, visibility=0.25), SimpleNamespace(x=1.0, y=1.0, visibility=None)]
    found = triples(points, (20, 40), True)
    assert found == pytest.approx(np.array([[-0.5, 9.5, 0.25], [39.5, 19.5, 1e-3]]))
    assert triples(points, (20, 40), False)[:, 2].tolist() == [1, 1]


def test_faces_and_hands_go_to_their_bodies() -> None:
    hands = [_hand(232.0), _hand(72.0), _hand(150.0, 90.0)]  # the second's left one, the first's right one, nobody's
    found = together([_body(100.0), _body(200.0)], [_face(203.0), _face(300.0)], hands, 3)
    assert not found[0, FACE].any() and found[1, FACE][:, 0].mean() == pytest.approx(203)
    assert found[2, FACE][:, 0].mean() == pytest.approx(300) and not found[2, BODY].any()  # a face without a body
    assert found[0, RIGHT][0, 0] == 72 and not found[0, LEFT].any()
    assert found[1, LEFT][0, 0] == 232 and not found[1, RIGHT].any()
    assert not together([], [], [], 2).any()


def test_people_keep_their_places() -> None:
    first = together([_body(100.0), _body(200.0)], [], [], 2)
    second = together([_body(207.0), _body(104.0)], [], [], 2)  # found in another order
    assert following(second, first)[:, 0, 0].tolist() == [104, 207]
    alone = together([_body(207.0)], [], [], 2)
    after = following(alone, first)
    assert not after[0].any() and after[1, 0, 0] == 207
    assert following(second, after)[:, 0, 0].tolist() == [104, 207]  # the other one comes back


def test_answers_of_the_process(tmp_path) -> None:
    detector = Detector(fake_people(tmp_path))
    pixels = np.zeros((4, 6, 3), np.uint8) + np.array([160, 80, 80], np.uint8)
    detector.forget()
    points, matte = detector.find(pixels, "frame")
    assert points.shape == (1, 553, 3) and points[0, 0].tolist() == [20, 2, 1] and (matte == 80).all()
    detector.close()


def test_task_files(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"has no pose_landmarker\.task"):
        task_files(str(tmp_path))
    (tmp_path / "pose_landmarker_full.task").touch()
    (tmp_path / "hand_landmarker.task").touch()
    found = task_files(str(tmp_path))
    assert [path and path.name for path in found] == ["pose_landmarker_full.task", None, "hand_landmarker.task"]
