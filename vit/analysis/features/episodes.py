"""Few-shot episodes: a few classes, a few pictures of each to learn from, others of the same classes to be asked.

Vinyals et al., "Matching Networks for One Shot Learning", 2016: an N-way K-shot task. All that is drawn is a function
of (seed, episode): which classes, and which of a class's pictures. Questions are the same whatever the number of shots
is, and more shots only add to fewer.

Shapes: E episodes of N classes, K shots and Q questions of each; D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import DataError
from trainer.text import few
from vit.analysis.chance import permutation
from vit.evaluate.linear import towards

L2 = 1.0  # of ridge and, per sample, of logistic regression: scikit-learn's C = 1


class SmallClasses(Enum):
    """What is done with classes that have too few pictures for an episode."""

    error = "error"
    leave_out = "leave_out"


class Classifier(Enum):
    """How an episode's questions are answered; all but the Euclidean prototypes see features of length 1."""

    prototypes_cosine = "prototypes_cosine"  # the class whose mean has the largest cosine similarity
    prototypes_euclidean = "prototypes_euclidean"  # the nearest class mean, as Prototypical Networks
    ridge = "ridge"  # least squares onto one-hot targets, penalty 1, in closed form
    logistic = "logistic"  # multinomial regression, penalty 1


@dataclass(frozen=True)
class Episodes:
    """Rows of a bank of features.

    Attributes:
        classes: (E, N) int64: of the data.
        support: (E, N, K) int64: rows to learn from. query: (E, N, Q) int64: rows to be asked.
    """

    classes: Tensor
    support: Tensor
    query: Tensor

    def part(self, chosen: slice) -> Episodes:
        """Some of the episodes."""
        return Episodes(self.classes[chosen], self.support[chosen], self.query[chosen])

    def fewer(self, shots: int) -> Episodes:
        """The same episodes with fewer shots."""
        return Episodes(self.classes, self.support[:, :, :shots], self.query)


def usable(labels: Tensor, names: list[str], needed: int, small: SmallClasses) -> tuple[list[int], list[str]]:
    """Classes with enough pictures, and the names of those that have too few.

    Raises:
        DataError: some have too few and are not to be left out.
    """
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    lacking = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < needed]
    if lacking and small is SmallClasses.error:
        raise DataError(
            f"an episode takes {needed} pictures of a class (the shots and the queries), and {len(lacking)} of "
            f"{len(names)} classes have fewer: {few(lacking)}. Give smaller queries= and shots=, more samples=, "
            "another split=, or small_classes=leave_out"
        )
    return [k for k, count in enumerate(counts) if count >= needed], lacking


def draw(labels: Tensor, classes: list[int], ways: int, shots: int, queries: int, count: int, seed: int) -> Episodes:
    """Draw episodes.

    Args:
        labels: (rows,) int64: class of each row, in the data set's order.
        classes: that are drawn from, each with at least ``shots + queries`` rows; at least ``ways`` of them.
        ways: classes of an episode, all if there are as many. shots, queries: rows of each. count: of episodes.
    """
    numbers, have = torch.arange(count), torch.tensor(classes)
    chosen = permutation(seed, numbers, len(classes))[:, :ways].sort(dim=1).values
    support = torch.empty(count, ways, shots, dtype=torch.long)
    query = torch.empty(count, ways, queries, dtype=torch.long)
    for place, k in enumerate(classes):
        rows = (labels == k).nonzero()[:, 0]
        episode, way = (chosen == place).nonzero(as_tuple=True)
        order = rows[permutation(seed * 1_000_003 + k + 1, episode, len(rows))]
        query[episode, way] = order[:, :queries]
        support[episode, way] = order[:, queries : queries + shots]
    return Episodes(have[chosen], support, query)


def answers(x: Tensor, episodes: Episodes, classifier: Classifier) -> Tensor:
    """Which of an episode's classes each question is given, (E, N, Q) int64 in 0..N-1; the truth is its own row.

    Args:
        x: (rows, D) features.
    """
    support, query = x[episodes.support], x[episodes.query]
    if classifier is not Classifier.prototypes_euclidean:
        support, query = F.normalize(support, dim=-1), F.normalize(query, dim=-1)
    return _SCORES[classifier](support, query.flatten(1, 2)).argmax(dim=-1).view(episodes.query.shape)


def _prototypes(cosine: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def scores(support: Tensor, query: Tensor) -> Tensor:
        weight, bias = towards(support.mean(dim=2), cosine)
        return query @ weight.transpose(1, 2) + bias[:, None]

    return scores


def _targets(support: Tensor) -> Tensor:
    """(E, N K, N) one-hot, the support's rows class by class."""
    ways, shots = support.shape[1:3]
    return torch.eye(ways, device=support.device).repeat_interleave(shots, dim=0).expand(len(support), -1, -1)


def _ridge(support: Tensor, query: Tensor) -> Tensor:
    """By the N K x N K Gram matrix, which is smaller than D x D; centred, so that the intercept is free."""
    a, targets = support.flatten(1, 2).double(), _targets(support).double()
    mean, middle = a.mean(dim=1, keepdim=True), targets.mean(dim=1, keepdim=True)
    a = a - mean
    gram = a @ a.transpose(1, 2) + L2 * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    weights = a.transpose(1, 2) @ torch.linalg.solve(gram, targets - middle)
    return (query.double() - mean) @ weights + middle


def _logistic(support: Tensor, query: Tensor, iterations: int = 100) -> Tensor:
    """Summed cross entropy + L2 / 2 times the squared weights, by L-BFGS; the sum over episodes has the minimum that
    each alone has."""
    a, ways = support.flatten(1, 2), support.shape[1]
    truth = torch.arange(ways, device=a.device).repeat_interleave(support.shape[2]).expand(len(a), -1)
    weight = a.new_zeros(len(a), a.shape[2], ways).requires_grad_()
    bias = a.new_zeros(len(a), 1, ways).requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy((a @ weight + bias).flatten(0, 1), truth.flatten(), reduction="sum")
        loss = loss + 0.5 * L2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        solver.step(closure)  # pyright: ignore[reportArgumentType]
    return query @ weight.detach() + bias.detach()


_SCORES: dict[Classifier, Callable[[Tensor, Tensor], Tensor]] = {
    Classifier.prototypes_cosine: _prototypes(cosine=True),
    Classifier.prototypes_euclidean: _prototypes(cosine=False),
    Classifier.ridge: _ridge,
    Classifier.logistic: _logistic,
}
