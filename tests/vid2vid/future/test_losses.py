"""The label predictor's losses against hand-computed numbers."""

import math

import pytest
import torch

from vid2vid.future.config import PredictorConfig
from vid2vid.future.losses import cross_entropy, predictor_losses
from vid2vid.future.predictor import PredictedLabels


def test_cross_entropy_counts_pixels_with_a_class() -> None:
    probabilities = torch.tensor([[0.25, 1.0, 0.0], [0.75, 0.0, 1.0]]).view(2, 1, 3)
    target = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).view(2, 1, 3)  # the last pixel has no class
    expected = -(math.log(0.251) + math.log(1.001)) / 2
    assert cross_entropy(probabilities, target).item() == pytest.approx(expected, rel=1e-6)
    assert cross_entropy(probabilities, torch.zeros_like(target)).item() == 0


def test_every_term_has_its_weight() -> None:
    """Two pixels, two classes: the true map is a step that moved by one pixel, the predicted flow is still."""
    before = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 1, 2, 1, 2)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 1, 2)
    out = PredictedLabels(
        composed=before,
        hallucinated=torch.full((1, 1, 2, 1, 2), math.log(0.5)),
        flow=torch.zeros(1, 1, 2, 1, 2),
        mask=torch.zeros(1, 1, 1, 1, 2),
        past=before,
    )
    reference = torch.tensor([[0.0, 2.0], [0.0, 4.0]]).view(1, 1, 2, 1, 2)
    confidence = torch.tensor([1.0, 1.0]).view(1, 1, 1, 1, 2)
    model = PredictorConfig(lambda_cross_entropy=2.0, lambda_flow=3.0, lambda_flow_warp=5.0)
    found = predictor_losses(model, out, target, before, reference, confidence)
    wrong = -(math.log(1.001) + math.log(0.001)) / 2
    assert found["composed"].item() == pytest.approx(2 * wrong, rel=1e-5)
    assert found["hallucinated"].item() == pytest.approx(2 * math.log(2), rel=1e-5)
    assert found["flow"].item() == pytest.approx(3 * 6 / 4)
    assert found["flow_warp"].item() == pytest.approx(5 * wrong, rel=1e-5)
    hidden = predictor_losses(model, out, target, before, reference, confidence * torch.tensor([1.0, 0.0]))
    assert hidden["flow"].item() == 0 and hidden["flow_warp"].item() == pytest.approx(-5 * math.log(1.001), abs=1e-6)
    assert "flow" not in predictor_losses(model, out, target, before, None, None)
