"""Skeletons as pictures, pixel by pixel, and what is left out of them."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest

from vid2vid.data.landmarks.person import Person, missing
from vid2vid.data.landmarks.skeletons import LIMBS
from vid2vid.data.pose.draw import FINGER_COLOURS, LIMB_COLOURS, Drops, draw_people

SIZE = (512, 512)


def whole(confidence: float = 1.0) -> Person:
    """Every point somewhere of its own."""
    rng = np.random.default_rng(3)

    def points(count: int) -> np.ndarray:
        return np.column_stack([rng.uniform(20, 490, (count, 2)), np.full(count, confidence)]).astype(np.float32)

    return Person(points(25), points(21), points(21), points(68))


def body(**points: tuple[float, float, float]) -> Person:
    """`p3=(x, y, c)` is point 3."""
    found = missing(25)
    for name, value in points.items():
        found[int(name[1:])] = value
    return Person(body=found)


def test_a_forearm_is_three_pixels_in_its_own_colour_at_512() -> None:
    drawn = draw_people([body(p3=(100, 200, 1), p4=(140, 200, 1))], SIZE)
    colour = LIMB_COLOURS[LIMBS.index((3, 4))]
    for row, share in {198: 0, 199: 1, 200: 1, 201: 1, 202: 0}.items():
        assert tuple(drawn[:, row, 120]) == tuple(round(share * value) for value in colour)
    assert drawn.any(axis=0).sum() == 3 * 41 + 2 * 3  # and a round end of 3 pixels on each side


def test_strokes_scale_with_the_height_and_never_get_thinner_than_a_pixel() -> None:
    thick = draw_people([body(p3=(100, 200, 1), p4=(140, 200, 1))], (1024, 300))
    assert np.count_nonzero(thick[:, :, 120].any(axis=0)) == 7  # 6 pixels wide: 5 whole ones and two halves
    thin = draw_people([body(p3=(10, 20, 1), p4=(40, 20, 1))], (64, 64))
    assert (
        np.count_nonzero(thin[:, :, 25].any(axis=0)) == 1
        and tuple(thin[:, 20, 25]) == LIMB_COLOURS[LIMBS.index((3, 4))]
    )


def test_colours_are_distinct() -> None:
    for a, b in itertools.combinations(LIMB_COLOURS, 2):
        assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) >= 60
    for (i, a), (j, b) in itertools.combinations(enumerate(LIMBS), 2):
        if set(a) & set(b) and abs(i - j) == 1:
            assert sum(abs(x - y) for x, y in zip(LIMB_COLOURS[i], LIMB_COLOURS[j], strict=True)) >= 250


@pytest.mark.parametrize(("confidence", "there"), [(0.011, True), (0.009, False)])
def test_a_limb_needs_both_ends(confidence: float, there: bool) -> None:
    assert draw_people([body(p3=(100, 200, 1), p4=(140, 200, confidence))], SIZE).any() == there


def test_a_finger_is_whole_or_not_at_all() -> None:
    hand = missing(21)
    hand[0] = (20, 20, 1)
    for finger in range(5):  # each along a row of its own
        for joint in range(4):
            hand[1 + 4 * finger + joint] = (100 + 40 * joint, 50 + 40 * finger, 1)
    hand[6, 2] = 0.005  # of the forefinger
    drawn = draw_people([Person(left_hand=hand)], SIZE)
    for finger, colour in enumerate(FINGER_COLOURS):
        assert tuple(drawn[:, 50 + 40 * finger, 120]) == (colour if finger != 1 else (0, 0, 0))


def test_a_face_is_white_curves_without_the_jaw() -> None:
    face = np.column_stack([np.arange(68) * 7 + 10, np.full(68, 30), np.full(68, 0.2)]).astype(np.float32)
    drawn = draw_people([Person(face=face)], SIZE)
    assert (drawn[0] == drawn[1]).all() and (drawn[0] == drawn[2]).all()
    columns = np.flatnonzero(drawn[0].any(axis=0))
    assert columns.min() == 17 * 7 + 10  # the jaw, 0..16, is not there
    assert tuple(drawn[:, 30, 20 * 7 + 12]) == (255, 255, 255)
    assert not drawn[0][:, 21 * 7 + 12 : 22 * 7 + 9].any()  # between the brows
    assert not draw_people([Person(face=face)], SIZE, face_confidence=0.3).any()


def test_a_point_above_a_threshold_of_its_own_is_drawn() -> None:
    assert not draw_people([whole(0.05)], SIZE, body_confidence=0.1, hand_confidence=0.1).any()
    assert draw_people([whole(0.05)], SIZE, face_confidence=0.01, body_confidence=1, hand_confidence=1).any()


def test_several_people_do_not_add_up() -> None:
    one, other = whole(), body(p3=(100, 200, 1), p4=(140, 200, 1))
    both = draw_people([one, other], SIZE)
    np.testing.assert_array_equal(both, np.maximum(draw_people([one], SIZE), draw_people([other], SIZE)))
    np.testing.assert_array_equal(draw_people([one] * 5, SIZE), draw_people([one], SIZE))
    assert not draw_people([], SIZE).any()


def test_what_is_dropped_is_missing_and_nothing_else() -> None:
    person = whole()
    cut = LIMBS.index((9, 10))
    bare = person.body.copy()
    others = draw_people([person], SIZE, Drops(limbs=frozenset({cut})))
    alone = draw_people([Person(body=bare)], SIZE, Drops(limbs=frozenset(range(24)) - {cut}))
    assert alone.any()
    np.testing.assert_array_equal(np.maximum(others, alone), draw_people([person], SIZE))
    for part, drop in (
        ("left_hand", Drops(left_hand=True)),
        ("right_hand", Drops(right_hand=True)),
        ("face", Drops(face=True)),
    ):
        without = replace(person, **{part: missing(len(person.parts()[part]))})
        np.testing.assert_array_equal(draw_people([person], SIZE, drop), draw_people([without], SIZE))


def test_drops_have_their_probability_each_on_its_own() -> None:
    rng = np.random.default_rng(0)
    drawn = [Drops.drawn(rng, 0.05) for _ in range(4000)]
    shares = [sum(limb in drop.limbs for drop in drawn) / 4000 for limb in range(24)]
    shares += [sum(getattr(drop, part) for drop in drawn) / 4000 for part in ("left_hand", "right_hand", "face")]
    # A binomial share of 4000 has a standard deviation of 0.0034.
    assert all(0.033 < share < 0.067 for share in shares)
    assert Drops.drawn(rng, 0.0) == Drops()


def test_sixty_frames_a_second_and_core_at_512() -> None:
    person, rounds = whole(), 6  # lines across the whole picture are more work than a real person's
    draw_people([person], SIZE)
    began = time.process_time()
    for _ in range(rounds):
        draw_people([person], SIZE)
    assert rounds / (time.process_time() - began) > 60
