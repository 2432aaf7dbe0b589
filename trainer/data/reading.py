"""Samples read one by one, here or in a worker: each with a random stream, a limit of time, its name in errors."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset, get_worker_info

from trainer.data.sampler import Key
from trainer.data.workers import WHEN_SLOW, slow
from trainer.errors import DataError, UserError
from trainer.seeding import sample_rng
from trainer.task import SampleDataset

_LONGEST_S = 1e8  # that a timer takes
LIMIT_S = 600.0  # that reading one sample may take, where nothing else is said


@dataclass(frozen=True)
class Failure:
    """A user's error on its way from a worker: the DataLoader would make a traceback of it."""

    kind: type[UserError]
    message: str

    @staticmethod
    def of(error: UserError) -> Failure:
        return Failure(type(error), str(error))

    def error(self) -> UserError:
        error = self.kind.__new__(self.kind)  # past __init__: the message is already complete
        Exception.__init__(error, self.message)
        return error


class Slots:
    """What every worker reads and since when, in memory that it shares with this process."""

    def __init__(self, workers: int) -> None:
        self._index = multiprocessing.RawArray("q", [-1] * workers)
        self._since = multiprocessing.RawArray("d", [time.monotonic()] * workers)  # one clock for all processes

    def begin(self, worker: int, index: int) -> None:
        self._since[worker], self._index[worker] = time.monotonic(), index

    def end(self, worker: int) -> None:
        self._since[worker], self._index[worker] = time.monotonic(), -1

    def of(self, worker: int) -> tuple[int | None, float]:
        """The index that a worker reads, None between two samples, and for how many seconds it has done so."""
        index = self._index[worker]
        return None if index < 0 else index, time.monotonic() - self._since[worker]


def title(dataset: SampleDataset, index: int | None) -> str:
    """``sample 17 (/data/a.png)``: number and, where the data set can tell (``name(index)``), file of a sample."""
    if index is None:
        return "no sample"
    with suppress(Exception):  # what is broken about it may be its name, too
        return f"sample {index} ({dataset.name(index)})"  # type: ignore[attr-defined]
    return f"sample {index}"


class Reading(Dataset):
    """Maps (showing, index, weight) to a sample with its own random stream, for a DataLoader.

    Args:
        dataset: whose samples.
        seed: the run's.
        limit_s: seconds that one sample may take in this process; of workers their process takes care.
        slots: where workers write what they read.
    """

    def __init__(
        self, dataset: SampleDataset, seed: int, limit_s: float | None = None, slots: Slots | None = None
    ) -> None:
        self.dataset, self.seed, self.limit_s, self.slots = dataset, seed, limit_s, slots

    def __getitems__(self, keys: list[Key]) -> list[dict[str, Any] | Failure]:
        """A batch. What it is read from is fetched together, where the data set knows how (``prefetch(indices)``)."""
        prefetch = getattr(self.dataset, "prefetch", None)
        if prefetch is not None:
            worker = get_worker_info()
            if worker is not None and self.slots is not None:
                self.slots.begin(worker.id, keys[0][1])
            prefetch([index for _, index, _ in keys])
        return [self[key] for key in keys]

    def __getitem__(self, key: Key) -> dict[str, Any] | Failure:
        showing, index, weight = key
        try:
            sample = self._read(index, showing)
        except UserError as error:
            return Failure.of(error)
        except MemoryError as error:
            return Failure.of(
                DataError(
                    f"{title(self.dataset, index)}: main memory ran out while it was read ({error}). Lower "
                    "data.workers, the batch size or the resolution, or look whether the file is far too large"
                )
            )
        except Exception as error:
            error.add_note(f"while {title(self.dataset, index)} was read")
            if isinstance(error, StopIteration):  # would end the iteration as if there were no more data
                raise RuntimeError(f"{title(self.dataset, index)} raised StopIteration") from error
            raise
        return sample if weight is None else {**sample, "weight": np.float32(weight)}

    def _too_slow(self, index: int) -> DataError:
        assert self.limit_s is not None
        return DataError(f"{slow('this process', title(self.dataset, index), self.limit_s)}. {WHEN_SLOW}")

    def _read(self, index: int, showing: int) -> dict[str, Any]:
        rng = sample_rng(self.seed, showing, index)
        worker = get_worker_info()
        if worker is None or self.slots is None:
            with time_limit(self.limit_s, lambda: self._too_slow(index)):
                return self.dataset.sample(index, rng)
        self.slots.begin(worker.id, index)
        try:
            return self.dataset.sample(index, rng)
        finally:
            self.slots.end(worker.id)


class _Interrupt(BaseException):
    """No Exception: decoders take those for a bad file's."""


@contextmanager
def time_limit(limit_s: float | None, error: Callable[[], Exception]) -> Iterator[None]:
    """Raises ``error()`` when what is within takes longer.

    An alarm interrupts waiting for a disk, a pipe or a lock, but no computation inside a library: that ends first.
    Outside the main thread there are no alarms, and no limit.
    """
    alarms = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    if limit_s is None or not alarms:
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise _Interrupt

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(limit_s, _LONGEST_S))
    try:
        yield
    except _Interrupt:
        raise error() from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
