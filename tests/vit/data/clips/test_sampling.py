"""Which frames are looked at, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.errors import ConfigError
from vit.config import VitConfig
from vit.data.clips.sampling import Sampling
from vit.data.kinds import ClipOrder, ShortClip


def test_the_middle_of_a_clip_and_views_over_it() -> None:
    assert Sampling(4, 2).judged(17, 0).tolist() == [[5, 7, 9, 11]]  # 7 of 17 frames: 5 before, 5 behind
    assert Sampling(4, 2, views=3).judged(17, 0).tolist() == [[0, 2, 4, 6], [5, 7, 9, 11], [10, 12, 14, 16]]
    assert Sampling(1).judged(17, 0).tolist() == [[8]]


def test_numbers_below_one_are_told_whoever_gave_them() -> None:
    config = VitConfig()
    config.data.clip_views, config.data.clip_stride = 0, -1
    with pytest.raises(ConfigError, match=r"data\.clip_stride=-1: must be at least 1\n.*data\.clip_views=0: must be"):
        Sampling.of(config)


def test_short_clips_repeat_their_last_frame_or_begin_again() -> None:
    assert Sampling(4, 2).judged(3, 0).tolist() == [[0, 2, 2, 2]]
    assert Sampling(4, 2, short=ShortClip.loop).judged(3, 0).tolist() == [[0, 2, 1, 0]]
    rng = np.random.default_rng(0)
    assert Sampling(3, 1).drawn(1, rng).tolist() == [0, 0, 0]


def test_starts_are_drawn_evenly_from_all_that_fit() -> None:
    rng, counts = np.random.default_rng(0), np.zeros(4, int)
    for _ in range(4000):
        numbers = Sampling(3, 2).drawn(8, rng)
        assert np.diff(numbers).tolist() == [2, 2]
        counts[numbers[0]] += 1
    assert abs(counts - 1000).max() < 5 * np.sqrt(4000 * 3 / 16)


def test_without_a_stride_frames_are_spread_over_the_clip() -> None:
    sampling = Sampling(4, None)
    assert sampling.judged(16, 0).tolist() == [[2, 6, 10, 14]]
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        numbers = sampling.drawn(16, rng)
        assert (numbers // 4).tolist() == [0, 1, 2, 3]
        seen |= set(numbers.tolist())
    assert seen == set(range(16))
    assert sampling.judged(2, 0).tolist() == [[0, 0, 1, 1]]


def test_shuffled_and_still() -> None:
    shuffled = Sampling(8, 1, order=ClipOrder.shuffled)
    orders = [shuffled.judged(8, index)[0].tolist() for index in range(5)]
    assert all(sorted(order) == list(range(8)) for order in orders) and len(set(map(tuple, orders))) == 5
    assert shuffled.judged(8, 3)[0].tolist() == orders[3]
    assert Sampling(4, 2, order=ClipOrder.still).judged(17, 0).tolist() == [[9, 9, 9, 9]]


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        (Sampling(8, 2), "8 frames, stride 2"),
        (Sampling(8, None, views=3), "8 frames, one of each of as many equal parts, 3 views averaged"),
        (Sampling(8, 2, order=ClipOrder.still), "8 frames, stride 2, all of them the middle one"),
    ],
)
def test_what_is_said_beside_a_score(sampling: Sampling, said: str) -> None:
    assert sampling.describe() == said
