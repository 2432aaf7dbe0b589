"""Numbers in names by value, and where a folder's numbering jumps."""

from __future__ import annotations

import random
import uuid
from itertools import accumulate

import pytest

from trainer.data.natural_order import decimal_key, order_of
from vid2vid.data.folders.numbering import find_runs
from vid2vid.data.folders.suffixes import common_ending, frame_key, kind_of


@pytest.mark.parametrize(
    "ordered",
    [
        ["frame1", "frame2", "frame10"],
        ["0", "1", "02", "003", "10"],
        ["1305031102.0333", "1305031102.1", "1305031102.1333", "1305031103.0"],
        ["-10", "-9", "-1", "0", "2", "10"],
        ["x=-1.5", "x=-1", "x=0.25", "x=0.5"],
        ["1e-05", "0.001", "0.1", "20"],
        ["clip-1", "clip-9", "clip-10"],
        ["v1.2", "v1.9", "v1.10"],
        ["1.2.9", "1.2.10", "1.10.0"],
        ["scene_2_frame_9", "scene_2_frame_10", "scene_12_frame_1"],
        ["2024-01-31_23-59-59", "2024-02-01_00-00-00", "2024-10-01_00-00-00"],
        ["1²3", "2²3", "10²3"],
        ["9a", "10", "a2", "a10", "b"],
    ],
)
def test_numbers_sort_by_value(ordered):
    shuffled = ordered[:]
    random.Random(0).shuffle(shuffled)
    assert sorted(shuffled, key=decimal_key) == ordered


def test_no_two_names_tie():
    names = ["1", "01", "1.0", "1.00", "+1", "\u00e9", "e\u0301", "a", "A", "", "\u00b2", "-", "1e0"]
    assert len({str(decimal_key(name)) for name in names}) == len(names)
    once = sorted(names, key=decimal_key)
    assert sorted(reversed(names), key=decimal_key) == once


def test_points_that_are_no_decimal_points():
    """1.1 and 1.10 in one folder would be the same number: shot and frame then."""
    names = [f"1.{i}" for i in range(1, 12)]
    assert sorted(reversed(names), key=order_of(names)) == names
    assert sorted(["1.25", "1.3"], key=order_of(["1.25", "1.3"])) == ["1.25", "1.3"]


def stamps(count: int, missing: tuple[int, ...] = ()) -> list[str]:
    """Times of frames at 30/s that come up to 4 ms early or late."""
    draw = random.Random(1)
    times = accumulate((0.0333 + draw.uniform(-0.004, 0.004) for _ in range(count)), initial=1305031102.0)
    return [f"{time:.6f}" for i, time in enumerate(times) if i not in missing]


JUMPS = [
    ([f"{i:04d}" for i in (*range(8), *range(200, 208))], [8, 8]),
    ([f"f{i}" for i in range(12) if i != 5], [5, 6]),
    ([f"f{i}" for i in (*range(0, 50, 5), *range(100, 150, 5))], [10, 10]),
    (["0", "1", "2", "50"], [3, 1]),
    (["1", "2", "03", "004", "10", "0011"], [4, 2]),
    ([str(i) for i in (*range(-20, -10), *range(0, 5))], [10, 5]),
    ([f"scene_{s}_frame_{i:03d}" for s in (9, 10) for i in range(20)], [20, 20]),
    ([f"aachen_{s:06d}_{i:06d}" for s in range(3) for i in range(30)], [30, 30, 30]),
    ([f"{i:04d}_{eye}" for i in range(20) for eye in ("left", "right")], [20, 20]),
    ([f"0001TP_{i:06d}" for i in range(6690, 7000, 30)] + [f"Seq05VD_f{i:05d}" for i in range(9)], [11, 9]),
    (stamps(60, missing=(30,)), [30, 30]),
    ([str(i) for i in range(30)] + ["cover"], [30, 1]),
    ([f"{i:05x}" for i in (*range(40), *range(60, 80))], [40, 20]),
]


@pytest.mark.parametrize(("names", "lengths"), JUMPS, ids=lambda x: str(x[0]))
def test_a_jump_ends_a_run(names, lengths):
    shuffled = names[:]
    random.Random(0).shuffle(shuffled)
    found = find_runs(shuffled)
    assert [len(run) for run in found.runs] == lengths
    assert len(found.jumps) == len(lengths) - 1 and found.jumps[0] == (found.runs[0][-1], found.runs[1][0])


