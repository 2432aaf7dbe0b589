"""The label predictor's recursion, with heads whose output is known."""

import pytest
import torch

from tests.helpers.made_predictor import steady
from vid2vid.future.config import PredictorConfig
from vid2vid.future.predictor import LabelPredictor

CLASSES, LENGTH = 3, 2


def predictor(flow: tuple[float, float], mask: float, scores: tuple[float, ...] = (0.0, 0.0, 0.0)) -> LabelPredictor:
    """One whose heads give the same everywhere: flow in pixels, mask before the sigmoid, class scores."""
    torch.manual_seed(0)
    model = PredictorConfig(past_frames=LENGTH, ngf=4, downsamplings=1, blocks=2, flow_multiplier=10.0)
    net = LabelPredictor(model, CLASSES)
    steady(net, flow, mask, scores)
    return net


def ramp() -> torch.Tensor:
    """(1, L, C, 8, 8) one-hot past, whose newest map has class 1 in column 5 alone."""
    labels = torch.zeros((1, LENGTH, 8, 8), dtype=torch.long)
    labels[:, -1, :, 5] = 1
    return torch.nn.functional.one_hot(labels, CLASSES).movedim(-1, 2).float()


def test_a_map_that_is_warped_moves_by_the_flow_in_every_frame() -> None:
    with torch.no_grad():
        out = predictor(flow=(2.0, 0.0), mask=-30.0)(ramp(), 2)
    assert out.flow[0, 0, :, 3, 3].tolist() == [2.0, 0.0]
    columns = out.composed.argmax(2)[0, :, 4]
    assert columns.tolist() == [[0, 0, 0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert torch.equal(out.past, out.composed)  # L = 2: the newest two maps


def test_a_map_that_is_made_anew_has_the_probabilities_of_its_scores() -> None:
    with torch.no_grad():
        out = predictor(flow=(0.0, 0.0), mask=30.0, scores=(0.0, 1.0, 2.0))(ramp(), 1)
    expected = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    torch.testing.assert_close(out.composed[0, 0, :, 2, 5], expected)
    torch.testing.assert_close(out.hallucinated[0, 0, :, 0, 0].exp(), expected)


def test_a_mask_of_a_quarter_mixes_both() -> None:
    quarter = -torch.tensor(3.0).log().item()
    with torch.no_grad():
        out = predictor(flow=(0.0, 0.0), mask=quarter, scores=(0.0, 0.0, 0.0))(ramp(), 1)
    torch.testing.assert_close(out.composed[0, 0, :, 0, 5], torch.tensor([0.25 / 3, 0.75 + 0.25 / 3, 0.25 / 3]))


def test_gradients_reach_the_first_frame_through_the_last() -> None:
    net = predictor(flow=(0.0, 0.0), mask=-30.0)
    past = ramp().requires_grad_()
    net(past, 3).composed[:, 2, 1, 0, 5].sum().backward()
    assert past.grad is not None and past.grad[0, -1, 1, 0, 5] == pytest.approx(1.0)


def test_a_past_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, 2, 3, H, W\), got \(1, 1, 3"):
        predictor((0.0, 0.0), 0.0)(ramp()[:, :1], 1)
