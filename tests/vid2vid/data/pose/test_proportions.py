"""Proportions measured, and a motion given to another body, against limbs computed by hand."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from vid2vid.data.augment import Crop
from vid2vid.data.landmarks.person import Person, missing
from vid2vid.data.landmarks.skeletons import BODY_25, LIMBS
from vid2vid.data.pose.proportions import Proportions, fit, measure

SHOWN = Crop((120, 200), 10, 30, 100, 100, (50, 50))  # rows 10 to 110, columns 30 to 130
NAMES = {name: index for index, name in enumerate(BODY_25)}


def person(confidence: float = 1.0, /, **points: tuple[float, float]) -> Person:
    """With these points of its body; `mid_hip` is the mid hip."""
    body = missing(25)
    for name, xy in points.items():
        body[NAMES[name.replace("_", " ")]] = (*xy, confidence)
    return Person(body=body)


def driving(x: float = 30.0, jump: float = 0.0) -> dict[str, tuple[float, float]]:
    """Trunk 20, neck to nose 10, thigh 15, shin 15; stands at x on the line 80."""
    return {
        "mid_hip": (x, 50 - jump), "neck": (x, 30 - jump), "nose": (x, 20 - jump),
        "right_hip": (x - 4, 50 - jump), "right_knee": (x - 4, 65 - jump), "right_ankle": (x - 4, 80 - jump),
    }  # fmt: skip


# Trunk 30, neck to nose 10, hip 4, thigh 30, shin 15: 90 on the ground, around x = 60
TARGET = {
    "mid_hip": (60.0, 45.0), "neck": (60.0, 15.0), "nose": (60.0, 5.0),
    "right_hip": (56.0, 45.0), "right_knee": (56.0, 75.0), "right_ankle": (56.0, 90.0),
}  # fmt: skip


def limb(name: str, other: str) -> int:
    return LIMBS.index((NAMES[name], NAMES[other]))


def body(fitted: Person | None, name: str) -> tuple[float, float]:
    assert fitted is not None
    x, y = np.round(fitted.body[NAMES[name], :2].astype(float), 4).tolist()
    return x, y


def test_lengths_are_medians_of_sure_frames_in_heights_of_the_picture() -> None:
    frames = [person(mid_hip=(30, 50), neck=(30, 50 - length)) for length in (20, 22, 90)]
    frames.append(person(0.2, mid_hip=(30, 50), neck=(30, 49)))  # not sure
    found = measure([[*frames, None]], [SHOWN])
    assert found.limbs[limb("mid hip", "neck")] == pytest.approx(0.22)
    assert np.isnan(found.limbs[limb("neck", "nose")]) and np.isnan(found.ground) and np.isnan(found.palm)
    assert found.places[NAMES["mid hip"]].tolist() == pytest.approx([0.005, 0.405])  # from the corner
    # The lowest of the feet, where it is most of the time: a jump and a stumble do not count.
    feet = [person(left_heel=(1, low), right_ankle=(2, 70)) for low in (80, 80, 60, 95, 80)]
    assert measure([feet], [SHOWN]).ground == pytest.approx(0.705)


def test_hands_and_faces_have_a_size() -> None:
    hand, face = missing(21), missing(68)
    hand[0], hand[9] = (10, 10, 1), (13, 14, 1)
    face[36], face[45] = (40, 20, 1), (48, 20, 1)
    found = measure([[Person(right_hand=hand, face=face)]], [SHOWN])
    assert (found.palm, found.eyes) == (pytest.approx(0.05), pytest.approx(0.08))


def test_proportions_are_kept_as_json() -> None:
    found = measure([[person(**driving())]], [SHOWN])
    again = Proportions.of_plain(json.loads(json.dumps(found.plain(), allow_nan=False)))
    np.testing.assert_array_equal(again.limbs, found.limbs)
    np.testing.assert_array_equal(again.places, found.places)
    assert again.ground == found.ground and np.isnan(again.palm) and np.isnan(again.eyes)


def test_limbs_of_another_person_computed_by_hand() -> None:
    track: list[Person | None] = [person(**driving(30)), person(**driving(30, jump=6)), person(**driving(40))]
    source, target = measure([[person(**driving(30))]], [SHOWN]), measure([[person(**TARGET)]], [SHOWN])
    fitted = fit(track, source, target, SHOWN)
    assert fitted is not None
    # Trunk 20 -> 30, hip 4 -> 4, thigh 15 -> 30, shin 15 -> 15, neck to nose 10 -> 10: limbs of 64 and 89 in all, the
    # body's scale is 89 / 64. The ankle stands on 90, so the knee is at 75, hips at 45, the neck at 15, the nose at 5.
    scale = 89 / 64
    assert body(fitted[0], "right ankle")[1] == 90
    assert body(fitted[0], "right knee")[1] == 75
    assert body(fitted[0], "mid hip") == (60, 45)
    assert body(fitted[0], "neck") == (60, 15)
    assert body(fitted[0], "nose") == (60, 5)
    assert body(fitted[0], "right hip") == (56, 45)
    # A jump of 6 is one of 6 times the scale, of the whole figure.
    assert body(fitted[1], "right ankle")[1] == pytest.approx(90 - 6 * scale, abs=1e-3)
    assert body(fitted[1], "neck")[1] == pytest.approx(15 - 6 * scale, abs=1e-3)
    # A step of 10 aside likewise.
    assert body(fitted[2], "mid hip") == (pytest.approx(60 + 10 * scale, abs=1e-3), 45)


def test_directions_and_foreshortening_stay() -> None:
    source, target = measure([[person(**driving())]], [SHOWN]), measure([[person(**TARGET)]], [SHOWN])
    bent = driving() | {"right_knee": (35.0, 62.0), "right_ankle": (35.0, 70.0)}  # hip 26,50: a thigh of (9, 12)
    fitted = fit([person(**bent)], source, target, SHOWN)
    assert fitted is not None
    hip, knee, ankle = (np.array(body(fitted[0], name)) for name in ("right hip", "right knee", "right ankle"))
    assert (knee - hip).tolist() == pytest.approx([18, 24]) and (ankle - knee).tolist() == pytest.approx([0, 8])


def test_the_same_proportions_change_nothing() -> None:
    track = [person(**driving(x, jump)) for x, jump in ((30, 0), (32, 3), (36, 0))]
    same = measure([[*track]], [SHOWN])
    fitted = fit(track, same, same, SHOWN)
    assert fitted is not None
    for before, after in zip(track, fitted, strict=True):
        assert after is not None
        np.testing.assert_allclose(after.body, before.body, atol=1e-4)


def test_hands_and_face_go_with_wrist_and_nose() -> None:
    hand, face = missing(21), missing(68)
    hand[0], hand[9] = (50, 30, 1), (50, 40, 1)
    face[36], face[45] = (26, 18, 1), (34, 18, 1)
    points = driving() | {"left_shoulder": (40.0, 30.0), "left_elbow": (45.0, 30.0), "left_wrist": (50.0, 30.0)}
    whole = Person(person(**points).body, left_hand=hand, face=face)
    source = measure([[whole]], [SHOWN])
    target = Proportions(source.limbs * 2, source.palm * 3, source.eyes * 1.5, source.places, source.ground)
    fitted = fit([whole], source, target, SHOWN)
    assert fitted is not None and fitted[0] is not None
    wrist, nose = np.array(body(fitted[0], "left wrist")), np.array(body(fitted[0], "nose"))
    assert (fitted[0].left_hand[0, :2] - wrist).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert (fitted[0].left_hand[9, :2] - wrist).tolist() == pytest.approx([0, 30], abs=1e-4)
    assert (fitted[0].face[36, :2] - nose).tolist() == pytest.approx([-6, -3], abs=1e-4)
    assert not fitted[0].right_hand.any()


def test_a_limb_that_is_not_known_is_scaled_as_the_body_is_and_a_wild_one_not_beyond_twice_that() -> None:
    source = measure([[person(**driving())]], [SHOWN])
    limbs = source.limbs * 2
    limbs[limb("neck", "nose")], limbs[limb("right hip", "right knee")] = np.nan, 10.0
    # Known of both: trunk 20, hip 4 and shin 15 that are twice as long, a thigh of 15 that is 1000.
    scale = (40 + 8 + 30 + 1000) / (20 + 4 + 15 + 15)
    fitted = fit([person(**driving())], source, Proportions(limbs, 0.1, 0.1, source.places, source.ground), SHOWN)
    assert fitted is not None
    neck, nose = np.array(body(fitted[0], "neck")), np.array(body(fitted[0], "nose"))
    assert neck[1] - nose[1] == pytest.approx(10 * scale, rel=1e-4)
    hip, knee = np.array(body(fitted[0], "right hip")), np.array(body(fitted[0], "right knee"))
    assert knee[1] - hip[1] == pytest.approx(15 * 2 * scale, rel=1e-4)


def test_nothing_jumps_where_feet_and_knees_are_lost_for_a_moment() -> None:
    track: list[Person | None] = []
    for number in range(30):
        points = driving(30 + number, jump=0.1 * number)
        if number in (7, 8, 20):
            del points["right_knee"]
        if 10 <= number < 18:  # longer than a gap that is bridged
            del points["right_ankle"]
        track.append(None if number == 25 else person(**points))
    source, target = measure([track], [SHOWN]), measure([[person(**TARGET)]], [SHOWN])
    fitted = fit(track, source, target, SHOWN)
    assert fitted is not None and None not in fitted
    scale = 89 / 64
    for name in ("mid hip", "neck", "nose", "right knee"):
        steps = np.array([np.subtract(body(b, name), body(a, name)) for a, b in pairwise(fitted)])
        np.testing.assert_allclose(steps, np.broadcast_to([scale, -0.1 * scale], steps.shape), atol=0.01)


def test_without_feet_the_figure_keeps_its_place_and_with_nothing_in_common_there_is_none() -> None:
    upper = {name: xy for name, xy in driving().items() if name in ("mid_hip", "neck", "nose")}
    source, target = measure([[person(**upper)]], [SHOWN]), measure([[person(**TARGET)]], [SHOWN])
    fitted = fit([person(**upper), None], source, target, SHOWN)
    assert fitted is not None and fitted[1] is None  # no frame after it to bridge to
    assert body(fitted[0], "mid hip") == (60, 45) and body(fitted[0], "neck") == (60, 15)
    arm = measure([[person(left_elbow=(1, 1), left_wrist=(9, 9))]], [SHOWN])
    assert fit([person(**upper)], arm, target, SHOWN) is None


def test_people_of_two_films_of_different_sizes() -> None:
    large = Crop((240, 400), 20, 60, 200, 200, (50, 50))  # what SHOWN is at twice the size
    double = {name: (2 * (x + 0.5) - 0.5, 2 * (y + 0.5) - 0.5) for name, (x, y) in driving().items()}
    small, big = measure([[person(**driving())]], [SHOWN]), measure([[person(**double)]], [large])
    np.testing.assert_allclose(big.limbs, small.limbs, rtol=1e-5)
    np.testing.assert_allclose(big.places, small.places, rtol=1e-5)
    assert big.ground == pytest.approx(small.ground)
    # Fitted to the person of the small film, the one of the large film stands where it stood.
    target = measure([[person(**TARGET)]], [SHOWN])
    fitted = fit([person(**double)], big, target, large)
    assert fitted is not None
    assert body(fitted[0], "mid hip") == pytest.approx((2 * 60.5 - 0.5, 2 * 45.5 - 0.5), abs=1e-3)
    assert body(fitted[0], "right ankle")[1] == pytest.approx(2 * 90.5 - 0.5, abs=1e-3)
