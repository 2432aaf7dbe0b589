"""Measures of classification as sums that add up over batches and processes, and what follows from them.

Shapes: B samples, K classes. ``weights`` (B,) are 1, or 0 for samples that only fill up a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.evaluate.collected import Collected

BINS = 15  # of the calibration error (Guo et al., 2017)
CONFUSION_CLASSES = 1000  # up to so many classes the whole confusion matrix is kept

Sum = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Bins:
    """What a reliability diagram shows, per bin of confidence, (BINS,) float64 each.

    Attributes:
        count: samples. confidence, accuracy: their means, 0 where a bin is empty.
    """

    count: Tensor
    confidence: Tensor
    accuracy: Tensor


class Skipping:
    """Counts samples that could not be read, on ``device``. They count nowhere else."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._skipped = torch.zeros(1, dtype=torch.float64, device=device)

    def skip(self, weights: Tensor) -> None:
        """(B,): 1 for each sample that could not be read."""
        self._skipped += weights.double().sum()

    @property
    def skipped(self) -> int:
        """How many could not be read."""
        return int(self._skipped.item())

    def confusion(self) -> Tensor | None:
        """(K, K) counts, rows: truth, columns: prediction; None where several labels do not make one, or K is large."""
        return None


class SingleLabel(Skipping):
    """One prediction a sample, judged by one label, or by several of which any is right (ReaL).

    Args:
        num_classes: K.
        device: where the sums are kept.
        sigmoid: whether logits were trained as independent yes-or-no questions. Probabilities are then sigmoids,
            normalised over the classes; otherwise softmax.
    """

    SCORES: ClassVar = {"top1": True, "top5": True, "mean_per_class": True, "nll": False, "ece": False, "loss": False}

    def __init__(self, num_classes: int, device: torch.device | str = "cpu", sigmoid: bool = False) -> None:
        super().__init__(device)
        self.num_classes, self.sigmoid = num_classes, sigmoid
        k = num_classes

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64, device=device)

        # top-1, top-5, nll, loss, samples
        self._totals, self._bins, self._classes = zeros(5), zeros(3, BINS), zeros(2, k)
        self._confusion = zeros(k, k) if k <= CONFUSION_CLASSES else None

    def update(self, logits: Tensor, targets: Tensor, weights: Tensor, losses: Tensor | None = None) -> Tensor:
        """Count a batch.

        Args:
            logits: (B, K).
            targets: (B, K), above 0 where a class is right. Samples without any right class are not counted.
            weights: (B,).
            losses: (B,), of the run's criterion.

        Returns:
            Probabilities (B, K) fp32.
        """
        log_p = log_probabilities(logits, self.sigmoid)
        right = targets > 0
        weights = weights.double() * right.any(dim=1)
        order = logits.float().topk(min(5, self.num_classes), dim=1).indices
        predicted = order[:, 0]
        hits = right.gather(1, order)
        # Any of several labels is right: the probability of the truth is theirs together.
        nll = -log_p.masked_fill(~right, -torch.inf).logsumexp(dim=1).double()
        nll = torch.where(weights > 0, nll, 0.0)
        loss = nll if losses is None else torch.where(weights > 0, losses.double(), 0.0)
        columns = torch.stack([hits[:, 0].double(), hits.any(dim=1).double(), nll, loss, torch.ones_like(nll)])
        self._totals += columns @ weights
        confidence = log_p.gather(1, predicted[:, None]).squeeze(1).exp().double()
        confidence = torch.where(weights > 0, confidence, 0.0)
        # Bins are open below and closed above, as in the paper.
        index = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
        rows = torch.stack([torch.ones_like(nll), confidence, hits[:, 0].double()]) * weights
        self._bins.index_add_(1, index, rows)
        # The row of a sample in the confusion matrix: its label; of several the predicted one, else the first.
        label = torch.where(hits[:, 0], predicted, right.int().argmax(dim=1))
        self._classes.index_add_(1, label, torch.stack([weights, weights * hits[:, 0]]))
        if self._confusion is not None:
            flat = label * self.num_classes + predicted
            self._confusion.view(-1).index_add_(0, flat, weights)
        return log_p.exp()

    def combine(self, add: Sum, rank: int = 0, world: int = 1) -> None:
        """Take all processes' sums together. Call once, at the end, on all of them."""
        self._totals, self._bins, self._classes = add(self._totals), add(self._bins), add(self._classes)
        self._skipped = add(self._skipped)
        if self._confusion is not None:
            self._confusion = add(self._confusion)

    def compute(self) -> dict[str, float]:
        """Metric -> value: ``top1``, ``top5`` (more than 5 classes), ``mean_per_class`` (of the classes that occur),
        ``nll`` [nats], ``ece``, ``loss``, ``skipped`` (pictures that could not be read, if any); empty where nothing
        was counted."""
        top1, top5, nll, loss, count = self._totals.tolist()
        if count == 0:
            return {}
        found = {"top1": top1 / count}
        if self.num_classes > 5:
            found["top5"] = top5 / count
        accuracy = self.class_accuracy()
        found["mean_per_class"] = accuracy[self._classes[0] > 0].mean().item()
        bins = self.bins()
        error = (bins.count * (bins.accuracy - bins.confidence).abs()).sum().item() / count
        return found | {"nll": nll / count, "ece": error, "loss": loss / count} | _skipped(self.skipped)

    @property
    def samples(self) -> int:
        """How many were counted."""
        return int(self._totals[-1].item())

    def class_counts(self) -> Tensor:
        """(K,) samples of each class."""
        return self._classes[0].cpu()

    def class_accuracy(self) -> Tensor:
        """(K,) share of each class's samples that were recognised; 0 where there are none."""
        return self._classes[1] / self._classes[0].clamp_min(1)

    def confusion(self) -> Tensor | None:
        """(K, K) counts, rows: truth, columns: prediction; None beyond ``CONFUSION_CLASSES``."""
        return None if self._confusion is None else self._confusion.cpu()

    def bins(self) -> Bins:
        """Samples by confidence."""
        count, confidence, correct = self._bins.cpu()
        return Bins(count, confidence / count.clamp_min(1), correct / count.clamp_min(1))


