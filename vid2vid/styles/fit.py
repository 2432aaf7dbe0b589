"""Fitting mixtures of Gaussians: how many components, by the Bayesian information criterion (Schwarz 1978)."""

from __future__ import annotations

import warnings

import numpy as np

from trainer.errors import ConfigError
from vid2vid.styles.mixtures import ClassStyles, Component


def require_sklearn() -> None:
    """Says early, before anything is encoded, that the extra is missing.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        import sklearn.mixture  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "fit_styles needs scikit-learn, which is not installed: pip install 'vivid[styles]' "
            "(pip install -e '.[styles]' in a clone)"
        ) from error


def fit_class(
    label: int,
    vectors: np.ndarray,
    *,
    name: str = "",
    things: bool = False,
    most: int = 10,
    least: int = 20,
    seed: int = 0,
) -> ClassStyles:
    """The mixture of a class with the lowest BIC.

    One component is always possible. More are tried as long as each can have ``least`` vectors, and taken only where
    each of them has as many: a component of a few vectors is a few objects learnt by heart.

    Args:
        label: id of the class.
        vectors: (n, d), n at least 1.
        name, things: see `ClassStyles`.
        most: largest number of components.
        least: smallest number of vectors of each.
        seed: of where the fits begin.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    vectors = np.asarray(vectors, np.float64)
    n, d = vectors.shape
    bic: dict[str, float] = {}
    best = [_single(vectors)]
    for k in range(1, max(1, min(most, n // least)) + 1):
        if n <= d:  # too few for a covariance: the mean, and what spread there is
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # such a fit has a worse BIC, and loses
            mixture = GaussianMixture(k, covariance_type="full", n_init=3, max_iter=300, random_state=seed).fit(vectors)
        counts = np.bincount(mixture.predict(vectors), minlength=k)
        if k > 1 and counts.min() < least:
            continue
        value = float(mixture.bic(vectors))
        if not bic or value < min(bic.values()):
            weights, means, spreads = (np.asarray(x) for x in (mixture.weights_, mixture.means_, mixture.covariances_))
            order = np.argsort(-weights, kind="stable")
            best = [Component(float(weights[i]), int(counts[i]), means[i].tolist(), spreads[i].tolist()) for i in order]
        bic[str(k)] = value
    return ClassStyles(label, name, things, n, vectors.mean(axis=0).tolist(), best, bic)


def _single(vectors: np.ndarray) -> Component:
    """All vectors as one Gaussian, in closed form."""
    centred = vectors - vectors.mean(axis=0)
    covariance = centred.T @ centred / len(vectors)
    return Component(1.0, len(vectors), vectors.mean(axis=0).tolist(), covariance.tolist())
