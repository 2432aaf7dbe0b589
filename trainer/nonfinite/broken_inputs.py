"""Which samples of a batch hold NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def broken_inputs(parts: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, str | None]]:
    """(entry, place in this process's batch, the sample's name where it has one) of input that is NaN or infinite.

    Args:
        parts: the micro-batches, equally large.
    """
    found = []
    for index, part in enumerate(parts):
        named = part.get("name")
        for entry, tensor in _tensors(part):
            if not tensor.ndim or not tensor.is_floating_point():
                continue
            bad = ~torch.isfinite(tensor.reshape(len(tensor), -1)).all(dim=1)
            names = named if isinstance(named, list | tuple) and len(named) == len(tensor) else None
            for place in bad.nonzero().flatten().tolist():
                found.append((entry, index * len(tensor) + place, None if names is None else str(names[place])))
    return found


def _tensors(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in part.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value.detach()
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{key}.")
