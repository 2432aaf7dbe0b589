"""Files of landmarks as users have them, each with the points it must become."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trainer.data.pictures.files import BadFileError
from trainer.errors import DataError
from vid2vid.data.landmarks.read import read_people

PATH = Path("frame.json")


def triples(count: int, confidence: float = 0.5) -> list[float]:
    """Point n is at (10 + n, 100 + 2 n)."""
    return [value for n in range(count) for value in (10.0 + n, 100.0 + 2 * n, confidence)]


def read(content: object, path: Path = PATH):
    return read_people(json.dumps(content).encode(), path)


def at(n: float) -> tuple[float, float]:
    return 10.0 + n, 100.0 + 2 * n


def test_openpose_body_25_hands_and_face_70() -> None:
    person = {
        "pose_keypoints_2d": triples(25), "face_keypoints_2d": triples(70),
        "hand_left_keypoints_2d": triples(21), "hand_right_keypoints_2d": [], "pose_keypoints_3d": [],
    }  # fmt: skip
    (found,) = read({"version": 1.2, "people": [person]})
    assert found.body.shape == (25, 3) and found.face.shape == (68, 3)
    assert tuple(found.body[24]) == (*at(24), 0.5)
    assert tuple(found.face[67]) == (*at(67), 0.5)
    assert tuple(found.left_hand[20]) == (*at(20), 0.5)
    assert not found.right_hand.any()


def test_openpose_of_before_1_2_has_no_2d_in_its_names_and_18_points() -> None:
    (found,) = read({"people": [{"pose_keypoints": triples(18)}]})
    right_hip, left_hip, right_eye, left_ear = at(8), at(11), at(14), at(17)
    assert tuple(found.body[9][:2]) == right_hip and tuple(found.body[12][:2]) == left_hip
    assert tuple(found.body[8][:2]) == at(9.5)  # between the hips
    assert tuple(found.body[15][:2]) == right_eye and tuple(found.body[18][:2]) == left_ear
    assert not found.body[19:].any()  # no feet


@pytest.mark.parametrize(
    "form",
    [
        lambda k: [{"image_id": 7, "keypoints": k, "score": 0.9}],
        lambda k: {"annotations": [{"keypoints": k}]},
        lambda k: {"keypoints": k},
        lambda k: np.reshape(k, (17, 3)).tolist(),
        lambda k: [np.reshape(k, (17, 3)).tolist()],
        lambda k: {"people": [{"pose_keypoints_2d": k}]},
    ],
)
def test_coco_17_in_all_its_forms(form) -> None:
    (found,) = read(form(triples(17, confidence=2)))
    assert tuple(found.body[1]) == (*at(5.5), 1.0)  # neck, between the shoulders; flag 2 is seen
    assert tuple(found.body[4][:2]) == at(10) and tuple(found.body[7][:2]) == at(9)  # right and left wrist
    assert tuple(found.body[8][:2]) == at(11.5)
    assert tuple(found.body[15][:2]) == at(2) and tuple(found.body[16][:2]) == at(1)  # right and left eye


def test_confidences_of_mmpose_are_a_list_of_their_own() -> None:
    scores = [n / 20 for n in range(17)]
    entry = {"keypoints": [list(at(n)) for n in range(17)], "keypoint_scores": scores, "bbox": [[0, 0, 9, 9]]}
    (found,) = read([entry])
    assert tuple(found.body[4]) == (*at(10), 0.5) and tuple(found.body[10]) == (*at(14), np.float32(0.7))
    assert found.body[0, 2] == 0


def test_points_without_confidences_are_missing_at_the_corner() -> None:
    pairs = [list(at(n)) for n in range(68)]
    pairs[3], pairs[5], pairs[7] = [0, 0], [-1, -1], [0, 40]
    (found,) = read(pairs)
    assert np.flatnonzero(found.face[:, 2] == 0).tolist() == [3, 5]


def test_a_point_between_two_is_missing_where_one_of_them_is() -> None:
    points = triples(17)
    points[5 * 3 : 6 * 3] = [0.0, 0.0, 0.0]  # left shoulder
    (found,) = read([{"keypoints": points}])
    assert found.body[1, 2] == 0 and found.body[2, 2] == 0.5


def test_mediapipe_33_has_heels_and_toes_and_478_become_68() -> None:
    (found,) = read({"people": [{"pose_keypoints_2d": triples(33), "face_keypoints_2d": triples(478)}]})
    assert tuple(found.body[19][:2]) == at(31) and tuple(found.body[21][:2]) == at(29)  # left toe, left heel
    assert tuple(found.body[22][:2]) == at(32) and tuple(found.body[24][:2]) == at(30)
    assert found.body[20, 2] == 0 and found.body[23, 2] == 0
    assert tuple(found.body[4][:2]) == at(16)
    # chin, tip of the nose, outer and inner corners of the eyes, corners of the mouth
    assert np.array_equal(found.face, read({"people": [{"face_keypoints_2d": triples(468)}]})[0].face)
    for point, vertex in {8: 152, 30: 4, 36: 33, 39: 133, 42: 362, 45: 263, 48: 61, 54: 291}.items():
        assert tuple(found.face[point][:2]) == at(vertex)


def test_plain_lists_and_lines_of_68_points_are_a_face() -> None:
    pairs = [list(at(n)) for n in range(68)]
    lines = "\n".join(f"{x},{y}" for x, y in pairs) + "\n"
    for found in (*read(pairs), *read_people(lines.encode(), Path("frame.txt"))):
        assert tuple(found.face[67]) == (*at(67), 1.0)
        assert not found.body.any()


def test_nobody_and_several_people() -> None:
    assert read({"people": []}) == [] and read([]) == []
    assert len(read({"people": [{"pose_keypoints_2d": triples(25)}] * 3})) == 3


def test_nobody_as_tools_write_it() -> None:
    """null is what None becomes, of a whole frame or of one who is not there."""
    for content in (
        None,
        {},
        [None],
        [[]],
        {"people": None},
        {"people": [None]},
        {"people": [{}]},
        {"annotations": []},
    ):
        assert read(content) == []
    person = {"face_keypoints_2d": triples(68)}
    assert len(read({"people": [None, person]})) == len(read([None, person])) == 1
    (nothing,) = read({"people": [{"pose_keypoints_2d": None, "face_keypoints_2d": []}]})
    assert not nothing.body.any() and not nothing.face.any()
    with pytest.raises(DataError, match="no numbers"):
        read([[1.0, 2.0], None, *[[3.0, 4.0]] * 67])


def test_what_is_no_number_is_missing() -> None:
    points = triples(25)
    points[3] = float("nan")
    (found,) = read({"people": [{"pose_keypoints_2d": points}]})
    assert not found.body[1].any() and found.body[0, 2] == 0.5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"people": [{"pose_keypoints_2d": triples(23)}]}, ["body of 23 points", "BODY_25", "MediaPipe"]),
        ({"people": [{"face_keypoints_2d": triples(5)}]}, ["face of 5 points", "68, 70, 468 or 478"]),
        ([[*at(n), 30.0 - n] for n in range(68)], ["from -37 to 30", "depths (z), not confidences", "x, y alone"]),
        ({"people": [{"hand_left_keypoints_2d": triples(20)}]}, ["left hand of 20 points", "21"]),
        ({"people": [{"pose_keypoints_2d": [1.0, 2.0]}]}, ["2 numbers", "x, y, confidence"]),
        ({"people": [{"pose_keypoints_2d": ["a", "b", "c"]}]}, ["no numbers"]),
        ({"people": [{"joints": []}]}, ["joints", "OpenPose", "scripts/prepare.py people"]),
        ({"people": [3]}, ["'3'"]),
        ({"shapes": []}, ["shapes", "OpenPose"]),
        ("words", ["str", "OpenPose"]),
        ([{"image_id": 1, "keypoints": triples(17)}, {"image_id": 2, "keypoints": triples(17)}], ["2 pictures"]),
        ({"people": [{"pose_keypoints_2d": [0.5, 0.25, 1.0] * 25}]}, ["0.25..0.5,", "Multiply"]),
        ([[0.5, 0.25, 1.0]] * 68, ["0.25..0.5,", "Multiply"]),
        ({"people": [{"pose_keypoints_2d": [0.5, 1.3, 1.0] * 25}]}, ["0.5..1.3,"]),  # feet below the frame
        ([{"keypoints": triples(17)}, {"keypoints": [-0.5, 0.3, 1.0] * 17}], ["-0.5..0.3,"]),  # of -1..1
        ([{"keypoints": [[1.0, 2.0]] * 17, "keypoint_scores": [0.5] * 16}], ["17 points", "16 keypoint_scores"]),
    ],
)  # fmt: skip
def test_landmarks_of_another_format_say_what_is_known(content: object, words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        read(content)
    assert not isinstance(error.value, BadFileError)
    for word in ["frame.json", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize("data", [b'{"people": [', b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_cut_off_is_a_bad_file(data: bytes) -> None:
    with pytest.raises(BadFileError, match=r"frame\.json"):
        read_people(data, PATH)


def test_an_empty_file_says_how_nobody_is_written() -> None:
    for data in (b"", b" \n"):
        with pytest.raises(BadFileError, match=r"frame\.json: is empty.*null.*data\.on_bad_file=skip"):
            read_people(data, PATH)
    assert read_people(b"\n", Path("frame.txt")) == [], "lines of no point"


def test_lines_that_are_no_points_are_named() -> None:
    with pytest.raises(DataError, match=r"frame\.txt, line 2: 'left eye' is no point"):
        read_people(b"1,2\nleft eye\n", Path("frame.txt"))
