"""What a log record averages and measures: scalars that stay on the device until it is written, speed."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from trainer.parallel.processes import Parallel


class Window:
    """Scalars of the steps since the last record.

    Sums are kept on the host in double precision and added one value after the other, so that a window which a
    checkpoint divides gives the same means as an undivided one.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Tensor, bool]] = []
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: Tensor, finite: bool = False) -> None:
        """Adds a one-element tensor; the host does not wait for it.

        Args:
            name: of the column.
            value: on any device.
            finite: leave it out where it is NaN or infinite (a gradient norm in a step that fp16 skips).
        """
        self._waiting.append((name, value.detach(), finite))

    def fold(self) -> None:
        """Brings everything to the host, in one transfer."""
        if not self._waiting:
            return
        values = torch.stack([value.reshape(()).to(torch.float64) for _, value, _ in self._waiting]).tolist()
        for (name, _, finite), value in zip(self._waiting, values, strict=True):
            if finite and not math.isfinite(value):
                continue
            total, count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + value, count + 1.0)
        self._waiting.clear()

    def take(self, parallel: Parallel) -> dict[str, float]:
        """Means over steps, micro-batches and processes; the window is empty afterwards."""
        self.fold()
        means = parallel.mean(self._sums)
        self._sums = {}
        return means

    def gather(self, parallel: Parallel) -> None:
        """Moves what all processes have to rank 0, so that one of them can save it."""
        self.fold()
        if parallel.world == 1:
            return
        parts = parallel.gather(self._sums)
        self._sums = {}
        for part in parts if parallel.is_main else []:
            for name, (total, count) in part.items():
                before = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = (before[0] + total, before[1] + count)

    def state_dict(self) -> dict[str, Any]:
        return {name: list(pair) for name, pair in self._sums.items()}

    def load_state_dict(self, state: dict[str, Any], parallel: Parallel) -> None:
        """Counterpart of ``gather`` and ``state_dict``: rank 0 takes the sums, the others start empty."""
        self._waiting.clear()
        self._sums = {name: (pair[0], pair[1]) for name, pair in state.items()} if parallel.is_main else {}


class Speed:
    """Samples and frames per second, over all processes, of training itself: evaluation and saving are not counted."""

    def __init__(self) -> None:
        self.samples = self.frames = 0.0
        self._wait = 0.0
        self._elapsed = 0.0
        self._since: float | None = None

    def resume(self) -> None:
        """Training goes on."""
        if self._since is None:
            self._since = time.perf_counter()

    def pause(self) -> None:
        """Something else than training begins."""
        if self._since is not None:
            self._elapsed += time.perf_counter() - self._since
            self._since = None

    def add(self, samples: float, frames: float) -> None:
        self.samples += samples
        self.frames += frames

    def add_wait(self, seconds: float) -> None:
        """Time in which training waited for data."""
        self._wait += seconds

    def rate(self, waiting: bool = True) -> float | None:
        """Samples per second since the last ``take``; None before the first sample.

        Args:
            waiting: whether time in which training waited for data counts.
        """
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        elapsed = self._elapsed + running - (0.0 if waiting else self._wait)
        return self.samples / max(elapsed, 1e-9) if self.samples else None

    def take(self) -> dict[str, float]:
        """``samples_per_s``, ``frames_per_s``, ``data_wait`` (share of the time, 0..1) since the last call."""
        running = self._since is not None
        self.pause()
        elapsed = max(self._elapsed, 1e-9)
        rates = {
            "samples_per_s": self.samples / elapsed,
            "frames_per_s": self.frames / elapsed,
            "data_wait": min(self._wait / elapsed, 1.0),
        }
        self.samples = self.frames = self._wait = self._elapsed = 0.0
        if running:
            self.resume()
        return rates
