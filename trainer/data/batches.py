"""Batches of samples on the CPU, read in this process or by workers, who are looked after."""

from __future__ import annotations

import errno
import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch.utils.data import DataLoader

from trainer.data.collate import collate_or_failure
from trainer.data.meeting_place import check_meeting_place
from trainer.data.reading import Failure, Reading, Slots, time_limit, title
from trainer.data.sampler import Key
from trainer.data.workers import (
    LIMIT_KEY,
    TELL,
    Losses,
    StoppedWaiting,
    WorkerLost,
    could_not_share,
    ended,
    hear_of_deaths_when_waiting,
    init_worker,
    no_room,
    open_more_files,
    slow,
    wait_for_an_end,
    waiting_for_workers,
)
from trainer.errors import DataError
from trainer.task import SampleDataset

_log = logging.getLogger(__name__)

_LOOK_S = 1.0  # between two looks at workers that let wait


class _Rest:
    """A sampler's batches without the first ``done``."""

    def __init__(self, sampler: Any, done: int) -> None:
        self.sampler, self.done = sampler, done

    def __iter__(self) -> Iterator[list[Key]]:
        return self.sampler.after(self.done)


class Loader:
    """Batches of one process as dicts, on the CPU. Errors in the user's data arrive as UserErrors.

    Workers that die or get stuck are started again at the batch that is due, which is the same as it would have been;
    twice at one sample, or too often, is an error (``trainer.data.workers.Losses``).

    ``len`` is the number of batches where that is finite.

    Attributes:
        stop: asked every second while workers let wait; True ends the wait with ``StoppedWaiting``.
    """

    def __init__(
        self,
        dataset: SampleDataset,
        sampler: Any,
        *,
        seed: int,
        workers: int,
        pin: bool,
        limit_s: float | None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        if len(dataset) == 0:
            raise DataError("the data set is empty: check data.root and that clips are long enough for the stage")
        self.dataset, self.seed, self.workers, self.pin, self.limit_s = dataset, seed, workers, pin, limit_s
        self.sampler, self.stop = sampler, stop
        self._running: list[Any] = []

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        given, losses = 0, Losses(self.workers)
        while True:
            lost: WorkerLost | None = None
            try:
                slots = Slots(self.workers) if self.workers else None
                batches = self._start(given, slots)
            except OSError as error:  # of semaphores and queues, which have no file's name
                if self.workers and error.errno == errno.ENOSPC:
                    raise DataError(f"no data workers can be started: {no_room(self.workers)}") from error
                raise
            try:
                while (batch := self._next(batches, slots)) is not None:
                    given += 1
                    yield batch
                return
            except WorkerLost as error:
                lost = error
            finally:
                self._stop(batches, lost)
            assert lost is not None
            losses.judge(lost, given)

    def close(self) -> None:
        """End the workers of all iterations now. Otherwise they end with their iterator, or with the process."""
        while self._running:
            self._stop(self._running[-1])

    def _start(self, done: int, slots: Slots | None) -> Any:
        if self.workers:
            open_more_files()
            check_meeting_place(self.workers)
            gc.collect()  # a worker that finds a decoder in this process's garbage waits for threads that it lacks
        # A generator of its own: making an iterator draws a base seed, which must not move the run's global
        # stream. Workers live as long as the iteration, which is endless in training.
        loader = DataLoader(
            Reading(self.dataset, self.seed, self.limit_s, slots),
            batch_sampler=_Rest(self.sampler, done),
            num_workers=self.workers,
            collate_fn=collate_or_failure,
            pin_memory=self.pin,
            worker_init_fn=init_worker,
            generator=torch.Generator().manual_seed(0),
            timeout=_LOOK_S if self.workers else 0,
        )
        batches = iter(loader)
        if self.workers:
            hear_of_deaths_when_waiting()
        self._running.append(batches)
        return batches

    def _next(self, batches: Iterator[Any], slots: Slots | None) -> dict[str, Any] | None:
        batch = next(batches, None) if slots is None else self._wait(batches, slots)
        if isinstance(batch, Failure):
            raise batch.error()
        return batch

    def _wait(self, batches: Any, slots: Slots) -> Any:
        """The next batch of the workers, who are looked after meanwhile.

        Raises:
            WorkerLost: one died, or takes too long.
            StoppedWaiting: ``stop`` tells that nobody waits for it any more.
        """
        began, told = time.monotonic(), False
        patience = None if self.limit_s is None else self.limit_s + 2 * _LOOK_S
        while batches in self._running:  # else it was closed
            self._raise_dead(batches, slots)
            try:
                # A worker that is stuck as a whole does not even hand over what it has read.
                with waiting_for_workers(), time_limit(patience, lambda: self._lost(batches, slots)):
                    return next(batches, None)
            except (RuntimeError, OSError, EOFError) as error:
                if str(error).startswith("Caught "):  # raised by the data set, in a worker that lives
                    if (lost := could_not_share(error)) is not None:
                        raise lost from error
                    raise
                if "DataLoader timed out" in str(error):
                    if self.stop():
                        raise StoppedWaiting from error
                    told = self._raise_stuck(batches, slots, began, told)
                    continue
                if not isinstance(error, RuntimeError):  # it died while it handed a batch over, a moment ago
                    wait_for_an_end(batches._workers)
                self._raise_dead(batches, slots)
                if "DataLoader worker" not in str(error):  # else one of another iteration, which will find out
                    raise
        return None

    def _raise_dead(self, batches: Any, slots: Slots) -> None:
        for number, worker in enumerate(batches._workers):
            if worker.exitcode is not None:
                index = slots.of(number)[0]
                raise ended(number, worker, index, title(self.dataset, index))

    def _raise_stuck(self, batches: Any, slots: Slots, began: float, told: bool) -> bool:
        """Looks whether a sample takes too long, or nobody reads one at all; tells of one that has begun to.

        Returns:
            Whether it was told, now or before.
        """
        if self.limit_s is None:
            return told
        seen = [slots.of(number) for number in range(self.workers)]
        waited = time.monotonic() - began
        for number, (index, seconds) in enumerate(seen):
            if index is None:
                continue
            what = title(self.dataset, index)
            who = f"data worker {number} (pid {batches._workers[number].pid})"
            if seconds > self.limit_s:
                _ask_where(batches._workers[number].pid)
                raise WorkerLost(slow(who, what, self.limit_s), index, dead=False)
            if seconds > self.limit_s / 10 and not told:
                _log.warning("%s has read %s for %.0f s (%s=%g)", who, what, seconds, LIMIT_KEY, self.limit_s)
                told = True
        if waited > self.limit_s and all(index is None and seconds > self.limit_s for index, seconds in seen):
            raise self._idle()
        return told

    def _lost(self, batches: Any, slots: Slots) -> WorkerLost:
        """Who is to blame that nothing was handed over."""
        try:
            self._raise_stuck(batches, slots, time.monotonic(), told=True)
        except WorkerLost as error:
            return error
        return self._idle()

    def _idle(self) -> WorkerLost:
        return WorkerLost(f"no data worker has handed over anything for {self.limit_s:g} s ({LIMIT_KEY})", None, False)

    def _stop(self, batches: Any, lost: WorkerLost | None = None) -> None:
        """Left to the garbage collector, an iterator in a cycle (a traceback makes one) takes 5 s per worker.

        Of workers that were lost none is waited for: they may wait for the one that is gone.
        """
        if batches in self._running:
            self._running.remove(batches)
            if self.workers:
                for worker in batches._workers if lost is not None else ():
                    worker.kill()
                batches._shutdown_workers()


def _ask_where(pid: int) -> None:
    """Lets a worker print where it is."""
    if TELL:
        with suppress(OSError):
            os.kill(pid, TELL)
            time.sleep(0.2)
