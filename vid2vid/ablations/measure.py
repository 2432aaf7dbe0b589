"""The figures of one trained run, and its warping error at every sharpness that blur can give it.

Blur lowers the warping error by itself, so that of two models the blurrier one wins. Here every frame is blurred more
and more (Gaussian, after generation), which gives a curve of warping error over sharpness; two models are compared
where their curves have the same sharpness, that of the blurrier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from trainer.files import write_json
from vid2vid.ablations.check import FIGURES
from vid2vid.evaluate.chosen import build_clip_metrics
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.metrics import Metric, sharpness, warping_error
from vid2vid.evaluate.run import evaluate_run
from vid2vid.trained import LoadedRun

SIGMAS = (0.0, 0.35, 0.5, 0.65, 0.8, 1.0, 1.3, 1.7, 2.3, 3.0)  # pixels


def measure(run: LoadedRun, segmenter: Path | None, folder: Path) -> dict[str, Any]:
    """The figures of ``scripts/evaluate.py`` with tOF and a segmenter's, and ``curve``: (sharpness, warping error) by
    blur. They are written into ``folder``.

    Args:
        segmenter: None for data without label maps.

    Raises:
        UserError: the run's data or the segmenter cannot be used.
    """
    given = None if segmenter is None else str(segmenter)
    metrics = build_clip_metrics(tof="run", segmenter=given, config=run.config, device=run.compute.device)
    blur = BlurCurve()
    values = evaluate_run(run, clip_metrics=[*metrics, blur]).values
    found = {"step": run.step, **values, "curve": [list(point) for point in blur.points]}
    write_json(folder / FIGURES, found)
    return found


class BlurCurve:
    """(Sharpness over all frames, warping error) of the clips of an evaluation under growing blur, `SIGMAS`.

    It has no figures of the evaluation's own: ``points`` is read when all clips have passed.
    """

    rows: Mapping[str, Metric] = MappingProxyType({})

    def __init__(self) -> None:
        self._totals = torch.zeros(len(SIGMAS), 2, 2, dtype=torch.float64)

    def clip(self) -> _BlurredClip:
        return _BlurredClip(self._totals)

    def compute(self) -> dict[str, float]:
        return {}

    def facts(self) -> dict[str, str | int | float]:
        return {}

    def lines(self) -> list[str]:
        return []

    @property
    def points(self) -> list[tuple[float, float]]:
        return [(float(s[0] / s[1]), float(w[0] / w[1])) for s, w in self._totals]


class _BlurredClip:
    """Keeps the frames of one clip until it has ended: figures are of whole clips, pairs across pieces among them.

    Args:
        totals: get the clip's sums and weights.
    """

    def __init__(self, totals: Tensor) -> None:
        self._totals = totals
        self._pieces: list[tuple[Tensor, ...]] = []

    def add(self, piece: Piece) -> None:
        assert piece.flow is not None and piece.confidence is not None  # data without flow are refused
        self._pieces.append((piece.generated, piece.real, piece.flow, piece.confidence))

    def close(self) -> None:
        shown, real, flow, confidence = (torch.cat(parts) for parts in zip(*self._pieces, strict=True))
        self._totals += _under_blur(shown.float() / 255, real.float() / 255, flow, confidence).cpu()


def _under_blur(shown: Tensor, real: Tensor, flow: Tensor, confidence: Tensor) -> Tensor:
    """Sums and weights of a clip, (sigmas, 2, 2)."""
    rows = []
    for sigma in SIGMAS:
        blurred = shown if sigma == 0 else gaussian_blur(shown, [2 * round(3 * sigma) + 1] * 2, [sigma, sigma])
        pairs = sharpness(blurred, real), warping_error(blurred, flow, confidence)
        rows.append(torch.stack([torch.stack(pair) for pair in pairs]))
    return torch.stack(rows)


def error_at(curve: Sequence[tuple[float, float]], level: float) -> float:
    """Warping error where blur has brought the sharpness down to ``level``, between points of the curve.

    Args:
        curve: `BlurCurve.points`, from sharp to blurred.
        level: at most the sharpness of its first point; below its last point that point's error is taken.
    """
    for (s0, e0), (s1, e1) in pairwise(curve):
        if s1 <= level <= s0:
            return e0 if s0 == s1 else e1 + (e0 - e1) * (level - s1) / (s0 - s1)
    return curve[0][1] if level > curve[0][0] else curve[-1][1]


def matched_ratio(own: Sequence[tuple[float, float]], full: Sequence[tuple[float, float]]) -> float:
    """Warping error of a run relative to the full model's at the sharpness of the blurrier of both."""
    level = min(own[0][0], full[0][0])
    return error_at(own, level) / error_at(full, level)
