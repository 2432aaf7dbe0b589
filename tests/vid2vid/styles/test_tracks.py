"""Instances keep their numbers by place: moving, passing each other, hidden for a while."""

import numpy as np

from vid2vid.styles.lasting import ids_last
from vid2vid.styles.tracks import MEMORY, ById, ByOverlap

SIZE = (20, 60)
CAR, PERSON = 26, 24


def scene(*boxes: tuple[int, int, int, int]) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Boxes (class, id, left, width) of 6 rows, the later ones in front; regions and their map, len(boxes): none."""
    numbers = np.full(SIZE, len(boxes))
    for number, (_, _, left, width) in enumerate(boxes):
        numbers[5:11, left : left + width] = number
    return [(label, instance) for label, instance, _, _ in boxes], numbers


def test_by_id() -> None:
    assert ById().assign(*scene((CAR, 7, 0, 5), (CAR, -3, 10, 5))) == [7, -3]


def test_what_moves_a_little_is_the_same_whatever_its_id() -> None:
    tracker = ByOverlap()
    assert tracker.assign(*scene((CAR, 1, 0, 10), (CAR, 2, 20, 10))) == [1, 2]
    assert tracker.assign(*scene((CAR, 9, 21, 10), (CAR, 5, 2, 10))) == [2, 1]
    assert tracker.assign(*scene((PERSON, 5, 2, 10), (CAR, 5, 40, 10))) == [3, 4]  # another class, another place


def test_a_fast_one_is_found_by_the_flow() -> None:
    """8 pixels a frame at a width of 10: 1/9 of the union is shared, too little; moved by its flow it is all."""
    for flow, expected in ((None, [2]), (-8.0, [1])):
        tracker = ByOverlap()
        tracker.assign(*scene((CAR, 1, 0, 10)))
        tracker.moved(None if flow is None else np.stack([np.full(SIZE, flow), np.zeros(SIZE)]))
        assert tracker.assign(*scene((CAR, 1, 8, 10))) == expected


def test_who_is_hidden_comes_back_as_itself_for_a_while() -> None:
    tracker = ByOverlap()
    tracker.assign(*scene((CAR, 1, 10, 10)))
    for _ in range(MEMORY - 1):
        assert tracker.assign(*scene((PERSON, 1, 40, 4))) == [2]
    assert tracker.assign(*scene((CAR, 3, 11, 10), (PERSON, 1, 40, 4))) == [1, 2]
    for _ in range(MEMORY + 1):
        tracker.assign(*scene((PERSON, 1, 40, 4)))
    assert tracker.assign(*scene((CAR, 3, 11, 10))) == [3]


def test_the_better_pair_goes_first() -> None:
    """Two claim the place of one: who covers more of it gets its number."""
    tracker = ByOverlap()
    tracker.assign(*scene((CAR, 1, 10, 10)))
    assert tracker.assign(*scene((CAR, 5, 4, 9), (CAR, 6, 13, 10))) == [2, 1]


def test_another_scene_begins_anew() -> None:
    tracker = ByOverlap()
    tracker.assign(*scene((CAR, 1, 10, 10)))
    tracker.reset()
    assert tracker.assign(*scene((CAR, 1, 10, 10))) == [2]


def frames(ids: list[list[int]]) -> list[dict[str, np.ndarray]]:
    found = []
    for time, (first, second) in enumerate(ids):
        labels, instances = np.full(SIZE, 7, np.int16), np.full(SIZE, 7, np.int32)
        for left, number in ((time, first), (30 + time, second)):
            labels[5:11, left : left + 10], instances[5:11, left : left + 10] = CAR, number
        found.append({"labels": labels, "instances": instances})
    return found


def test_whether_ids_last_is_seen() -> None:
    assert ids_last(frames([[1, 2], [1, 2], [1, 2]]), {CAR}) == (4, 4, True)
    renumbered = ids_last(frames([[1, 2], [2, 1], [1, 2]]), {CAR})
    assert renumbered == (0, 4, True) and not renumbered.lasts
    assert ids_last(frames([[1, 2], [3, 4]]), {PERSON}) == (0, 0, True)  # nothing speaks against them
    assert not ids_last([{"labels": np.zeros(SIZE)}], {CAR}).known
