"""Distances between the distributions of generated and of real video, in the features of a video network.

The Fréchet distance (VFD; with the I3D of FVD it is FVD, Unterthiner et al. 2018; the paper has two of these) and,
beside it, the maximum mean discrepancy with JEDi's kernel (Luo et al. 2024: V-JEPA features; times 100). Neither sees
which clip belongs to which labels: a video of another street scores like one of the right street.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.distances import JEDI_SCALE, frechet_distance, polynomial_mmd
from vid2vid.evaluate.metrics import Metric
from vid2vid.evaluate.video_features import FVD, VJEPA2, WINDOW, VideoNetwork


class VideoDistance:
    """Fréchet distance and discrepancy over stretches of WINDOW frames, one after the other within each clip.

    Args:
        network: describes a stretch.
    """

    def __init__(self, network: VideoNetwork) -> None:
        self._network = network
        self._generated: list[Tensor] = []
        self._real: list[Tensor] = []
        title = "FVD" if network.kind == FVD else f"VFD {network.name}"
        self._frechet = "fvd" if network.kind == FVD else f"vfd_{network.name}"
        self.rows = {self._frechet: Metric(title, 0.0)}
        if network.kind != FVD:  # of the I3D the field knows one figure
            word = "JEDi" if network.kind == VJEPA2 else "MMD"
            self._mmd = f"{word.lower()}_{network.name}"
            self.rows[self._mmd] = Metric(f"{word} {network.name}", 0.0)

    def clip(self) -> _Watch:
        return _Watch(self)

    @torch.inference_mode()
    def count(self, generated: Tensor, real: Tensor) -> None:
        """One stretch of both, (WINDOW, 3, H, W) uint8."""
        self._generated.append(self._network.features(generated[None]).float().cpu())
        self._real.append(self._network.features(real[None]).float().cpu())

    def compute(self) -> dict[str, float]:
        if len(self._real) < 2:
            return {}
        generated, real = torch.cat(self._generated), torch.cat(self._real)
        found = {self._frechet: frechet_distance(generated, real)}
        if self._network.kind != FVD:
            found[self._mmd] = JEDI_SCALE * polynomial_mmd(generated, real)
        return found

    def facts(self) -> dict[str, str | int | float]:
        return {f"{self._frechet}_windows": len(self._real)}

    def lines(self) -> list[str]:
        title, count = self.rows[self._frechet].title, len(self._real)
        if count < 2:
            return [
                f"{title} is not measured: it needs at least 2 stretches of {WINDOW} frames, these clips have {count}: "
                f"give more clips, or frames={WINDOW} and more"
            ]
        return [
            f"{title}: of {count} stretches of {WINDOW} frames, {self._real[0].shape[1]} features; the fewer "
            "stretches, the larger it is: compare figures of equally many"
        ]


class _Watch:
    """Gathers WINDOW frames at a time; what is left at the end of a clip counts nowhere."""

    def __init__(self, metric: VideoDistance) -> None:
        self._metric = metric
        self._kept: tuple[Tensor, Tensor] | None = None

    def add(self, piece: Piece) -> None:
        generated, real = piece.generated, piece.real
        if self._kept is not None:
            generated, real = torch.cat([self._kept[0], generated]), torch.cat([self._kept[1], real])
        while len(real) >= WINDOW:
            self._metric.count(generated[:WINDOW], real[:WINDOW])
            generated, real = generated[WINDOW:], real[WINDOW:]
        self._kept = generated.clone(), real.clone()

    def close(self) -> None:
        self._kept = None
