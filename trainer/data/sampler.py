"""Data in an order that is a function of one integer, the position ``samples_seen``.

Position p belongs to epoch p // n; within it the order is a permutation drawn from (seed, epoch). A global
batch at position p holds the samples at p .. p + batch_size * world - 1, and process r takes its contiguous
share. So the order is the same for any number of processes and workers, and starting anywhere needs no state
and skips nothing.

With repeated augmentation (Hoffer et al., 2020) an epoch has every sample ``repeats`` times, the copies in a row, so
that a batch sees several views of a picture. A copy's randomness comes from (seed, showing, index), where showing =
epoch * repeats + copy counts how often the sample was shown before; without repeats it is the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.errors import ConfigError
from trainer.seeding import epoch_permutation

Key = tuple[int, int, float | None]  # showing (the epoch unless samples repeat), index, weight (evaluation only)


class GlobalOrder:
    """The endless sequence of (showing, index): ``order[p]`` for any position p >= 0.

    Args:
        n: samples of the data set.
        seed: the run's seed.
        repeats: how often in a row a sample comes.
    """

    def __init__(self, n: int, seed: int, repeats: int = 1) -> None:
        self.n, self.seed, self.repeats = n, seed, repeats
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, position: int) -> tuple[int, int]:
        epoch, place = divmod(position, self.n * self.repeats)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_permutation(self.seed, epoch, self.n)
        place, copy = divmod(place, self.repeats)
        return epoch * self.repeats + copy, int(self._order[place])


class TrainSampler:
    """Batches of keys for one process, without end, from a position on. Iterating again starts there again.

    Args:
        n: samples of the data set.
        seed: the run's seed.
        samples_seen: global position of the first batch.
        batch_size: samples per batch in this process.
        rank, world: number of this process, and how many there are.
        repeats: how often in a row a sample comes, differently augmented.
    """

    def __init__(
        self, n: int, *, seed: int, samples_seen: int, batch_size: int, rank: int, world: int, repeats: int = 1
    ) -> None:
        self.n, self.seed, self.start, self.repeats = n, seed, samples_seen, repeats
        self.batch_size, self.rank, self.world = batch_size, rank, world

    def index_at(self, samples_seen: int, place: int) -> int:
        """The sample at a place of this process's batch at a global position."""
        order = GlobalOrder(self.n, self.seed, self.repeats)
        return order[samples_seen + self.rank * self.batch_size + place][1]

    def __iter__(self) -> Iterator[list[Key]]:
        return self.after(0)

    def after(self, done: int) -> Iterator[list[Key]]:
        """The batches without the first ``done``."""
        order = GlobalOrder(self.n, self.seed, self.repeats)
        first = self.start + (done * self.world + self.rank) * self.batch_size
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
        return self.after(0)

    def after(self, done: int) -> Iterator[list[Key]]:
        """The batches without the first ``done``."""
        for batch in range(done, len(self)):
            first = (batch * self.world + self.rank) * self.batch_size
            positions = range(first, first + self.batch_size)
            yield [
                (0, self.indices[p], 1.0) if p < len(self.indices) else (0, self.indices[-1], 0.0) for p in positions
            ]
