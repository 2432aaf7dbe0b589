"""Samples become a batch: arrays and numbers get a first dimension, whatever else they have forms lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from trainer.data.reading import Failure
from trainer.errors import DataError, UserError
from trainer.text import by


class Late(ABC):
    """An entry of a sample that becomes a tensor on the device only."""

    @staticmethod
    @abstractmethod
    def together(entries: Sequence[Any]) -> LateBatch:
        """The entries of a batch, in a worker."""


class LateBatch(ABC):
    """Such entries of a whole batch."""

    @abstractmethod
    def arrive(self, device: torch.device) -> Tensor:
        """The tensor (B, ...) on the device; on CUDA this is called within the stream that copies batches."""


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch: arrays, tensors and numbers get a first dimension B, others form lists.

    Raises:
        DataError: samples differ in their keys, or a key's values in shape or type.
    """
    first = samples[0]
    for sample in samples[1:]:
        if sample.keys() != first.keys():
            odd = sorted(sample.keys() ^ first.keys())
            raise DataError(
                f"samples of one batch must have the same entries, but {_name(first)} and {_name(sample)} "
                f"differ in {', '.join(odd)}: check that every sequence has the same kinds of files"
            )
    return {key: _stack(key, [sample[key] for sample in samples], samples) for key in first}


def _stack(key: str, values: list[Any], samples: Sequence[Mapping[str, Any]]) -> Any:
    if isinstance(values[0], Mapping):
        return collate(values)
    if isinstance(values[0], Late):
        return values[0].together(values)
    if not isinstance(values[0], Tensor | np.ndarray | np.generic | int | float):
        return values
    try:
        # torch reads neither negative strides nor, without a warning, read-only memory
        tensors = [
            torch.as_tensor(np.require(v, requirements=["C", "W"]) if isinstance(v, np.ndarray) else v) for v in values
        ]
    except (TypeError, RuntimeError) as error:
        raise DataError(f"entry '{key}' of {_name(samples[0])} cannot become a tensor: {error}") from error
    for tensor, sample in zip(tensors[1:], samples[1:], strict=True):
        if tensor.shape != tensors[0].shape or tensor.dtype != tensors[0].dtype:
            raise DataError(
                f"samples of one batch must agree, but '{key}' is {_describe(tensors[0])} in "
                f"{_name(samples[0])} and {_describe(tensor)} in {_name(sample)}: resize or crop to one size, "
                "or use a batch size of 1"
            )
    return default_collate(tensors)  # stacks into shared memory inside a worker: one copy less


def _describe(tensor: Tensor) -> str:
    return f"{by(tensor.shape)} ({str(tensor.dtype).removeprefix('torch.')})"


def _name(sample: Mapping[str, Any]) -> str:
    return f"sample '{sample['name']}'" if isinstance(sample.get("name"), str) else "a sample without a name"


def collate_or_failure(samples: list[Any]) -> dict[str, Any] | Failure:
    """``collate``; a user's error, also one of the samples, as what travels from a worker."""
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
    try:
        return collate(samples)
    except UserError as error:
        return Failure.of(error)
