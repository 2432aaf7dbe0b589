"""Linear classifiers against numpy's dense solutions, scikit-learn, and sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.blobs import blobs
from trainer.errors import DataError
from vit.evaluate.linear import (
    Features,
    accuracy,
    class_means,
    held_out,
    least_squares,
    logistic,
    minibatches,
    ridge,
    towards,
)


@pytest.mark.parametrize("n, d", [(12, 40), (60, 8), (9, 8)])  # N < D, N > D, N = D + 1
@pytest.mark.parametrize("l2", [2.0**10, 1e-3])
def test_least_squares_is_a_dense_ridge_solve(n: int, d: int, l2: float) -> None:
    """(A^T A + l2 I)^-1 A^T Y with whitened features and the constant 100."""
    data = blobs(n, d)
    weights, mean, std = least_squares(data.x, data.y, 4, l2)
    x = data.x.double().numpy()
    a = np.concatenate([(x - x.mean(0)) / (x.std(0) + 1e-5), np.full((n, 1), 100.0)], axis=1)
    y = 2 * np.eye(4)[data.y.numpy()] - 1
    expected = np.linalg.solve(a.T @ a + l2 * np.eye(d + 1), a.T @ y)
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(mean.numpy()[0], x.mean(0))
    np.testing.assert_allclose(std.numpy()[0], x.std(0) + 1e-5)


@pytest.mark.parametrize("n, d", [(60, 8), (30, 50)])
def test_ridge_takes_the_penalty_that_is_best_on_the_held_out_part(n: int, d: int) -> None:
    """Every penalty by a dense solve of its own; of equally good ones the largest; then all samples train."""
    data, l2s = blobs(n, d, spread=2.0), (1e-2, 1.0, 1e2, 1e5)
    y = data.y.numpy()
    held = held_out(y, 4, 0.2, 0).numpy()

    def dense(chosen: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = data.x.double().numpy()[chosen]
        mean, std = x.mean(0), x.std(0) + 1e-5
        a = np.concatenate([(x - mean) / std, np.full((len(x), 1), 100.0)], axis=1)
        targets = 2 * np.eye(4)[y[chosen]] - 1
        return np.linalg.solve(a.T @ a + l2 * np.eye(d + 1), a.T @ targets), mean, std

    def scores(solution: tuple[np.ndarray, np.ndarray, np.ndarray], x: np.ndarray) -> np.ndarray:
        weights, mean, std = solution
        return ((x - mean) / std) @ weights[:-1] + 100 * weights[-1]

    x = data.x.double().numpy()
    right = {l2: (scores(dense(~held, l2), x[held]).argmax(1) == y[held]).mean() for l2 in l2s}
    best = max(l2 for l2 in l2s if right[l2] == max(right.values()))
    found = ridge(data, 4, l2s)
    assert found.l2 == best and len(set(right.values())) > 1, "the data must tell penalties apart"
    expected = scores(dense(np.ones(n, bool), best), x)
    np.testing.assert_allclose(found(data.x).numpy(), expected, rtol=1e-6, atol=1e-8)


def test_a_layer_of_its_own_gives_the_same_scores() -> None:
    data = blobs(60, 8)
    for found in (ridge(data, 4), logistic(data, 4), minibatches(data, 4)):
        weight, bias = found.layer()
        torch.testing.assert_close(data.x @ weight.T + bias, found(data.x).float(), rtol=1e-3, atol=1e-3)


def test_minibatches_learn_from_any_start_and_repeat() -> None:
    data = blobs(400, 8)
    found = minibatches(data, 4, epochs=20, batch=64, lr=0.02)
    assert accuracy(found(data.x), data.y) > 0.9
    assert torch.equal(found.weight, minibatches(data, 4, epochs=20, batch=64, lr=0.02).weight)
    start = torch.ones(4, 8), torch.zeros(4)
    still = minibatches(data, 4, epochs=1, lr=0.0, start=start)
    assert torch.equal(still.weight, start[0]) and torch.equal(start[0], torch.ones(4, 8))


def test_prototypes_by_hand() -> None:
    x = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 3.0], [9.0, 9.0]])
    means = class_means(x, torch.tensor([0, 0, 1, 2]), 3)
    assert means.tolist() == [[3.0, 0.0], [0.0, 3.0], [9.0, 9.0]]
    probe = torch.tensor([[5.0, 4.0], [1.0, 0.9], [20.0, 1.0]])
    weight, bias = towards(means, cosine=True)
    assert (probe @ weight.T + bias).argmax(1).tolist() == [2, 2, 0]  # the angles
    weight, bias = towards(means, cosine=False)
    distances = torch.cdist(probe, means)
    assert (probe @ weight.T + bias).argmax(1).tolist() == distances.argmin(1).tolist() == [0, 0, 2]
    with pytest.raises(DataError, match="class 1 has no sample"):
        class_means(x[:2], torch.tensor([0, 2]), 3)


def test_the_penalty_needs_samples_to_be_chosen_by() -> None:
    few = Features(torch.eye(4), torch.arange(4))
    for fit in (ridge, logistic):
        with pytest.raises(DataError, match="at least 3"):
            fit(few, 4)
