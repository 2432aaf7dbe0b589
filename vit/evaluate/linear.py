"""Linear classifiers on frozen features: ridge, logistic regression, minibatches of AdamW, prototypes.

Shapes: N samples, D features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import DataError

BIAS = 100.0  # value of the constant feature of ridge: so large that its coefficient is almost free of the penalty
L2 = 2.0**10
PROBE_L2 = tuple(10.0**e for e in range(-6, 3))
RIDGE_L2 = tuple(10.0**e for e in range(-2, 8))


@dataclass
class Features:
    """Features of a split: ``x`` (N, D) fp32 and ``y`` (N,) int64 labels."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device) -> Features:
        """The same on a device, where they are then classified."""
        return Features(self.x.to(device), self.y.to(device))


@dataclass
class Linear:
    """Scores of features: ``weight (x - mean) / std + bias``.

    Attributes:
        weight: (K, D). bias: (K,). mean, std: (D,).
        l2: the penalty that was chosen; None: there is none.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor
    l2: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """(N, D) to (N, K)."""
        return F.linear((x.to(self.mean.dtype) - self.mean) / self.std, self.weight, self.bias)

    def layer(self) -> tuple[Tensor, Tensor]:
        """Weight (K, D) and bias (K,) fp32 of the layer that gives the same scores of the features as they are."""
        weight = self.weight.double() / self.std.double()
        return weight.float(), (self.bias.double() - weight @ self.mean.double()).float()


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of the rows (N, K) whose largest score is that of the label, (N,)."""
    return (scores.argmax(dim=1) == labels).double().mean().item()


# Ridge


def least_squares(x: Tensor, y: Tensor, num_classes: int, l2: float = L2) -> tuple[Tensor, Tensor, Tensor]:
    """Closed-form ridge regression onto targets of -1 and 1.

    Features are whitened one by one (mean and standard deviation of ``x`` itself, the latter + 1e-5) and a constant
    feature is appended. The eigenvectors of the smaller of the two Gram matrices, (D+1, D+1) or (N, N), solve it.

    Returns:
        weights (D + 1, K) float64, mean (1, D), std (1, D).
    """
    solver = _Ridge(x, y, num_classes)
    return solver.weights(l2), solver.mean, solver.std


class _Ridge:
    """``least_squares`` for any number of penalties: the eigenvectors are the same for all."""

    def __init__(self, x: Tensor, y: Tensor, num_classes: int) -> None:
        x = x.double()
        self.mean, self.std = x.mean(dim=0, keepdim=True), x.std(dim=0, keepdim=True, correction=0) + 1e-5
        self._a = a = with_bias(x, self.mean, self.std)
        targets = 2.0 * F.one_hot(y, num_classes).double() - 1.0
        self._tall = a.shape[0] >= a.shape[1]
        self._values, self._vectors = torch.linalg.eigh(a.T @ a if self._tall else a @ a.T)
        self._projected = self._vectors.T @ (a.T @ targets if self._tall else targets)

    def weights(self, l2: float) -> Tensor:
        found = self._vectors @ (self._projected / (self._values + l2)[:, None])
        return found if self._tall else self._a.T @ found

    def linear(self, l2: float) -> Linear:
        weights = self.weights(l2)
        return Linear(weights[:-1].T.contiguous(), BIAS * weights[-1], self.mean[0], self.std[0], l2)


