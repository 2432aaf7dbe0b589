"""A trained classifier that visitors of the page ask: its answers, its attention, its answers without some patches.

It answers as ``scripts/predict.py`` does: the same reader, the same preparation, one picture at a time.

Shapes: C channels, H x W pixels, T frames, V views of a clip, K classes, a grid of h x w cells.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import DataError, UserError
from vit.analysis.attention.look import AUTO, Look, Question
from vit.analysis.attention.measures import Fusion
from vit.analysis.attention.taps import Taps
from vit.analysis.chance import run_seed, uniform
from vit.analysis.occlusion.cells import filled, spread
from vit.analysis.occlusion.dropping import Fill
from vit.analysis.occlusion.saliency import framed
from vit.evaluate.loaded import NO_NUMBERS
from vit.predict.order import likeliest
from vit.predict.predictor import Predictor, as_samples

ROLLOUT = "rollout"
CELLS = 14  # a side, of networks without patches
MOST_CELLS = 256  # that an occlusion map hides one by one
_BATCH = 16  # pictures with a cell hidden that are looked at together
_SEED = 0  # of noise in the place of cells


@dataclass(frozen=True)
class Sample:
    """A picture or clip as a network is shown it.

    Attributes:
        name: of its file.
        pixels: uint8 (C, H, W); a clip (T, C, H, W), of several views (V, T, C, H, W).
    """

    name: str
    pixels: Tensor

    @property
    def picture(self) -> Tensor:
        """(C, H, W); of a clip the frame in the middle of its first view."""
        pixels = self.pixels
        while pixels.ndim > 3:
            pixels = pixels[len(pixels) // 2 if pixels.ndim == 4 else 0]
        return pixels

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.shape[-2], self.pixels.shape[-1]


class Classifier:
    """What can be asked. One question at a time is answered, whoever asks: maps are taken by hooks in the network.

    Args:
        predictor: as ``vit.predict.predictor.load_predictor`` gives it.
        label: what messages call the network.

    Attributes:
        serial: another one for each that is loaded.
        no_maps: why there are no attention maps; empty where there are.
    """

    _count = itertools.count(1)

    def __init__(self, predictor: Predictor, label: str) -> None:
        self.predictor, self.label = predictor, label
        self.serial = next(self._count)
        self._one = threading.Lock()
        self._taps, self.no_maps = None, ""
        try:
            self._taps = Taps(predictor.model, label)
        except UserError as error:
            self.no_maps = str(error)

    @property
    def clips(self) -> bool:
        """Whether it sees clips, not pictures."""
        return self.predictor.sampling is not None

    def read(self, file: Path, name: str) -> Sample:
        """A file as the network is to see it.

        Args:
            name: what messages call it.

        Raises:
            DataError: it cannot be used.
        """
        sample = as_samples(self.predictor, [file]).sample(0, np.random.default_rng(0))
        if sample["bad"]:
            raise DataError(f"{name}: {sample['bad'].replace(str(file), name)}")
        return Sample(name, sample["image"])

    def probabilities(self, sample: Sample, hidden: Tensor | None = None, fill: Fill = Fill.mean) -> np.ndarray:
        """Probabilities (K,) float32 of the classes.

        Args:
            hidden: (h, w) bool: which cells of a grid over the picture are replaced, in every frame of a clip.
            fill: by what.

        Raises:
            UserError: they are no numbers.
        """
        pixels = sample.pixels if hidden is None else self.without(sample, hidden, fill)
        return self._answers(pixels[None])[0]

    def without(self, sample: Sample, hidden: Tensor, fill: Fill) -> Tensor:
        """The pixels of a sample whose hidden cells (h, w) bool are replaced, as patchdrop does it: uint8.

        ``Fill.mean`` is the mean of the network's normalisation, so that its input is 0 there; ``Fill.noise`` differs
        from pixel to pixel, and is the same at every call.
        """
        mask = spread(hidden[None], sample.size)
        frames = sample.pixels.unflatten(0, (1, -1)) if sample.pixels.ndim == 3 else sample.pixels
        return filled(frames.flatten(0, -4), mask, self._fill(sample, fill)).view_as(sample.pixels)

    def _fill(self, sample: Sample, fill: Fill) -> Tensor | None:
        if fill is Fill.zero:
            return None
        if fill is Fill.mean:
            return (255 * torch.tensor(self.predictor.mean)).round().view(-1, 1, 1)
        picture = sample.picture
        drawn = uniform(~run_seed(_SEED, 0), torch.zeros(1, dtype=torch.int64), picture.numel())
        return (256 * drawn).byte().view_as(picture)

    def best(self, values: np.ndarray, count: int) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities, in the order of ``scripts/predict.py``."""
        return [(self.predictor.classes[k], float(values[k])) for k in likeliest(values, count)]

    def grid(self, size: tuple[int, int], side: int = 1) -> tuple[int, int]:
        """Rows and columns of cells of ``side`` x ``side`` patches; 14 x 14 where the network has no patches.

        Args:
            size: (height, width) of the picture in pixels.
        """
        rows, columns = self._taps.tokens(size).grid if self._taps is not None else (CELLS, CELLS)
        return -(-rows // side), -(-columns // side)

    def maps(self, sample: Sample) -> dict[str, Tensor]:
        """Where the network looks: maps over the picture, not negative, by name.

        ``rollout`` (Abnar and Zuidema, 2020), ``block 3 mean`` and ``block 3 head 0`` for all blocks from 1 and heads
        from 0: what the class token attends to, without one all patches on average. Of a network that pools by
        attention, ``pooling mean`` and ``pooling head 0`` in their place.

        Returns:
            Maps (rows, columns) of the patches; with ``model.fit`` of pad or crop (H, W), patches in their places.

        Raises:
            UserError: the network has no attention between patches.
        """
        if self._taps is None:
            raise UserError(self.no_maps)
        question = Question(range(1, self._taps.depth + 1), None, Fusion.mean, AUTO, True, 0.0)
        look = Look(self._taps, sample.size, question)
        with self._one:
            found = look.maps(lambda: self.predictor.probabilities(sample.pixels[None]))
        return {name: framed(values, self.predictor.model, sample.size)[0].cpu() for name, values in found.items()}

    def occlusion_map(
        self, sample: Sample, side: int, fill: Fill, seen: int, tell: Callable[[float], object] = lambda share: None
    ) -> Tensor:
        """By how much the probability of a class falls when one cell alone is hidden (Zeiler and Fergus, 2014).

        Cells grow where there would be more than ``MOST_CELLS``.

        Args:
            side: of a cell in patches.
            seen: the class.
            tell: gets the share that is done, 0..1.

        Returns:
            (h, w) float32; below 0 where the class grows likelier.
        """
        while (grid := self.grid(sample.size, side))[0] * grid[1] > MOST_CELLS:
            side += 1
        count = grid[0] * grid[1]
        whole = float(self.probabilities(sample)[seen])
        each = torch.eye(count, dtype=torch.bool).view(count, *grid)
        found = []
        for begin in range(0, count, _BATCH):
            tell(begin / count)
            pixels = torch.stack([self.without(sample, cell, fill) for cell in each[begin : begin + _BATCH]])
            found.append(whole - self._answers(pixels)[:, seen])
        return torch.from_numpy(np.concatenate(found)).view(grid)

    def _answers(self, pixels: Tensor) -> np.ndarray:
        with self._one:
            values = self.predictor.probabilities(pixels).cpu().numpy()
        if not np.isfinite(values).all():
            raise UserError(f"{self.label}: {NO_NUMBERS}")
        return values


def cells(numbers: Collection[int], grid: tuple[int, int]) -> Tensor:
    """Cells by number, row by row from 0: (h, w) bool.

    Raises:
        DataError: there is no such cell.
    """
    count = grid[0] * grid[1]
    if any(not 0 <= number < count for number in numbers):
        raise DataError(f"cells {sorted(numbers)[:8]}: a grid of {grid[0]}x{grid[1]} has cells 0 to {count - 1}")
    found = torch.zeros(count, dtype=torch.bool)
    found[list(numbers)] = True
    return found.view(grid)
