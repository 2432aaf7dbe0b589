"""mCE by hand."""

from __future__ import annotations

import pytest

from vit.analysis.corruptions.scores import (
    ALEXNET,
    ALEXNET_CLEAN,
    SEVERITIES,
    corruption_errors,
    mean_accuracy,
    mean_corruption_error,
    relative_mean_corruption_error,
)


def accuracies(error: float = 1.0) -> dict[tuple[str, int], float]:
    """A network whose errors are ``error`` times AlexNet's, alike at all severities."""
    return {(name, severity): 1 - error * alexnet / 100 for name, alexnet in ALEXNET.items() for severity in SEVERITIES}


def test_alexnet_s_own_scores_are_one():
    assert mean_corruption_error(accuracies()) == pytest.approx(1)
    assert relative_mean_corruption_error(accuracies(), 1 - ALEXNET_CLEAN / 100) == pytest.approx(1)
    assert mean_corruption_error(accuracies(0.5)) == pytest.approx(0.5)


def test_by_hand():
    """One corruption's errors 10, 20, 30, 40, 50 % over AlexNet's 81.9324 % in fog; the others as AlexNet's."""
    top1 = accuracies() | {("fog", severity): 1 - severity / 10 for severity in SEVERITIES}
    assert corruption_errors(top1)["fog"] == pytest.approx(0.30 / 0.819324)
    assert mean_corruption_error(top1) == pytest.approx((14 + 0.30 / 0.819324) / 15)
    assert mean_accuracy(top1, ["fog"], [1, 3]) == pytest.approx(0.8)


def test_no_mean_over_fewer():
    top1 = accuracies()
    del top1["snow", 4]
    assert mean_corruption_error(top1) is None and relative_mean_corruption_error(top1, 0.7) is None
    assert "snow" not in corruption_errors(top1) and len(corruption_errors(top1)) == 14
