"""The change between two windows, worked out by hand, and clips that are too short."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.errors import DataError
from vid2vid.drift.measure import Curve
from vid2vid.drift.report import running_mean
from vid2vid.drift.summary import summarise, whole


def curve(frames: int = 10, real: bool = True) -> Tensor:
    """Gradients 0.8 of the real ones in the first half, then 0.6; red grows by a tenth, blue falls by a fifth."""
    values = torch.full((1, frames, 10), 0.5, dtype=torch.float64)
    late = torch.arange(frames) >= frames // 2
    values[0, :, 5] = torch.where(late, 2.0, 1.0)  # the scene becomes twice as busy
    values[0, :, 0] = torch.where(late, 1.2, 0.8)
    values[0, :, 1] = torch.where(late, 0.55, 0.5)
    values[0, :, 3] = torch.where(late, 0.4, 0.5)
    values[0, :, 4], values[0, :, 9] = 0.02, 0.01
    values[0, 0, 4] = torch.nan
    if not real:
        values[..., 5:] = torch.nan
    return values


def test_changes_are_relative_to_the_real_video() -> None:
    found = summarise(curve(), 3, 3)
    assert found.relative
    assert found.values["sharpness_at_3"] == pytest.approx(0.8) and found.values["sharpness_at_10"] == pytest.approx(
        0.6
    )
    assert found.values["sharpness_change"] == pytest.approx(-0.25)
    assert found.values["sharpness_change_plain"] == pytest.approx(0.5), "the scene's doing"
    assert found.values["red_change"] == pytest.approx(0.1) and found.values["green_change"] == pytest.approx(0)
    assert found.values["colour_change"] == pytest.approx(-0.2), "the largest, whichever way"
    assert found.values["warp_error_at_10"] == pytest.approx(0.02)
    assert found.values["warp_error_real_at_3"] == pytest.approx(0.01)


def test_clips_without_pictures_are_not_compared_with_those_of_others() -> None:
    """The second clip is three times as sharp, and has no real frames: the first one's ratios stand."""
    other = curve(real=False)
    other[..., 0] *= 3
    found = summarise(torch.cat([curve(), other]), 3, 3)
    assert found.relative and found.values["sharpness_at_3"] == pytest.approx(0.8)
    assert found.values["sharpness_change"] == pytest.approx(-0.25)
    begun = curve()
    begun[:, 5:, 5:] = torch.nan  # real frames at the beginning only
    assert not summarise(begun, 3, 3).relative


def test_without_a_real_video_the_frames_stand_alone() -> None:
    found = summarise(curve(real=False), 3, 3)
    assert not found.relative and found.values["sharpness_change"] == pytest.approx(0.5)
    assert not [name for name in found.values if name.startswith("warp_error_real")]


def test_a_window_begins_with_the_first_frame_at_the_earliest() -> None:
    values = curve()
    values[0, :3, 0] = torch.tensor([0.1, 0.2, 0.3])
    assert summarise(values, 1, 3).values["sharpness_at_1"] == pytest.approx(0.2)
    assert summarise(values, 2, 3).values["sharpness_at_2"] == pytest.approx(0.2)


def test_only_whole_clips_count_and_the_remedy_names_the_longest() -> None:
    long, short = curve(10)[0], curve(4)[0]
    assert whole([Curve("a", short, "it has 4 frames"), Curve("b", long)], 10).shape == (1, 10, 10)
    with pytest.raises(DataError, match=r"frames=10: no clip is so long: a \(it has 4 frames\); use frames=4"):
        whole([Curve("a", short, "it has 4 frames")], 10)


def test_the_mean_of_a_window_passes_over_what_is_missing() -> None:
    values = torch.tensor([[torch.nan, 1.0, 3.0, 5.0]]).T[None]
    assert running_mean(values, 2)[0, :, 0].tolist() == [1, 2, 4]
