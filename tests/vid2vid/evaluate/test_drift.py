"""Sharpness and colour of a clip's end beside its beginning."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vid2vid.evaluate.drift import Drift
from vid2vid.evaluate.metrics import sharpness


def stripes(frames: int) -> Tensor:
    """Vertical ones, 0.2 and 0.8."""
    row = 0.2 + 0.6 * (torch.arange(8) % 2)
    return row.expand(frames, 3, 6, 8).clone()


def measured(generated: Tensor, real: Tensor, parts: int = 3) -> dict[str, float]:
    drift = Drift()
    for a, b in zip(generated.split(parts), real.split(parts), strict=True):
        assert drift.add(a, b) == tuple(sharpness(a, b))
    return {name: (total / weight).item() for name, (total, weight) in drift.pairs().items()}


def test_a_video_that_loses_contrast_and_reddens() -> None:
    real, generated = stripes(8), stripes(8)
    generated[6:] = 0.5 + (generated[6:] - 0.5) / 4  # the last quarter: a fourth of the contrast
    generated[6:, 0] += 0.06
    found = measured(generated, real)
    assert found["sharpness_drift"] == pytest.approx(0.25, rel=1e-5)
    assert found["colour_drift"] == pytest.approx(0.02, rel=1e-4), "one of three channels, by 0.06"


def test_what_the_real_video_does_is_no_drift() -> None:
    real = stripes(12)
    real[8:] = real[8:] * 0.5 + 0.1
    assert measured(real, real) == {"sharpness_drift": pytest.approx(1), "colour_drift": 0}


def test_it_does_not_see_what_is_wrong_from_the_first_frame_on() -> None:
    wrong = stripes(8) * 0.1 + 0.7
    assert measured(wrong, stripes(8)) == {
        "sharpness_drift": pytest.approx(1),
        "colour_drift": pytest.approx(0, abs=1e-6),
    }


def test_pieces_change_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    generated, real = (torch.rand(10, 3, 5, 7, generator=random) for _ in range(2))
    assert measured(generated, real, 10) == pytest.approx(measured(generated, real, 1))


def test_one_frame_has_no_drift_and_flat_real_frames_no_sharpness() -> None:
    assert measured(stripes(1), stripes(1)) == {}
    drift = Drift()
    drift.add(stripes(4), torch.full((4, 3, 6, 8), 0.5))
    pairs = drift.pairs()
    assert [x.item() for x in pairs["sharpness_drift"]] == [0, 0]
    assert Drift().pairs() == {}
