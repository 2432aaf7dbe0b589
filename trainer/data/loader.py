"""Loaders: samples with their own random streams, batches of them, moved to the device ahead of use.

The order comes from trainer/data/sampler.py; a sample's randomness from (seed, showing, index), the showing being the
epoch unless samples repeat. So batches depend neither on the number of workers nor, as a whole, on that of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.data.batches import Loader
from trainer.data.collate import LateBatch
from trainer.data.reading import LIMIT_S
from trainer.data.sampler import EvalSampler, TrainSampler
from trainer.task import SampleDataset


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
    limit_s: float | None = LIMIT_S,
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
        limit_s: seconds that one sample may take; None: any number.

    Raises:
        DataError: the data set is empty; while iterating, whatever UserError a sample raises.
    """
    n = max(1, len(dataset))
    sampler = TrainSampler(
        n, seed=seed, samples_seen=samples_seen, batch_size=batch_size, rank=rank, world=world, repeats=repeats
    )
    pin = torch.device(device).type == "cuda"
    return Loader(dataset, sampler, seed=seed, workers=workers, pin=pin, limit_s=limit_s)


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
    limit_s: float | None = LIMIT_S,
    stop: Callable[[], bool] = lambda: False,
) -> Loader:
    """Evaluation batches in a fixed order; ``weight`` (B,) float32 is 1 for a sample and 0 for padding.

    Every process gets the same number of equally large batches, and the weights of all processes sum to the
    number of samples evaluated. Arguments as for ``make_loader``; see ``EvalSampler`` for ``limit``, ``Loader`` for
    ``stop``.
    """
    n = max(1, len(dataset))
    sampler = EvalSampler(n, batch_size=batch_size, rank=rank, world=world, limit=limit)
    pin = torch.device(device).type == "cuda"
    return Loader(dataset, sampler, seed=seed, workers=workers, pin=pin, limit_s=limit_s, stop=stop)


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

    Args:
        loader: of batches on the host.
        device: where they go.
        ahead: whether the next batch is asked for before one is given; on CUDA it always is.

    Attributes:
        wait_s: host seconds spent waiting for the loader, over all iterations so far.
        failure: of the batch after the one that was given last, which will be raised when that is asked for.
        holds: whether there is a batch to train on while the next one is waited for.
    """

    def __init__(self, loader: Any, device: torch.device | str, ahead: bool = False) -> None:
        self.loader, self.device = loader, torch.device(device)
        self.ahead = ahead or self.device.type == "cuda"
        self.wait_s = 0.0
        self.failure: Exception | None = None
        self.holds = False
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = iter(self.loader)
        if not self.ahead:
            while (batch := self._next(batches)) is not None:
                yield to_device(batch, self.device)
            return
        ahead = self._copy(self._next(batches))
        self.holds = True
        while ahead is not None:
            if self._stream is not None:
                torch.cuda.current_stream(self.device).wait_stream(self._stream)
                _record_stream(ahead, torch.cuda.current_stream(self.device))
            current, ahead = ahead, None
            try:
                ahead = self._copy(self._next(batches))
            except Exception as error:
                self.failure = error
            yield current
            if self.failure is not None:
                raise self.failure

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
        if batch is None or self._stream is None:
            return None if batch is None else to_device(batch, self.device)
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
