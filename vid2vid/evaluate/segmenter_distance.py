"""Whether generated frames look as real ones do to a segmenter: Fréchet distances of its features, place by place.

Every place of a feature map is a row, so that some hundred frames give covariances of full rank. Which frame belongs to
which is not seen, nor any motion. A segmenter trained on these data knows their textures, where an ImageNet network's
features say little about a small rendering; figures of two segmenters cannot be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid.encoding import images_to_float
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.distances import Moments, frechet_of_moments
from vid2vid.evaluate.metrics import Metric
from vid2vid.segmenter.file import CHUNK
from vid2vid.segmenter.network import UNet

SCALES = (4, 8)  # the frames' size over that of the features


class SegmenterDistance:
    """``fd_4`` and ``fd_8``: Fréchet distance between the features of all generated and of all real frames.

    With ``_real``: the distance between the real frames of every other clip and those of the rest: how far scenes
    differ. Generated frames are of the same scenes as the real ones, and may come nearer than that.

    Args:
        network: in evaluation mode, on the frames' device.
    """

    def __init__(self, network: UNet) -> None:
        self._levels = [level for scale in SCALES if (level := scale.bit_length() - 1) < len(network.down)]
        scales = [2**level for level in self._levels]
        self.rows = {f"fd_{scale}": Metric(f"FD, segmenter at 1/{scale}", f"fd_{scale}_real") for scale in scales}
        self._network, self._clips = network, 0
        self._generated: list[Moments] = []
        self._real: list[list[Moments]] = [[], []]  # of clips with even and with odd numbers

    def clip(self) -> _Watch:
        self._clips += 1
        return _Watch(self, self._clips % 2)

    @torch.inference_mode()
    def count(self, piece: Piece, side: int) -> None:
        """Some frames more.

        Args:
            side: 0 or 1, to which half the clip belongs.
        """
        self._add(self._generated, piece.generated)
        self._add(self._real[side], piece.real)

    def _add(self, moments: list[Moments], frames: Tensor) -> None:
        for part in frames.split(CHUNK):
            features = self._network.features(images_to_float(part))
            levels = [features[level] for level in self._levels]
            if not moments:
                moments += [Moments(level.shape[1]) for level in levels]
            for kept, level in zip(moments, levels, strict=True):
                kept.add(level.movedim(1, -1).flatten(0, -2))

    def compute(self) -> dict[str, float]:
        found = {}
        even, odd = self._real
        for place, name in enumerate(self.rows):
            halves = [half[place] for half in (even, odd) if half]
            if halves:
                found[name] = frechet_of_moments(self._generated[place], sum(halves[1:], halves[0]))
            if len(halves) == 2:
                found[f"{name}_real"] = frechet_of_moments(*halves)
        return found

    def facts(self) -> dict[str, str | int | float]:
        return {}

    def lines(self) -> list[str]:
        return []


class _Watch:
    def __init__(self, metric: SegmenterDistance, side: int) -> None:
        self._metric, self._side = metric, side

    def add(self, piece: Piece) -> None:
        self._metric.count(piece, self._side)

    def close(self) -> None:
        pass
