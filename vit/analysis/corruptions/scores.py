"""Scores of ImageNet-C: errors under corruptions beside AlexNet's. Loads no torch.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019,
section 4: CE is the sum of a network's errors over the severities of a corruption over AlexNet's, mCE its mean over
the fifteen corruptions; for the relative mCE the errors on clean pictures are taken off on either side first.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

ALEXNET = {
    "gaussian_noise": 88.6428,
    "shot_noise": 89.4468,
    "impulse_noise": 92.2640,
    "defocus_blur": 81.9880,
    "glass_blur": 82.6268,
    "motion_blur": 78.5948,
    "zoom_blur": 79.8360,
    "snow": 86.6816,
    "frost": 82.6572,
    "fog": 81.9324,
    "brightness": 56.4592,
    "contrast": 85.3204,
    "elastic_transform": 64.6056,
    "pixelate": 71.7840,
    "jpeg_compression": 60.6500,
}
"""AlexNet's error on ImageNet-C, mean over the severities [%]; in the order of the paper's tables."""
ALEXNET_CLEAN = 43.5  # the paper, table 1 [%]
EXTRAS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Held out for tuning by the paper: no part of mCE."""
SEVERITIES = (1, 2, 3, 4, 5)

Accuracies = Mapping[tuple[str, int], float]
"""Top-1 accuracy, 0..1, by corruption and severity."""


def corruption_errors(top1: Accuracies) -> dict[str, float]:
    """CE of every corruption that was measured at all severities, 1 for a network like AlexNet."""
    return {
        name: _error(top1, name) / (ALEXNET[name] / 100)
        for name in ALEXNET
        if all((name, severity) in top1 for severity in SEVERITIES)
    }


def mean_corruption_error(top1: Accuracies) -> float | None:
    """mCE; None where one of the fifteen corruptions was not measured at all severities."""
    errors = corruption_errors(top1)
    return statistics.fmean(errors.values()) if len(errors) == len(ALEXNET) else None


def relative_mean_corruption_error(top1: Accuracies, clean: float) -> float | None:
    """Relative mCE; None as ``mean_corruption_error``.

    Args:
        clean: top-1 accuracy on clean pictures, 0..1.
    """
    if mean_corruption_error(top1) is None:
        return None
    gained = [
        (_error(top1, name) - (1 - clean)) / ((alexnet - ALEXNET_CLEAN) / 100) for name, alexnet in ALEXNET.items()
    ]
    return statistics.fmean(gained)


def mean_accuracy(top1: Accuracies, names: Sequence[str], severities: Sequence[int] = SEVERITIES) -> float:
    """Over corruptions and severities, each weighing the same."""
    return statistics.fmean(top1[name, severity] for name in names for severity in severities)


def _error(top1: Accuracies, name: str) -> float:
    return 1 - mean_accuracy(top1, [name])
