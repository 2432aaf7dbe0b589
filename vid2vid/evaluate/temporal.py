"""Whether things move, and change, as they do in the real video: tOF and tLP (Chu et al. 2020, TecoGAN, section 5).

Neither compares a generated frame with the real one. tOF does not see colours that are wrong all the time, nor what a
flow estimator cannot track; a still video gets the mean length of the real flow. tLP does not see which change it is,
only how large it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from vid2vid.config import FlowMethod
from vid2vid.evaluate.clip_metrics import Neighbours, Piece
from vid2vid.evaluate.metrics import METRICS
from vid2vid.flow.estimate import estimate_flow

TLP_SCALE = 100.0  # as the paper prints it


class TemporalDifference:
    """Mean over pairs of consecutive frames of how far generated and real video differ in something.

    Args:
        name: of the figure, a row of `METRICS`.
        of_pairs: (frames before, frames) of the generated video, and the same of the real one, (n, 3, H, W) uint8
            each -> (n,) float64.
        facts: what it is measured with.
    """

    def __init__(
        self,
        name: str,
        of_pairs: Callable[[tuple[Tensor, Tensor], tuple[Tensor, Tensor]], Tensor],
        facts: dict[str, str | int | float] | None = None,
    ) -> None:
        self.rows = {name: METRICS[name]}
        self._name, self._of_pairs, self._facts = name, of_pairs, facts or {}
        self._sums: list[Tensor] = []
        self._pairs = 0

    def clip(self) -> _Watch:
        return _Watch(self)

    def count(self, generated: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]) -> None:
        """Some pairs more."""
        if len(real[0]):
            self._sums.append(self._of_pairs(generated, real).double().sum())
            self._pairs += len(real[0])

    def compute(self) -> dict[str, float]:
        return {self._name: torch.stack(self._sums).sum().item() / self._pairs} if self._pairs else {}

    def facts(self) -> dict[str, str | int | float]:
        return dict(self._facts)

    def lines(self) -> list[str]:
        if self._pairs:
            return []
        return [f"{self.rows[self._name].title} is not measured: it needs clips of at least 2 frames: give frames=2"]


class _Watch:
    def __init__(self, metric: TemporalDifference) -> None:
        self._metric, self._generated, self._real = metric, Neighbours(), Neighbours()

    def add(self, piece: Piece) -> None:
        self._metric.count(self._generated.next(piece.generated), self._real.next(piece.real))

    def close(self) -> None:
        pass


def flow_difference(method: FlowMethod, weights: str | None, device: torch.device) -> TemporalDifference:
    """tOF [pixels]: mean end-point error between the flow of generated and that of real frames.

    Args:
        method: dis, farneback or raft.
        weights, device: RAFT's (`vid2vid.flow.estimate`).

    The metric raises DataError for frames too small for the estimator, and where RAFT's weights (data.flow_weights) are
    missing.
    """

    def flow(pair: tuple[Tensor, Tensor]) -> Tensor:
        pairs = [(a.cpu(), b.cpu()) for a, b in zip(*pair, strict=True)]
        try:
            return torch.stack([estimate_flow(b, a, method, weights, device) for a, b in pairs])
        except (ConfigError, DataError) as error:  # they call it by the key of training
            raise DataError(str(error).replace("data.flow=", "tof=")) from error

    def of_pairs(generated: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]) -> Tensor:
        return (flow(generated) - flow(real)).double().square().sum(1).sqrt().mean((1, 2))

    return TemporalDifference("tof", of_pairs, {"tof_flow": method.name})


def perceptual_difference(distance: Callable[[Tensor, Tensor], Tensor]) -> TemporalDifference:
    """tLP: mean of |LPIPS(g_t-1, g_t) - LPIPS(r_t-1, r_t)|, times 100.

    Args:
        distance: LPIPS of frames, (n, 3, H, W) uint8 twice -> (n,).
    """

    def of_pairs(generated: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]) -> Tensor:
        return TLP_SCALE * (distance(*generated) - distance(*real)).abs()

    return TemporalDifference("tlp", of_pairs)
