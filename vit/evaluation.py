"""Measuring a classifier over a loader: the one way that training, scripts and tests all use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vit.losses import Criterion, one_hot
from vit.metrics import MultiLabel, SingleLabel
from vit.report import Gallery


@torch.inference_mode()
def measure(
    model: nn.Module,
    batches: Iterable[dict[str, Any]],
    *,
    classes: Sequence[str],
    criterion: Criterion,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device | str = "cpu",
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext,
    multilabel: bool = False,
    gallery: Gallery | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SingleLabel | MultiLabel:
    """Predict all samples of a loader and count.

    Args:
        model: (B, C, H, W) -> logits (B, K); in eval mode.
        batches: ``image`` (B, C, H, W) uint8, ``label`` (B,) or (B, K), ``weight`` (B,) (0: only fills up) if any.
        classes: K names.
        criterion: of the run; measured as ``loss``.
        prepare: bytes to the network's input (normalisation).
        multilabel: whether a sample has any number of labels that all want to be found. Without it, labels (B, K)
            name several of which any is right (ReaL), and samples without any are left out.
        gallery: is offered every batch.
        should_stop: polled between batches; True returns what was counted so far.

    Returns:
        Sums of this process's share; ``combine`` them where there are several.
    """
    if multilabel:
        counted: SingleLabel | MultiLabel = MultiLabel(len(classes), device)
    else:
        counted = SingleLabel(len(classes), device, sigmoid=criterion.independent)
    for batch in batches:
        if should_stop():
            break
        images, labels = batch["image"].to(device), batch["label"].to(device)
        weights = batch["weight"].to(device) if "weight" in batch else torch.ones(len(images), device=device)
        targets = one_hot(labels, len(classes))
        with amp():
            logits = model(prepare(images))
        losses = criterion(logits, targets)
        probabilities = counted.update(logits, targets, weights, losses)
        if gallery is not None:
            gallery.add(images, targets, probabilities, weights)
    return counted
