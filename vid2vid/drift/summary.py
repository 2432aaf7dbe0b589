"""What curves over time come to: how far the last frames are from those around an early one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.errors import DataError
from trainer.text import few
from vid2vid.drift.measure import FIGURES, Curve

COLOURS = FIGURES[1:4]


@dataclass(frozen=True)
class Summary:
    """The figures of a drift curve.

    Attributes:
        values: ``sharpness_at_N`` (gradient of the generated frames relative to the real ones'), ``red_at_N`` (mean
            colour likewise) and ``warp_error_at_N`` around the two frames, and the changes from the first to the
            second: ``sharpness_change`` and ``red_change`` as shares (0.05: 5 % more), ``colour_change`` the colour's
            that changed most. ``sharpness_change_plain`` and ``colour_change_plain`` are those of the generated frames
            alone, whatever became of the scene. Where there are no real frames all figures are.
        relative: whether real frames were there to compare with, around both frames.
    """

    values: dict[str, float]
    relative: bool


def whole(curves: Sequence[Curve], frames: int) -> Tensor:
    """The values of the clips that have all frames, (clips, frames, 10).

    Raises:
        DataError: there is none; says how many frames there are.
    """
    kept = [curve.values for curve in curves if curve.ended is None]
    if not kept:
        why = few([f"{curve.name} ({curve.ended})" for curve in curves], 3)
        longest = max((len(curve.values) for curve in curves), default=0)
        remedy = f"use frames={longest}, or a longer source" if longest > 1 else "give a longer source"
        raise DataError(f"frames={frames}: no clip is so long: {why}; {remedy}")
    return torch.stack(kept)


def beside_real(values: Tensor) -> Tensor:
    """The same (..., 10) without generated frames that have no real one to compare with: NaN in all columns."""
    return values.where(~torch.isnan(values[..., len(FIGURES) :][..., :1]), torch.nan)


def summarise(values: Tensor, reference: int, window: int) -> Summary:
    """The figures around frame ``reference`` beside those of the last frames.

    A window's ratio to the real video is the ratio of means over its frames and all clips: single frames differ with
    what is to be seen in them.

    Args:
        values: (clips, T, 10), see `Curve`.
        reference: counted from 1.
        window: frames that are averaged: around ``reference``, and the last ones.
    """
    count = values.shape[1]
    start = min(max(0, reference - 1 - window // 2), count - window)
    parts = {reference: values[:, start : start + window], count: values[:, count - window :]}
    compared = {frame: beside_real(part) for frame, part in parts.items()}
    relative = all(bool(torch.isfinite(part[..., 0]).any()) for part in compared.values())
    found: dict[str, float] = {}
    for name in ("sharpness", *COLOURS):
        column = FIGURES.index("gradient" if name == "sharpness" else name)
        own = [part[..., column].nanmean() for part in parts.values()]
        ratios = [
            float(part[..., column].nanmean() / part[..., column + len(FIGURES)].nanmean())
            for part in compared.values()
        ] if relative else [float(value) for value in own]  # fmt: skip
        found |= {f"{name}_at_{frame}": ratio for frame, ratio in zip(parts, ratios, strict=True)}
        found[f"{name}_change"] = ratios[1] / ratios[0] - 1
        found[f"{name}_change_plain"] = float(own[1] / own[0]) - 1
    for kind in ("change", "change_plain"):
        found[f"colour_{kind}"] = max((found[f"{name}_{kind}"] for name in COLOURS), key=abs)
    for name in ("warp_error", "warp_error_real"):
        column = FIGURES.index("warp_error") + len(FIGURES) * name.endswith("_real")
        for frame, part in parts.items():
            value = float(part[..., column].nanmean())
            if value == value:  # NaN: without real frames there is no flow
                found[f"{name}_at_{frame}"] = value
    return Summary(found, relative)
