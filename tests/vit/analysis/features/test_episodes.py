"""Episodes as they are drawn, and their classifiers against numpy, scikit-learn and sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.blobs import blobs
from trainer.errors import DataError
from vit.analysis.features.episodes import Classifier, Episodes, SmallClasses, answers, draw, usable

LABELS = torch.tensor([0, 1, 2, 3, 4, 5] * 12)


def test_no_picture_is_learnt_from_and_asked() -> None:
    found = draw(LABELS, [0, 1, 3, 5], 3, 4, 7, 50, seed=3)
    assert found.support.shape == (50, 3, 4) and found.query.shape == (50, 3, 7)
    for classes, support, query in zip(found.classes, found.support, found.query, strict=True):
        assert len(set(classes.tolist())) == 3 and set(classes.tolist()) <= {0, 1, 3, 5}
        for k, own in zip(classes.tolist(), torch.cat([support, query], dim=1), strict=True):
            assert len(set(own.tolist())) == 11 and (LABELS[own] == k).all()
    assert set(found.classes.flatten().tolist()) == {0, 1, 3, 5}
    assert len({tuple(row.flatten().tolist()) for row in found.query}) == 50, "each episode has its own pictures"


def test_a_draw_is_a_function_of_seed_and_episode() -> None:
    many, some = (draw(LABELS, [0, 1, 2, 3], 2, 3, 5, count, seed=1) for count in (40, 7))
    assert torch.equal(many.classes[:7], some.classes) and torch.equal(many.support[:7], some.support)
    assert torch.equal(many.query[:7], some.query)
    fewer = draw(LABELS, [0, 1, 2, 3], 2, 1, 5, 7, seed=1)
    assert torch.equal(fewer.query, some.query) and torch.equal(fewer.support, some.fewer(1).support)
    assert not torch.equal(draw(LABELS, [0, 1, 2, 3], 2, 3, 5, 7, seed=2).query, some.query)


def test_all_ways_are_all_classes() -> None:
    assert (draw(LABELS, [1, 4, 5], 3, 1, 1, 6, seed=0).classes == torch.tensor([1, 4, 5])).all()


def test_small_classes_are_named_or_left_out() -> None:
    labels, names = torch.tensor([0] * 9 + [1] * 3 + [2] * 5), ["cat", "dog", "owl", "elk"]
    with pytest.raises(DataError, match=r"takes 5 pictures.* 2 of 4 classes have fewer: dog \(3\), elk \(0\)"):
        usable(labels, names, 5, SmallClasses.error)
    assert usable(labels, names, 5, SmallClasses.leave_out) == ([0, 2], ["dog (3)", "elk (0)"])
    assert usable(labels, names[:3], 3, SmallClasses.error) == ([0, 1, 2], [])


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, Episodes]:
    data = blobs(160, 12, k=8, spread=2.0)
    return data.x, draw(data.y, list(range(8)), 4, 3, 6, 9, seed=0)


def sides(x: Tensor, episodes: Episodes, number: int, unit: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support (N K, D), its classes, questions (N Q, D) of one episode."""
    support, query = (x[rows[number]].double().flatten(0, 1).numpy() for rows in (episodes.support, episodes.query))
    if unit:
        support, query = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (support, query))
    return support, np.repeat(np.arange(4), 3), query


def test_ridge_is_a_dense_solve_with_a_free_intercept(drawn: tuple[Tensor, Episodes]) -> None:
    found = answers(*drawn, Classifier.ridge)
    for number in range(9):
        support, truth, query = sides(*drawn, number, unit=True)
        a = np.concatenate([support, np.ones((12, 1))], axis=1)
        penalty = np.diag([1.0] * 12 + [0.0])
        weights = np.linalg.solve(a.T @ a + penalty, a.T @ np.eye(4)[truth])
        expected = (query @ weights[:-1] + weights[-1]).argmax(1)
        assert found[number].flatten().tolist() == expected.tolist()


def test_logistic_is_scikit_learns(drawn: tuple[Tensor, Episodes]) -> None:
    from sklearn.linear_model import LogisticRegression

    found = answers(*drawn, Classifier.logistic)
    for number in range(9):
        support, truth, query = sides(*drawn, number, unit=True)
        model = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8).fit(support, truth)
        assert (found[number].flatten().numpy() == model.predict(query)).mean() > 0.95


def test_prototypes_are_the_nearest_means(drawn: tuple[Tensor, Episodes]) -> None:
    for classifier, unit in ((Classifier.prototypes_cosine, True), (Classifier.prototypes_euclidean, False)):
        found, different = answers(*drawn, classifier), False
        for number in range(9):
            support, _, query = sides(*drawn, number, unit)
            means = support.reshape(4, 3, 12).mean(1)
            distance = ((query[:, None] - means) ** 2).sum(2)
            cosine = query @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
            expected = cosine.argmax(1) if unit else distance.argmin(1)
            assert found[number].flatten().tolist() == expected.tolist()
            different |= bool((expected != np.repeat(np.arange(4), 6)).any())
        assert different, "questions must be hard enough to tell"
