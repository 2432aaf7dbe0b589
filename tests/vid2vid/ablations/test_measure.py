"""The comparison at equal sharpness: curves by hand, and what blur does to a run's frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.made_run import make_run, street_config
from vid2vid.ablations.measure import SIGMAS, error_at, matched_ratio, measure
from vid2vid.evaluate.run import evaluate_run
from vid2vid.trained import load_generator

SHARP = [(1.2, 0.06), (0.8, 0.04), (0.4, 0.01)]
SOFT = [(0.6, 0.02), (0.2, 0.01)]


def test_between_points_of_the_curve() -> None:
    assert error_at(SHARP, 1.2) == pytest.approx(0.06) and error_at(SHARP, 0.4) == pytest.approx(0.01)
    assert error_at(SHARP, 1.0) == pytest.approx(0.05) and error_at(SHARP, 0.6) == pytest.approx(0.025)
    assert error_at(SHARP, 0.1) == 0.01, "blurred as far as it goes"


def test_the_sharper_of_both_is_blurred() -> None:
    assert matched_ratio(SHARP, SOFT) == pytest.approx(0.025 / 0.02)
    assert matched_ratio(SOFT, SHARP) == pytest.approx(0.02 / 0.025)
    assert matched_ratio(SHARP, SHARP) == 1


def test_the_curve_of_a_run_begins_at_its_own_figures_and_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, street_config())
    run = load_generator(street_config(), tmp_path)
    made: list[int] = []
    whole = type(run.generator).forward
    monkeypatch.setattr(type(run.generator), "forward", lambda *a, **k: (made.append(1), whole(*a, **k))[1])
    values = evaluate_run(run).values
    once = len(made)
    monkeypatch.setattr("vid2vid.ablations.measure.build_clip_metrics", lambda **_: [])
    found = measure(run, tmp_path, tmp_path)
    assert len(made) == 2 * once, "the clips are generated once"
    curve = torch.tensor(found["curve"])
    assert curve.shape == (len(SIGMAS), 2) and (curve.diff(dim=0) < 0).all()
    assert curve[0].tolist() == pytest.approx([values["sharpness_all"], values["warp_error"]], rel=1e-3)
