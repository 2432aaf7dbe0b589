"""Loaders: samples with their own random streams, batches of them, moved to the device ahead of use.

The order comes from trainer/data/sampler.py; a sample's randomness from (seed, showing, index), the showing being the
epoch unless samples repeat. So batches depend neither on the number of workers nor, as a whole, on that of processes.
"""

from __future__ import annotations

import gc
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from trainer.data.sampler import EvalSampler, Key, TrainSampler
from trainer.data.workers import init_worker, worker_failure
from trainer.errors import DataError, UserError
from trainer.seeding import sample_rng
from trainer.task import SampleDataset
from trainer.text import by

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Failure:
    """A user's error on its way from a worker: the DataLoader would make a traceback of it."""

    kind: type[UserError]
    message: str

    @staticmethod
    def of(error: UserError) -> _Failure:
        return _Failure(type(error), str(error))

    def error(self) -> UserError:
        error = self.kind.__new__(self.kind)  # past __init__: the message is already complete
        Exception.__init__(error, self.message)
        return error


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


class _Seeded(Dataset):
    """Map (showing, index, weight) to a sample with its own random stream."""

    def __init__(self, dataset: SampleDataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: Key) -> dict[str, Any] | _Failure:
        showing, index, weight = key
        try:
            sample = self.dataset.sample(index, sample_rng(self.seed, showing, index))
        except UserError as error:
            return _Failure.of(error)
        return sample if weight is None else {**sample, "weight": np.float32(weight)}


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


def _collate_or_failure(samples: list[Any]) -> dict[str, Any] | _Failure:
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    try:
        return collate(samples)
    except UserError as error:
        return _Failure.of(error)


class Loader:
    """Batches of one process as dicts, on the CPU. Errors in the user's data arrive as UserErrors.

    ``len`` is the number of batches where that is finite.
    """

    def __init__(self, dataset: SampleDataset, sampler: Any, *, seed: int, workers: int, pin: bool) -> None:
        if len(dataset) == 0:
            raise DataError("the data set is empty: check data.root and that clips are long enough for the stage")
        self.workers = workers
        self.sampler = sampler
        self._running: list[Any] = []
        # A generator of its own: making an iterator draws a base seed, which must not move the run's global
        # stream. Workers live as long as the iteration, which is endless in training.
        self._loader = DataLoader(
            _Seeded(dataset, seed),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=_collate_or_failure,
            pin_memory=pin,
            worker_init_fn=init_worker,
            generator=torch.Generator().manual_seed(0),
        )

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.workers:
            gc.collect()  # a worker that finds a decoder in this process's garbage waits for threads that it lacks
        batches = iter(self._loader)
        self._running.append(batches)
        try:
            while (batch := self._next(batches)) is not None:
                yield batch
        finally:
            self._stop(batches)

    def close(self) -> None:
        """End the workers of all iterations now. Otherwise they end with their iterator, or with the process."""
        while self._running:
            self._stop(self._running[-1])

    def _next(self, batches: Iterator[Any]) -> dict[str, Any] | None:
        try:
            batch = next(batches, None)
        except (RuntimeError, ConnectionError, EOFError) as error:
            readable = worker_failure(error, self.workers) if self.workers else None
            if readable is None:
                raise
            raise readable from error
        if isinstance(batch, _Failure):
            raise batch.error()
        return batch

    def _stop(self, batches: Any) -> None:
        """Left to the garbage collector, an iterator in a cycle (a traceback makes one) takes 5 s per worker."""
        if batches in self._running:
            self._running.remove(batches)
            if self.workers:
                batches._shutdown_workers()


def make_loader(
    dataset: SampleDataset,
    *,
    seed: int,
    samples_seen: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    repeats: int = 1,
    device: torch.device | str = "cpu",
) -> Loader:
    """Endless training batches in the global order.

    Args:
        dataset: where samples come from.
        seed: the run's seed.
        samples_seen: global position at which to begin.
        batch_size: samples per batch in this process; the global batch is ``batch_size * world``.
        rank, world: number of this process, and how many there are.
        workers: processes that read; 0 reads here. The data do not depend on it.
        repeats: how often in a row a sample comes, differently augmented.
        device: host memory is pinned when this is a CUDA device.

    Raises:
        DataError: the data set is empty; while iterating, whatever UserError a sample raises.
    """
    n = max(1, len(dataset))
    sampler = TrainSampler(
        n, seed=seed, samples_seen=samples_seen, batch_size=batch_size, rank=rank, world=world, repeats=repeats
    )
    pin = torch.device(device).type == "cuda"
    return Loader(dataset, sampler, seed=seed, workers=workers, pin=pin)


def make_eval_loader(
    dataset: SampleDataset,
    *,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    seed: int = 0,
    limit: int | None = None,
    device: torch.device | str = "cpu",
) -> Loader:
    """Evaluation batches in a fixed order; ``weight`` (B,) float32 is 1 for a sample and 0 for padding.

    Every process gets the same number of equally large batches, and the weights of all processes sum to the
    number of samples evaluated. Arguments as for ``make_loader``; see ``EvalSampler`` for ``limit``.
    """
    n = max(1, len(dataset))
    sampler = EvalSampler(n, batch_size=batch_size, rank=rank, world=world, limit=limit)
    pin = torch.device(device).type == "cuda"
    return Loader(dataset, sampler, seed=seed, workers=workers, pin=pin)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move all tensors of a batch (dicts and lists of them), without waiting where memory is pinned."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, LateBatch):
        return batch.arrive(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


class DevicePrefetcher:
    """Batches on the device. On CUDA the next one is copied by a side stream while the current one is in use.

    Attributes:
        wait_s: host seconds spent waiting for the loader, over all iterations so far.
    """

    def __init__(self, loader: Any, device: torch.device | str) -> None:
        self.loader, self.device = loader, torch.device(device)
        self.wait_s = 0.0
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = iter(self.loader)
        if self._stream is None:
            while (batch := self._next(batches)) is not None:
                yield to_device(batch, self.device)
            return
        ahead = self._copy(self._next(batches))
        while ahead is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)
            _record_stream(ahead, torch.cuda.current_stream(self.device))
            current, ahead = ahead, self._copy(self._next(batches))
            yield current

    def close(self) -> None:
        """End the loader's workers now, where it has any."""
        close = getattr(self.loader, "close", None)
        if close is not None:
            close()

    def _next(self, batches: Iterator[Any]) -> Any:
        begin = time.perf_counter()
        batch = next(batches, None)
        self.wait_s += time.perf_counter() - begin
        return batch

    def _copy(self, batch: Any) -> Any:
        if batch is None:
            return None
        with torch.cuda.stream(self._stream):
            return to_device(batch, self.device)


def _record_stream(batch: Any, stream: torch.cuda.Stream) -> None:
    """Tell the allocator that ``stream`` reads memory of the side stream, so it is not reused too early."""
    if isinstance(batch, Tensor):
        batch.record_stream(stream)
    elif isinstance(batch, Mapping):
        for value in batch.values():
            _record_stream(value, stream)
    elif isinstance(batch, list | tuple):
        for value in batch:
            _record_stream(value, stream)
