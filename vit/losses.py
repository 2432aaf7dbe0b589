"""Classification losses, one number a sample, in fp32: softmax, sigmoid, BCE and focal, with soft targets and weights.

Shapes: B samples, K classes. Targets are shares (B, K) in 0..1: one-hot, mixed by Mixup or CutMix, or several labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError
from trainer.text import few
from vit.config import ClassWeights, LossConfig, LossKind

EFFECTIVE_BETA = 0.9999  # of the effective number of samples; the largest that Cui et al. (2019) use


class Criterion:
    """The loss of a run: ``criterion(logits, targets)``.

    - ``softmax``: cross entropy. With logits 0 it is exactly ln K.
    - ``sigmoid``: binary cross entropy, summed over classes. With logits -ln K it is about ln K + 1.
    - ``bce``: its mean over classes, and every target above 0 counts as 1 (Touvron et al., "DeiT III", 2022).
    - ``focal``: cross entropy with every term weighed by (1 - p)^gamma (Lin et al., 2017, eq. 4), where p is the
      probability of the truth: softmax's for one label, each class's own sigmoid, summed, for several.

    ``smoothing`` s mixes targets with the uniform distribution: t (1 - s) + s / K (Szegedy et al., 2016); with several
    labels each class is a question of its own: t (1 - s) + s / 2. ``bce`` smooths after it has binarised.

    Args:
        config: the run's ``loss`` group.
        classes: names, in the order of the head.
        counts: training samples (with several labels: positives) per class; needed for weights by frequency.
        multilabel: whether a sample has any number of labels.

    Raises:
        ConfigError: a class weight for a class that does not exist, or a loss that the labels do not suit.
    """

    def __init__(
        self, config: LossConfig, classes: Sequence[str], counts: Sequence[int] | None = None, multilabel: bool = False
    ) -> None:
        if multilabel and not config.kind.several_labels:
            raise ConfigError(
                f"loss.kind={config.kind.name}: samples of this data have several labels, which do not share one "
                f"probability; use loss.kind={LossKind.for_several_labels()}"
            )
        self.kind, self.smoothing, self.gamma, self.multilabel = config.kind, config.smoothing, config.gamma, multilabel
        self.class_weights = class_weights(config, classes, counts)

    @property
    def independent(self) -> bool:
        """Whether every class is a yes-or-no question of its own (sigmoid) rather than one choice (softmax)."""
        return self.kind.independent or self.multilabel

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Losses of samples.

        Args:
            logits: (B, K), any floating type.
            targets: (B, K), shares in 0..1.

        Returns:
            (B,) fp32; their mean is to be minimised.
        """
        logits, targets = logits.float(), targets.float()
        binary = (targets > 0).float() if self.kind is LossKind.bce else targets
        smooth = self._smooth(binary)
        if self.class_weights is not None and self.class_weights.device != logits.device:
            self.class_weights = self.class_weights.to(logits.device)  # once: a copy makes the host wait
        weights = self.class_weights
        if not self.independent:
            log_p = F.log_softmax(logits, dim=-1)
            if self.kind is LossKind.focal:
                log_p = _focal(log_p, self.gamma)
            loss = -(smooth * log_p).sum(-1)
        else:
            loss = self._binary(logits, smooth, weights if self.multilabel else None)
            loss = loss.mean(-1) if self.kind is LossKind.bce else loss.sum(-1)
        if weights is None or self.multilabel:
            return loss
        # A sample weighs as much as its class (Cui et al., 2019, eq. 10-12), a mixed one as much as its share of each.
        return loss * (targets @ weights) / targets.sum(-1).clamp_min(1e-12)

    def _smooth(self, targets: Tensor) -> Tensor:
        if self.smoothing == 0:
            return targets
        return targets * (1 - self.smoothing) + self.smoothing / (2 if self.multilabel else targets.shape[-1])

    def _binary(self, logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """(B, K): each class's own binary cross entropy; weights go with its positive half, as torch's pos_weight."""
        positive, negative = F.logsigmoid(logits), F.logsigmoid(-logits)
        if self.kind is LossKind.focal:
            positive, negative = _focal(positive, self.gamma), _focal(negative, self.gamma)
        if weights is not None:
            positive = positive * weights
        return -(targets * positive + (1 - targets) * negative)


def class_weights(config: LossConfig, classes: Sequence[str], counts: Sequence[int] | None) -> Tensor | None:
    """Weight of each class (K,), or None where all weigh the same.

    ``balanced`` is N / (K n_k), so that a training sample weighs 1 on average; ``effective`` is proportional to
    (1 - beta) / (1 - beta^n_k) and sums to K (Cui et al., 2019, eq. 6); a class without samples weighs 1. Weights by
    name multiply these.

    Raises:
        ConfigError: unknown names, or counts that the data does not tell.
    """
    unknown = [name for name in config.class_weight_values if name not in classes]
    if unknown:
        raise ConfigError(
            [
                f"loss.class_weight_values.{name}: there is no such class{did_you_mean(name, classes) or ';'} "
                f"classes: {few(classes, 20)}"
                for name in unknown
            ]
        )
    if config.class_weights is ClassWeights.none and not config.class_weight_values:
        return None
    weights = torch.ones(len(classes), dtype=torch.float64)
    if config.class_weights is not ClassWeights.none:
        if counts is None:
            raise ConfigError(
                f"loss.class_weights={config.class_weights.name}: this data does not tell how many samples each class "
                "has; give loss.class_weight_values"
            )
        n = torch.tensor(list(counts), dtype=torch.float64)
        present = n > 0
        if config.class_weights is ClassWeights.balanced:
            found = n.sum() / (len(classes) * n.clamp_min(1))
        else:
            found = (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA ** n.clamp_min(1))
            found = found * present.sum() / found[present].sum()
        weights = torch.where(present, found, weights)
    for name, value in config.class_weight_values.items():
        weights[list(classes).index(name)] *= value
    return weights.float()


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma log p. Where p rounds to 1, a power below 1 has no derivative: the term and its gradient are 0."""
    rest = -torch.expm1(log_p)
    return rest.clamp_min(torch.finfo(rest.dtype).tiny).pow(gamma) * log_p


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Targets (B, K) fp32 of labels: (B,) indices, or (B, K) shares as they are."""
    if labels.ndim == 2:
        return labels.float()
    return torch.zeros(len(labels), num_classes, device=labels.device).scatter_(1, labels[:, None].long(), 1.0)
