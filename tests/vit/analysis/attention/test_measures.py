"""Figures of attention weights that were written down by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.errors import ConfigError
from vit.analysis.attention.measures import (
    Fusion,
    Rollout,
    asked,
    holding,
    mean_distance,
    mean_entropy,
    row_of,
    to_prefix,
)
from vit.analysis.attention.taps import Tokens

# A class token, two registers, and patches of 4 x 6 pixels in two rows of three
TOKENS = Tokens(grid=(2, 3), patch=(4, 6), cls=0, dist=None, registers=range(1, 3), prefix=3)


def weights(rows: dict[int, dict[int, float]]) -> torch.Tensor:
    """(1, 1, 9, 9): of each token itself, but for the rows given."""
    matrix = torch.eye(9)
    for row, entries in rows.items():
        matrix[row] = 0.0
        for column, value in entries.items():
            matrix[row, column] = value
    return matrix[None, None]


def test_distance_is_in_pixels_and_knows_no_registers() -> None:
    assert mean_distance(weights({}), TOKENS).item() == 0.0
    # Patch (0, 0) gives half to the class token, a quarter each to itself and to (1, 2): 4 down and 12 across
    given = weights({3: {0: 0.5, 3: 0.25, 8: 0.25}})
    assert mean_distance(given, TOKENS).item() == pytest.approx(math.hypot(4, 12) / 2 / 6)
    assert to_prefix(given, TOKENS).item() == pytest.approx(0.5 / 6)
    assert mean_entropy(given, TOKENS).item() == pytest.approx((0.5 * math.log(2) + 0.5 * math.log(4)) / 6)
    assert mean_entropy(torch.full((1, 2, 9, 9), 1 / 9), TOKENS).tolist() == [pytest.approx([math.log(9)] * 2)]


def test_rollout_by_hand() -> None:
    first, second = torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    rollout = Rollout()
    for block in (first, second):
        rollout.add(torch.stack([block, block])[None])
    # 0.5 W + 0.5 I are [[.6, .4], [.3, .7]] and [[1, 0], [.25, .75]]; the later one stands on the left
    torch.testing.assert_close(rollout.product, torch.tensor([[[0.6, 0.4], [0.375, 0.625]]]))


def test_fusion_and_what_is_discarded() -> None:
    heads = torch.tensor([[[0.9, 0.1], [0.5, 0.5]], [[0.4, 0.6], [0.2, 0.8]]])[None]
    largest, smallest = Rollout(Fusion.max), Rollout(Fusion.min, discard=0.5)
    largest.add(heads)
    smallest.add(heads.expand(3, -1, -1, -1))
    # max: [[.9, .6], [.5, .8]] + I, rows made to sum to 1
    torch.testing.assert_close(largest.product, torch.tensor([[[1.9 / 2.5, 0.6 / 2.5], [0.5 / 2.3, 1.8 / 2.3]]]))
    # min: [[.4, .1], [.2, .5]], its two smallest are 0: only the diagonals are left, in every picture of the batch
    torch.testing.assert_close(smallest.product, torch.eye(2).expand(3, -1, -1))


def test_the_smallest_set_that_holds_a_share() -> None:
    given = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.0, 0.0, 5.0, 0.0]])
    assert holding(given, 0.9).tolist() == [[False, True, True, True], [False, False, True, False]]
    assert holding(given, 0.7).tolist()[0] == [False, True, False, True]
    assert holding(given, 0.71).tolist()[0] == [False, True, True, True]
    assert holding(given, 1.0).tolist()[0] == [True] * 4
    assert not holding(given, 0.0).any()


def test_queries() -> None:
    table = torch.arange(81.0).view(1, 1, 9, 9)
    for query, rows in {"cls": [0], "reg": [1, 2], "reg1": [2], "1x2": [8], "mean": [3, 4, 5, 6, 7, 8]}.items():
        expected = sum(torch.arange(9 * row + 3.0, 9 * row + 9.0) for row in rows) / len(rows)
        torch.testing.assert_close(asked(table, row_of(query, TOKENS, "net"), TOKENS)[0, 0], expected)
    for query in ("dist", "reg2", "2x0", "0x3", "centre", "x"):
        with pytest.raises(
            ConfigError, match=f"query={query}: net has no such token; it has mean, 0x0 to 1x2, cls, reg"
        ):
            row_of(query, TOKENS, "net")