class MultiLabel(Skipping):
    """Any number of labels a sample; a class is predicted where its probability is above 1/2.

    Args:
        num_classes: K.
        device: where counts are kept; scores, which mean average precision needs all of, go to the CPU.
    """

    SCORES: ClassVar = {"map": True, "f1_micro": True, "f1_macro": True, "exact_match": True, "loss": False}

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes, self.device = num_classes, torch.device(device)
        super().__init__(device)
        self._totals = torch.zeros(3, dtype=torch.float64, device=device)  # exact matches, loss, samples
        self._classes = torch.zeros(3, num_classes, dtype=torch.float64, device=device)  # tp, fp, fn
        self._samples = Collected(device)  # scores, truth

    def update(self, logits: Tensor, targets: Tensor, weights: Tensor, losses: Tensor | None = None) -> Tensor:
        """Count a batch; arguments and result as for ``SingleLabel.update``, ``targets`` 1 for each label."""
        logits, right, weights = logits.float(), targets > 0.5, weights.double()
        said = logits > 0
        loss = torch.zeros_like(weights) if losses is None else torch.where(weights > 0, losses.double(), 0.0)
        exact = (said == right).all(dim=1).double()
        self._totals += torch.stack([exact, loss, torch.ones_like(weights)]) @ weights
        for row, mask in enumerate((said & right, said & ~right, ~said & right)):
            self._classes[row] += weights @ mask.double()
        self._samples.add(weights > 0, logits, right)
        return logits.sigmoid()

    def combine(self, add: Sum, rank: int = 0, world: int = 1) -> None:
        """Take all processes' sums, and their scores in the order of ranks, together. Call once, on all of them."""
        self._totals, self._classes, self._skipped = add(self._totals), add(self._classes), add(self._skipped)
        if world == 1:
            return
        scores, truth = self._all()
        sizes = torch.zeros(world, dtype=torch.float64, device=self.device)
        sizes[rank] = len(scores)
        ends = add(sizes).cumsum(0).long().tolist()
        everyone = torch.zeros(2, ends[-1], self.num_classes, dtype=torch.float64, device=self.device)
        own = torch.stack([scores.double(), truth.double()]).to(self.device)
        everyone[:, ends[rank] - len(scores) : ends[rank]] = own
        everyone = add(everyone).cpu()
        self._samples = Collected()
        self._samples.add(torch.ones(ends[-1], dtype=torch.bool), everyone[0].float(), everyone[1] > 0.5)

    def compute(self) -> dict[str, float]:
        """Metric -> value: ``map`` (mean average precision of the classes that occur), ``f1_micro``, ``f1_macro`` (of
        the classes that occur or were predicted), ``exact_match``, ``loss``, ``skipped`` (as above); empty where
        nothing was counted."""
        exact, loss, count = self._totals.tolist()
        if count == 0:
            return {}
        precision = self.class_average_precision()
        occurs = ~precision.isnan()
        f1, seen = self.class_f1(), self._classes.sum(dim=0) > 0
        tp, fp, fn = self._classes.sum(dim=1).tolist()
        found = {"map": precision[occurs].mean().item()} if occurs.any() else {}
        return found | {
            "f1_micro": 2 * tp / max(2 * tp + fp + fn, 1.0),
            "f1_macro": f1[seen].mean().item() if seen.any() else 0.0,
            "exact_match": exact / count,
            "loss": loss / count,
            **_skipped(self.skipped),
        }

    @property
    def samples(self) -> int:
        """How many were counted."""
        return int(self._totals[-1].item())

    def class_f1(self) -> Tensor:
        """(K,) 2 tp / (2 tp + fp + fn); 0 where a class neither occurs nor was predicted."""
        tp, fp, fn = self._classes
        return 2 * tp / (2 * tp + fp + fn).clamp_min(1)

    def class_counts(self) -> Tensor:
        """(K,) samples that have each label."""
        return (self._classes[0] + self._classes[2]).cpu()

    def class_average_precision(self) -> Tensor:
        """(K,) average precision; NaN for classes that do not occur."""
        scores, truth = self._all()
        return torch.stack([average_precision(scores[:, k], truth[:, k]) for k in range(self.num_classes)])

    def _all(self) -> tuple[Tensor, Tensor]:
        scores, truth = self._samples.columns() or (torch.zeros(0, self.num_classes),) * 2
        return scores, truth.bool()


def _skipped(count: int) -> dict[str, float]:
    return {"skipped": float(count)} if count else {}


def log_probabilities(logits: Tensor, sigmoid: bool) -> Tensor:
    """(B, K) fp32 logarithms of a distribution over classes: softmax, or sigmoids divided by their sum."""
    return F.log_softmax(F.logsigmoid(logits.float()) if sigmoid else logits.float(), dim=1)


def average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Area under the precision-recall steps, the sum of (R_n - R_{n-1}) P_n over distinct thresholds.

    Args:
        scores: (N,). truth: (N,) bool.

    Returns:
        0-d float64; NaN without positives. Equal scores are one threshold, so their order does not matter.
    """
    positives = truth.sum()
    if positives == 0:
        return torch.tensor(torch.nan, dtype=torch.float64)
    order = scores.argsort(descending=True, stable=True)
    scores, hits = scores[order], truth[order].double().cumsum(0)
    last = torch.ones(len(scores), dtype=torch.bool)
    last[:-1] = scores[1:] != scores[:-1]
    hits, rank = hits[last], torch.arange(1, len(scores) + 1, dtype=torch.float64)[last]
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return (gained / positives * hits / rank).sum()
