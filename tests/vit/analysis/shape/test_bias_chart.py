"""The chart of shape biases."""

import numpy as np

from vit.analysis.shape.bias_chart import Biased, bias_chart
from vit.analysis.shape.shape_counts import ShapeCounts


def chart(*shape_answers: list[int]) -> np.ndarray:
    counts = [ShapeCounts(np.full(2, 10), np.array(s), 10 - np.array(s)) for s in shape_answers]
    return bias_chart(["circle", "ring"], [Biased(f"net {n}", c) for n, c in enumerate(counts)]).numpy().astype(int)


def middle_of_line(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Where the mean's line is, as a share of the width: the column with most pixels of a colour."""
    near = (np.abs(picture - np.array(colour)).sum(axis=2) < 30).sum(axis=0)
    return float(near.argmax()) / picture.shape[1]


def test_means_lie_where_their_biases_are():
    """The axes begin at 0.19 and are 0.77 wide, for -0.03 to 1.03."""
    picture = chart([2, 4], [9, 9])
    for bias, colour in ((0.3, (31, 119, 180)), (0.9, (255, 127, 14))):
        expected = 0.19 + 0.77 * (bias + 0.03) / 1.06
        assert abs(middle_of_line(picture, colour) - expected) < 0.006
