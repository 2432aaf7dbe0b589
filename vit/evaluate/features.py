"""What frozen features are worth: few-shot least squares, weighted nearest neighbours, a linear probe.

Features are computed once (``extract``) and shared by all three. Shapes: N samples, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.device.compute import CPU, Compute
from trainer.errors import DataError
from vit.evaluate.collected import Collected
from vit.evaluate.linear import (
    L2,
    PROBE_L2,
    Features,
    accuracy,
    least_squares,
    logistic,
    permuted_classes,
    with_bias,
)

SHOTS = (1, 5, 10, 25)
SEEDS = 3
NEIGHBOURS, TEMPERATURE = 20, 0.07


class Classifier(Protocol):
    """``VisionTransformer`` and ``TimmClassifier``."""

    def representation(self, x: Tensor) -> Tensor: ...


@torch.no_grad()
def extract(
    model: Classifier,
    batches: Iterable[dict[str, Any]],
    prepare: Callable[[Tensor], Tensor],
    compute: Compute = CPU,
) -> Features:
    """Frozen features of a loader's samples.

    Args:
        model: in eval mode; its ``representation`` is what its head reads.
        batches: ``image`` (B, C, H, W) uint8, ``label`` (B,), ``weight`` (B,) where some only fill up,
            ``readable`` (B,) where some could not be read.
        prepare: bytes to the network's input (normalisation).

    Raises:
        DataError: samples have several labels.
    """
    collected = Collected(compute.device)
    for batch in batches:
        if batch["label"].ndim != 1:
            raise DataError("few-shot, k-NN and probe need one label per picture; this data has several")
        labels = batch["label"]
        kept = batch["weight"] > 0 if "weight" in batch else torch.ones_like(labels, dtype=torch.bool)
        kept = kept & (batch["readable"] > 0) if "readable" in batch else kept
        with compute.amp():
            found = model.representation(prepare(batch["image"].to(compute.device)))
        collected.add(kept, found.float(), labels.long())
    return Features(*collected.columns())


# Few-shot least squares


def few_shot(
    train: Features,
    test: Features,
    num_classes: int,
    shots: Sequence[int] = SHOTS,
    seeds: int = SEEDS,
    l2: float = L2,
) -> dict[str, float]:
    """Test accuracy of ridge regression on a few samples per class, as big_vision's ``fewshot_lsr`` evaluates.

    For each seed every class's samples are permuted by ``numpy.random.default_rng(seed)`` and the first ``shots``
    of each are used (fewer where a class has fewer).

    Returns:
        ``fewshot_5`` (mean over seeds) for 5 shots, and so on; with ``fewshot_5_std`` where there are several seeds.
    """
    found: dict[str, float] = {}
    for count in shots:
        scores = []
        for seed in range(seeds):
            picked = torch.from_numpy(few_indices(train.y.numpy(), num_classes, count, seed))
            weights, mean, std = least_squares(train.x[picked], train.y[picked], num_classes, l2)
            scores.append(accuracy(with_bias(test.x, mean, std) @ weights, test.y))
        found[f"fewshot_{count}"] = float(np.mean(scores))
        if seeds > 1:
            found[f"fewshot_{count}_std"] = float(np.std(scores, ddof=1))
    return found


def few_indices(labels: np.ndarray, num_classes: int, shots: int, seed: int) -> np.ndarray:
    """Indices of ``shots`` samples per class, class by class: the first of ``permuted_classes``."""
    return np.concatenate([indices[:shots] for indices in permuted_classes(labels, num_classes, seed)])


# Nearest neighbours


def nearest_neighbours(
    train: Features,
    test: Features,
    num_classes: int,
    ks: Sequence[int] = (NEIGHBOURS,),
    temperature: float = TEMPERATURE,
    chunk: int = 1024,
) -> dict[str, float]:
    """Test accuracy of k neighbours that vote with exp(cosine similarity / temperature), as DINO evaluates.

    Args:
        ks: numbers of neighbours; where there are fewer training samples, all of these.
        chunk: test samples at a time.

    Returns:
        ``knn_K`` of each, and ``knn_K_top5`` for more than 5 classes.
    """
    bank, ks = F.normalize(train.x, dim=1), sorted({min(k, len(train.y)) for k in ks})
    right = {(k, top): 0 for k in ks for top in (1, 5)}
    for x, y in zip(test.x.split(chunk), test.y.split(chunk), strict=True):
        similarity, index = (F.normalize(x, dim=1) @ bank.T).topk(ks[-1], dim=1)
        weights, classes = (similarity / temperature).exp(), train.y[index]
        for k in ks:
            votes = x.new_zeros(len(x), num_classes).scatter_add_(1, classes[:, :k], weights[:, :k])
            order = votes.topk(min(5, num_classes), dim=1).indices
            right[k, 1] += int((order[:, 0] == y).sum())
            right[k, 5] += int((order == y[:, None]).any(dim=1).sum())
    shares = {key: count / len(test.y) for key, count in right.items()}
    first = {f"knn_{k}": shares[k, 1] for k in ks}
    return first | ({f"knn_{k}_top5": shares[k, 5] for k in ks} if num_classes > 5 else {})


# Linear probe


def linear_probe(
    train: Features,
    test: Features,
    num_classes: int,
    l2s: Sequence[float] = PROBE_L2,
    val_share: float = 0.2,
    seed: int = 0,
    iterations: int = 200,
) -> dict[str, float]:
    """Test accuracy of ``vit.evaluate.linear.logistic``, whose arguments these are.

    Returns:
        ``probe`` (test accuracy), ``probe_l2`` (the chosen penalty).
    """
    found = logistic(train, num_classes, l2s, val_share, seed, iterations)
    assert found.l2 is not None
    return {"probe": accuracy(found(test.x), test.y), "probe_l2": found.l2}