def test_names_of_the_jump_are_those_around_it():
    assert find_runs(["0000", "0001", "0200", "0201"]).jumps == [("0001", "0200")]


draw = random.Random(2)
WHOLE = [
    [f"{i:04d}" for i in range(12)],
    [f"f{i}" for i in range(0, 100, 5)],
    ["0", "50"],
    stamps(80),
    [str(1403636579763555584 + 50_000_000 * i + draw.randint(-2_000_000, 2_000_000)) for i in range(40)],
    ["1305031102.0333", "1305031102.0667", "1305031102.1", "1305031102.1333"],
    [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(40)],
    [f"{draw.getrandbits(128):032x}" for _ in range(40)],
    [str(draw.randint(0, 10**9)) for _ in range(40)],
    [f"{draw.randint(10**9, 10**10)}_{draw.getrandbits(40):010x}" for _ in range(40)],
    [f"img_{i:04d}_{1305031102 + 0.0333 * i:.4f}" for i in range(30)],
    [f"2024-01-31_23-59-{i}" for i in range(50, 60)] + [f"2024-02-01_00-00-{i:02d}" for i in range(10)],
    [f"20240131_2359{s}_{ms:03d}" for s in (58, 59) for ms in range(0, 1000, 100)],
    [f"20240131_{i:06d}" for i in range(100)],
    [f"snap 00h{m:02d}m{s:02d}s" for m in (1, 2) for s in range(60)],
    [str(i) for i in range(60) if i % 3 != 2],  # two of three frames kept
    [str(i) for i in range(-10, 11)],
    [f"v1.{i}" for i in range(12)],
    ["alice", "bob", "carol", "dave1", "eve2"],
    [f"{i:06d}_10" for i in range(50)],
    ["1²3", "2²3", "3²3"],
    ["only"],
]


@pytest.mark.parametrize("names", WHOLE, ids=lambda x: x[0])
def test_what_does_not_jump_stays_one_run_in_order(names):
    shuffled = names[:]
    random.Random(0).shuffle(shuffled)
    found = find_runs(shuffled)
    assert len(found.runs) == 1 and found.jumps == []
    assert found.runs[0] == sorted(names, key=order_of(names))


def test_no_names_are_no_runs():
    assert find_runs([]).runs == []


@pytest.mark.parametrize(
    ("stem", "key", "kind"),
    [
        ("aachen_000000_000019_gtFine_labelIds", "aachen_000000_000019", "labelids"),
        ("frame0000_gtFine_labelids", "frame0000", "labelids"),
        ("frame0000_GTFINE_LABELLEVEL3IDS", "frame0000", "labellevel3ids"),
        ("GOPR0475_frame_000041_gt_labelTrainIds", "GOPR0475_frame_000041", "labeltrainids"),
        ("GOPR0475_frame_000041_rgb_anon", "GOPR0475_frame_000041", None),
        ("x_gt_labelColor", "x", "color"),
        ("x_gtCoarse_color", "x", "color"),
        ("x_gtFine_instanceIds", "x", "instanceids"),
        ("b1c66a42_train_id", "b1c66a42", "labeltrainids"),
        ("x_leftImg8bit", "x", None),
        ("0001_mask", "0001_mask", None),
        ("000000_10", "000000_10", None),
    ],
)
def test_known_endings(stem, key, kind):
    assert frame_key(stem) == key and kind_of(stem) == kind


def test_endings_of_the_user():
    assert frame_key("0001_Mask", "_mask") == "0001" and frame_key("0001", "_mask") is None
    assert frame_key("0001_gtFine_labelIds", "_labelids") == "0001_gtFine"
    assert common_ending(["1_mask", "2_mask"], ["1", "2"]) == "_mask"
    assert common_ending(["img0001", "img0002"], ["img1", "img2"]) is None


@pytest.mark.parametrize(
    ("names", "filled", "runs"),
    [
        (["f08", "f09", "f12", "f13", "f14"], 2, [["f08", "f09", "f10", "f11", "f12", "f13", "f14"]]),
        (["f08", "f09", "f12", "f13", "f14"], 1, [["f08", "f09"], ["f12", "f13", "f14"]]),
        (["0", "5", "15", "20", "25"], 1, [["0", "5", "10", "15", "20", "25"]]),
    ],
)
def test_names_that_are_missing_stand_in_their_places(names: list[str], filled: int, runs: list[list[str]]) -> None:
    assert find_runs(names, filled).runs == runs
