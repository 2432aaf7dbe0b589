"""Which frames of a clip are looked at: a stretch of it with a stride, from a random start or in the middle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.errors import refuse
from vit.config import VitConfig
from vit.data.kinds import ClipOrder, ShortClip
from vit.data.transforms import EvalTransform, Size
from vit.validate import sampling_problems


@dataclass(frozen=True)
class Sampling:
    """How frames are chosen; of a clip of ``count`` frames the numbers 0 .. count - 1.

    Attributes:
        frames: T, so many are looked at.
        stride: from one to the next; None: T parts of equal length, a frame of each (Wang et al., 2016, TSN).
        views: stretches of a clip in evaluation, spread evenly; their answers are averaged.
        short: what follows where a clip has ended.
        order: in which they come.
    """

    frames: int
    stride: int | None = 1
    views: int = 1
    short: ShortClip = ShortClip.repeat
    order: ClipOrder = ClipOrder.ordered

    @staticmethod
    def of(config: VitConfig) -> Sampling:
        """As a run is configured, or asked for with overrides.

        Raises:
            ConfigError: numbers below 1.
        """
        data = config.data
        refuse(sampling_problems(data))
        return Sampling(config.model.frames, data.clip_stride, data.clip_views, data.clip_short, data.clip_order)

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Frames for training, int64 (T,): from a random start; with ``stride=None`` at random within each part."""
        if self.stride is None:
            edges = np.linspace(0, count, self.frames + 1)
            numbers = np.floor(edges[:-1] + rng.random(self.frames) * np.diff(edges)).astype(np.int64)
        else:
            start = int(rng.integers(max(count - self._span, 0) + 1))
            numbers = start + self.stride * np.arange(self.frames)
        return self._ordered(self._within(numbers, count), rng)

    def judged(self, count: int, index: int) -> np.ndarray:
        """Frames for evaluation, int64 (V, T), the same at every call: one view is the middle of the clip.

        Args:
            index: of the clip; a shuffled order is a function of it.
        """
        if self.stride is None:
            edges = np.linspace(0, count, self.frames + 1)
            shares = (np.arange(self.views) + 0.5) / self.views
            numbers = np.floor(edges[:-1] + shares[:, None] * np.diff(edges)).astype(np.int64)
        else:
            last = max(count - self._span, 0)
            starts = np.array([last // 2]) if self.views == 1 else np.rint(np.linspace(0, last, self.views))
            numbers = starts.astype(np.int64)[:, None] + self.stride * np.arange(self.frames)
        rng = np.random.Generator(np.random.PCG64(index))
        return np.stack([self._ordered(row, rng) for row in self._within(numbers, count)])

    def describe(self) -> str:
        """In a few words, beside a score."""
        taken = "one of each of as many equal parts" if self.stride is None else f"stride {self.stride}"
        views = f", {self.views} views averaged" if self.views > 1 else ""
        order = {ClipOrder.shuffled: ", shuffled", ClipOrder.still: ", all of them the middle one"}.get(self.order, "")
        return f"{self.frames} frames, {taken}{order}{views}"

    @property
    def _span(self) -> int:
        assert self.stride is not None
        return (self.frames - 1) * self.stride + 1

    def _within(self, numbers: np.ndarray, count: int) -> np.ndarray:
        return numbers % count if self.short is ShortClip.loop else np.minimum(numbers, count - 1)

    def _ordered(self, numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.order is ClipOrder.shuffled:
            return rng.permutation(numbers)
        if self.order is ClipOrder.still:
            return np.full_like(numbers, numbers[len(numbers) // 2])
        return numbers


def prepared(config: VitConfig, resolution: Size) -> str:
    """How pictures or clips are prepared for evaluation, in one line; belongs beside every score."""
    how = EvalTransform(config.augment, resolution).describe()
    return how if config.model.frames == 1 else f"{Sampling.of(config).describe()}; {how}"
