"""A trained classifier as a backbone for others: its network, and what its input must look like."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from vit.model.timm_model import bare
from vit.trained import load_run_model


def read_run(path: str) -> tuple[nn.Module, Sequence[float], Sequence[float]]:
    """The classifier of a run, with the averaged (EMA) weights where it has them.

    Args:
        path: a run directory, or a checkpoint directory.

    Returns:
        The network in eval mode, with ``forward_intermediates``, where timm's network has it; mean and deviation of its
        input per channel, on a scale of 0..1.

    Raises:
        UserError: no such run. CheckpointError: no checkpoint, a damaged one, or of another network.
    """
    model, _, meta = load_run_model(path)
    return bare(model), meta["mean"], meta["std"]
