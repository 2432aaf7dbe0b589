"""What frozen features are worth: few-shot least squares, weighted nearest neighbours, a linear probe.

Features are computed once (``extract``) and shared by all three. Shapes: N samples, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.device.compute import CPU, Compute
from trainer.errors import DataError
from vit.evaluate.collected import Collected

BIAS = 100.0  # value of the constant feature: so large that its coefficient is almost free of the penalty
L2 = 2.0**10
SHOTS = (1, 5, 10, 25)
SEEDS = 3
NEIGHBOURS, TEMPERATURE = 20, 0.07
PROBE_L2 = tuple(10.0**e for e in range(-6, 3))


class Classifier(Protocol):
    """``VisionTransformer`` and ``TimmClassifier``."""

    def representation(self, x: Tensor) -> Tensor: ...


@dataclass
class Features:
    """Features of a split: ``x`` (N, D) fp32 and ``y`` (N,) int64 labels, on the CPU."""

    x: Tensor
    y: Tensor


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
            scores.append(_accuracy(_with_bias(test.x, mean, std) @ weights, test.y))
        found[f"fewshot_{count}"] = float(np.mean(scores))
        if seeds > 1:
            found[f"fewshot_{count}_std"] = float(np.std(scores, ddof=1))
    return found


def few_indices(labels: np.ndarray, num_classes: int, shots: int, seed: int) -> np.ndarray:
    """Indices of ``shots`` samples per class, class by class; one generator draws all classes' permutations in turn."""
    rng = np.random.default_rng(seed)
    permuted = [rng.permutation(np.flatnonzero(labels == k)) for k in range(num_classes)]
    return np.concatenate([indices[:shots] for indices in permuted])


def least_squares(x: Tensor, y: Tensor, num_classes: int, l2: float = L2) -> tuple[Tensor, Tensor, Tensor]:
    """Closed-form ridge regression onto targets of -1 and 1.

    Features are whitened one by one (mean and standard deviation of ``x`` itself, the latter + 1e-5) and a constant
    feature is appended. The eigenvectors of the smaller of the two Gram matrices, (D+1, D+1) or (N, N), solve it.

    Returns:
        weights (D + 1, K) float64, mean (1, D), std (1, D).
    """
    x = x.double()
    mean, std = x.mean(dim=0, keepdim=True), x.std(dim=0, keepdim=True, correction=0) + 1e-5
    a = _with_bias(x, mean, std)
    targets = 2.0 * F.one_hot(y, num_classes).double() - 1.0
    if a.shape[0] >= a.shape[1]:
        values, vectors = torch.linalg.eigh(a.T @ a)
        return vectors @ ((vectors.T @ (a.T @ targets)) / (values + l2)[:, None]), mean, std
    values, vectors = torch.linalg.eigh(a @ a.T)
    return a.T @ (vectors @ ((vectors.T @ targets) / (values + l2)[:, None])), mean, std


def _with_bias(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return F.pad((x.double() - mean) / std, (0, 1), value=BIAS)


# Nearest neighbours


def nearest_neighbours(
    train: Features,
    test: Features,
    num_classes: int,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    chunk: int = 1024,
) -> dict[str, float]:
    """Test accuracy of k neighbours that vote with exp(cosine similarity / temperature), as DINO evaluates.

    Args:
        k: no more than there are training samples.
        chunk: test samples at a time.

    Returns:
        ``knn_K``, and ``knn_K_top5`` for more than 5 classes.
    """
    bank, k = F.normalize(train.x, dim=1), min(k, len(train.y))
    top1 = top5 = 0.0
    for x, y in zip(test.x.split(chunk), test.y.split(chunk), strict=True):
        similarity, index = (F.normalize(x, dim=1) @ bank.T).topk(k, dim=1)
        votes = torch.zeros(len(x), num_classes).scatter_add_(1, train.y[index], (similarity / temperature).exp())
        order = votes.topk(min(5, num_classes), dim=1).indices
        top1 += (order[:, 0] == y).sum().item()
        top5 += (order == y[:, None]).any(dim=1).sum().item()
    found = {f"knn_{k}": top1 / len(test.y)}
    return found | ({f"knn_{k}_top5": top5 / len(test.y)} if num_classes > 5 else {})


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
    """Multinomial logistic regression on whitened features, its penalty chosen on a part of the training samples.

    Args:
        l2s: penalties to try: the loss is mean cross entropy + l2 / 2 times the squared weights (biases are free).
        val_share: share of each class's training samples that choose among them; all train the final one.

    Returns:
        ``probe`` (test accuracy), ``probe_l2`` (the chosen one).
    """
    mean, std = train.x.mean(dim=0), train.x.std(dim=0, correction=0) + 1e-5
    x, x_test = (train.x - mean) / std, (test.x - mean) / std
    held = _held_out(train.y.numpy(), num_classes, val_share, seed)
    best, start = (-1.0, l2s[0]), None
    for l2 in sorted(l2s, reverse=True):  # from stiff to loose, each from the last one's solution
        start = _logistic(x[~held], train.y[~held], num_classes, l2, iterations, start)
        score = _accuracy(F.linear(x[held], *start), train.y[held])
        if score > best[0]:
            best = (score, l2)
    solution = _logistic(x, train.y, num_classes, best[1], iterations, None)
    return {"probe": _accuracy(F.linear(x_test, *solution), test.y), "probe_l2": best[1]}


def _held_out(labels: np.ndarray, num_classes: int, share: float, seed: int) -> Tensor:
    """(N,) bool: which samples choose the penalty: a share of each class, but never its last one."""
    rng, held = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for k in range(num_classes):
        own = rng.permutation(np.flatnonzero(labels == k))
        held[own[: min(round(share * len(own)), len(own) - 1)]] = True
    if not held.any():
        raise DataError("the linear probe needs at least 3 training samples of some class to choose its penalty by")
    return torch.from_numpy(held)


def _logistic(
    x: Tensor, y: Tensor, num_classes: int, l2: float, iterations: int, start: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Weights (K, D) and biases (K,) by L-BFGS; the problem is convex."""
    weight = torch.zeros(num_classes, x.shape[1]) if start is None else start[0].clone()
    bias = torch.zeros(num_classes) if start is None else start[1].clone()
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    solver = torch.optim.LBFGS(parameters, max_iter=iterations, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), y) + 0.5 * l2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)  # pyright: ignore[reportArgumentType]
    return weight.detach(), bias.detach()


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    return (scores.argmax(dim=1) == labels).double().mean().item()
