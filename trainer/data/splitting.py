"""Cutting a batch into micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def split_batch(batch: Mapping[str, Any], parts: int) -> list[dict[str, Any]]:
    """Equal micro-batches, in order.

    Args:
        batch: tensors (B, ...), lists of B entries, dicts of such; whatever else goes into every part.
        parts: how many; divides B.
    """
    return [{key: _part(value, index, parts) for key, value in batch.items()} for index in range(parts)]


def _part(value: Any, index: int, parts: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _part(item, index, parts) for key, item in value.items()}
    if (isinstance(value, Tensor) and value.ndim > 0) or isinstance(value, list | tuple):
        size, rest = divmod(len(value), parts)
        if rest:
            raise ValueError(f"{len(value)} samples cannot be split into {parts} equal micro-batches")
        return value[index * size : (index + 1) * size]
    return value
