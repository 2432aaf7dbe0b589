"""Data in an order that is a function of one integer, the position ``samples_seen``.

Position p belongs to epoch p // n; within it the order is a permutation drawn from (seed, epoch). A global
batch at position p holds the samples at p .. p + batch_size * world - 1, and process r takes its contiguous
share. So the order is the same for any number of processes and workers, and starting anywhere needs no state
and skips nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.errors import ConfigError
from trainer.seeding import epoch_permutation

Key = tuple[int, int, float | None]  # epoch, index, weight (evaluation only)


class GlobalOrder:
    """The endless sequence of (epoch, index): ``order[p]`` for any position p >= 0.

    Args:
        n: samples of the data set.
        seed: the run's seed.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, position: int) -> tuple[int, int]:
        epoch, place = divmod(position, self.n)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_permutation(self.seed, epoch, self.n)
        return epoch, int(self._order[place])


class TrainSampler:
    """Batches of keys for one process, without end, from a position on. Iterating again starts there again.

    Args:
        n: samples of the data set.
        seed: the run's seed.
        samples_seen: global position of the first batch.
        batch_size: samples per batch in this process.
        rank, world: number of this process, and how many there are.
    """

    def __init__(self, n: int, *, seed: int, samples_seen: int, batch_size: int, rank: int, world: int) -> None:
        self.n, self.seed, self.start = n, seed, samples_seen
        self.batch_size, self.rank, self.world = batch_size, rank, world

    def __iter__(self) -> Iterator[list[Key]]:
        order = GlobalOrder(self.n, self.seed)
        first = self.start + self.rank * self.batch_size
        while True:
            yield [(*order[position], None) for position in range(first, first + self.batch_size)]
            first += self.batch_size * self.world


class EvalSampler:
    """Every sample once, in a fixed order, in the same number of equally large batches on every process.

    The last batches are filled up with samples of weight 0, which metrics leave out: ranks with unequal
    numbers of batches would wait for each other for ever, and counting a repeated sample twice would falsify
    the mean.

    Args:
        n: samples of the data set.
        batch_size: samples per batch and process; less when there are not so many samples.
        rank, world: number of this process, and how many there are.
        limit: evaluate only so many samples, spread evenly over the data set; None takes all.
    """

    def __init__(self, n: int, *, batch_size: int, rank: int, world: int, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"trainer.eval_samples={limit}: give at least 1, or null for the whole split")
        count = n if limit is None else min(n, limit)
        self.indices = [i * n // count for i in range(count)]
        self.batch_size = min(batch_size, -(-count // world))
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return -(-len(self.indices) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in range(len(self)):
            first = (batch * self.world + self.rank) * self.batch_size
            positions = range(first, first + self.batch_size)
            yield [
                (0, self.indices[p], 1.0) if p < len(self.indices) else (0, self.indices[-1], 0.0) for p in positions
            ]