def with_bias(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Features as ``least_squares`` takes them: whitened, with the constant one, (N, D + 1) float64."""
    return F.pad((x.double() - mean) / std, (0, 1), value=BIAS)


def ridge(
    train: Features, num_classes: int, l2s: Sequence[float] = RIDGE_L2, val_share: float = 0.2, seed: int = 0
) -> Linear:
    """``least_squares`` whose penalty is chosen on a part of the training samples; all train the final one.

    Args:
        l2s: to try; of equally good ones the largest is taken.
        val_share: share of each class's samples that choose.

    Raises:
        DataError: too few samples to choose by.
    """
    if len(l2s) == 1:
        return _Ridge(train.x, train.y, num_classes).linear(l2s[0])
    held = held_out(train.y.cpu().numpy(), num_classes, val_share, seed).to(train.y.device)
    part = _Ridge(train.x[~held], train.y[~held], num_classes)
    best = (-1.0, l2s[0])
    for l2 in sorted(l2s, reverse=True):
        score = accuracy(part.linear(l2)(train.x[held]), train.y[held])
        if score > best[0]:
            best = (score, l2)
    return _Ridge(train.x, train.y, num_classes).linear(best[1])


# Logistic regression


def logistic(
    train: Features,
    num_classes: int,
    l2s: Sequence[float] = PROBE_L2,
    val_share: float = 0.2,
    seed: int = 0,
    iterations: int = 200,
) -> Linear:
    """Multinomial logistic regression on whitened features, its penalty chosen on a part of the training samples.

    Args:
        l2s: penalties to try: the loss is mean cross entropy + l2 / 2 times the squared weights (biases are free).
        val_share: share of each class's training samples that choose among them; all train the final one.

    Raises:
        DataError: too few samples to choose by.
    """
    mean, std = train.x.mean(dim=0), train.x.std(dim=0, correction=0) + 1e-5
    x = (train.x - mean) / std
    held = held_out(train.y.cpu().numpy(), num_classes, val_share, seed).to(train.y.device)
    best, start = (-1.0, l2s[0]), None
    for l2 in sorted(l2s, reverse=True):  # from stiff to loose, each from the last one's solution
        start = _logistic(x[~held], train.y[~held], num_classes, l2, iterations, start)
        score = accuracy(F.linear(x[held], *start), train.y[held])
        if score > best[0]:
            best = (score, l2)
    return Linear(*_logistic(x, train.y, num_classes, best[1], iterations, None), mean, std, best[1])


def held_out(labels: np.ndarray, num_classes: int, share: float, seed: int) -> Tensor:
    """(N,) bool: which samples choose the penalty: a share of each class, but never its last one.

    Raises:
        DataError: none can.
    """
    held = np.zeros(len(labels), dtype=bool)
    for own in permuted_classes(labels, num_classes, seed):
        held[own[: min(round(share * len(own)), len(own) - 1)]] = True
    if not held.any():
        raise DataError("the linear probe needs at least 3 training samples of some class to choose its penalty by")
    return torch.from_numpy(held)


def permuted_classes(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    """Indices of each class's samples in a random order; one generator draws all classes' permutations in turn."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(np.flatnonzero(labels == k)) for k in range(num_classes)]


def _logistic(
    x: Tensor, y: Tensor, num_classes: int, l2: float, iterations: int, start: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Weights (K, D) and biases (K,) by L-BFGS; the problem is convex."""
    weight = x.new_zeros(num_classes, x.shape[1]) if start is None else start[0].clone()
    bias = x.new_zeros(num_classes) if start is None else start[1].clone()
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


# Minibatches


def minibatches(
    train: Features,
    num_classes: int,
    epochs: int = 10,
    batch: int = 256,
    lr: float = 5e-4,
    weight_decay: float = 0.05,
    seed: int = 0,
    start: tuple[Tensor, Tensor] | None = None,
) -> Linear:
    """A linear layer on the features as they are, trained by AdamW with a cosine rate.

    The numbers are those of the released code of Naseer et al. (2021), whose off-the-shelf tokens are classified so.

    Args:
        start: weight (K, D) and bias (K,) to begin with; None: zeros.
    """
    weight, bias = start or (train.x.new_zeros(num_classes, train.x.shape[1]), train.x.new_zeros(num_classes))
    parameters = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
    solver = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    generator, count = torch.Generator().manual_seed(seed), len(train.y)
    total, step = epochs * math.ceil(count / batch), 0
    with torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.randperm(count, generator=generator).to(train.y.device).split(batch):
                solver.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / total))
                solver.zero_grad()
                F.cross_entropy(F.linear(train.x[rows], *parameters), train.y[rows]).backward()
                solver.step()
                step += 1
    mean = train.x.new_zeros(train.x.shape[1])
    return Linear(parameters[0].detach(), parameters[1].detach(), mean, torch.ones_like(mean))


# Prototypes


def towards(prototypes: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    """The linear layer whose largest score is the nearest prototype (Snell et al., "Prototypical Networks", 2017).

    Args:
        prototypes: (..., K, D).
        cosine: by cosine similarity; else by Euclidean distance: |x - p|^2 / 2 = |x|^2 / 2 - (p x - |p|^2 / 2).

    Returns:
        weight (..., K, D), bias (..., K).
    """
    if cosine:
        return F.normalize(prototypes, dim=-1), torch.zeros_like(prototypes[..., 0])
    return prototypes, -0.5 * prototypes.square().sum(dim=-1)


def class_means(x: Tensor, y: Tensor, num_classes: int) -> Tensor:
    """Mean of the features of each class, (K, D).

    Raises:
        DataError: a class has none.
    """
    counts = torch.bincount(y, minlength=num_classes)
    if not bool((counts > 0).all()):
        raise DataError(f"class {int((counts == 0).nonzero()[0])} has no sample to make a prototype of")
    sums = x.new_zeros(num_classes, x.shape[1]).index_add_(0, y, x)
    return sums / counts[:, None]
