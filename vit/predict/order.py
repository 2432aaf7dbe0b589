"""The order in which classes are told, one for the scripts, the page and Python."""

from __future__ import annotations

import numpy as np


def likeliest(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Numbers (..., count) of the likeliest of K classes (..., K), the likeliest first; of ties the first in order."""
    return np.argsort(-probabilities, axis=-1, kind="stable")[..., :count]
