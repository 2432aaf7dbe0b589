"""Mixtures found again: as many components as there were, unless too few instances stand for them."""

import numpy as np
import pytest

from vid2vid.styles.fit import fit_class

pytest.importorskip("sklearn")

CENTRES = np.array([[-0.6, 0, 0.2], [0.5, 0.5, 0], [0.2, -0.7, -0.4]])


def clusters(*counts: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([c + 0.03 * rng.standard_normal((n, 3)) for c, n in zip(CENTRES, counts, strict=False)])


def test_three_clusters_are_three_components() -> None:
    found = fit_class(26, clusters(60, 40, 100), name="car", things=True)
    assert (found.id, found.name, found.things, found.count) == (26, "car", True, 200)
    assert [part.count for part in found.components] == [100, 60, 40]  # the heaviest first
    assert [part.weight for part in found.components] == pytest.approx([0.5, 0.3, 0.2], abs=1e-3)
    for part, centre in zip(found.components, CENTRES[[2, 0, 1]], strict=True):
        assert part.mean == pytest.approx(centre, abs=0.015)
        assert np.diag(part.covariance) == pytest.approx([0.0009] * 3, rel=0.5)
    assert min(found.bic, key=lambda k: found.bic[k]) == "3"


def test_one_cloud_is_one_component() -> None:
    assert len(fit_class(7, 0.1 * np.random.default_rng(1).standard_normal((200, 3))).components) == 1


def test_a_component_of_few_instances_is_not_learnt_by_heart() -> None:
    """Three cars apart from sixty others: with a minimum of 20 they are no component of their own."""
    vectors = clusters(60, 3)
    assert len(fit_class(26, vectors, least=20).components) == 1
    assert [part.count for part in fit_class(26, vectors, least=3).components][-1] == 3


def test_few_vectors_are_one_gaussian_in_closed_form() -> None:
    vectors = np.array([[0.0, 0, 0], [0.2, 0, 0]])
    found = fit_class(7, vectors)
    assert found.mean == pytest.approx([0.1, 0, 0]) and found.bic == {}
    assert np.allclose(found.components[0].covariance, np.diag([0.01, 0, 0]))
    assert np.allclose(fit_class(7, vectors[:1]).components[0].covariance, 0)
