"""The drift curve as a table and as a picture."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.files import replace_file, write_text
from vid2vid.drift.measure import FIGURES, REAL
from vid2vid.drift.summary import beside_real


def write_table(path: Path, values: Tensor) -> None:
    """A row per frame, counted from 1: means over clips of all figures; empty what could not be measured.

    Args:
        values: (clips, T, 10), see `vid2vid.drift.measure.Curve`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["frame", *FIGURES, *REAL])
    for number, row in enumerate(values.nanmean(0).tolist(), 1):
        writer.writerow([number, *("" if math.isnan(value) else f"{value:.6g}" for value in row)])
    write_text(path, text.getvalue())


def draw(path: Path, values: Tensor, window: int, title: str) -> None:
    """Three diagrams over time: sharpness, mean colour, warping error; each a running mean over ``window`` frames.

    Sharpness is relative to the real video where there is one, with a thin line for each clip; colours and warping
    error of the real video are dotted.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    sharpness, colour, warping = figure.subplots(1, 3)
    smooth = running_mean(values, window)
    mean = running_mean(values.nanmean(0, keepdim=True), window)[0]
    frames = torch.arange(mean.shape[0]) + window // 2 + 1
    compared = beside_real(values)
    relative = not bool(torch.isnan(compared[..., 0]).all())
    paired = running_mean((compared if relative else values).nanmean(0, keepdim=True), window)[0]

    def ratio(part: Tensor) -> Tensor:
        return part[..., 0] / part[..., len(FIGURES)] if relative else part[..., 0]

    for clip in smooth if len(smooth) > 1 else ():
        sharpness.plot(frames, ratio(clip), color="0.75", linewidth=0.7)
    sharpness.plot(frames, ratio(paired), color="black", linewidth=1.4)
    sharpness.set_title("sharpness, relative to the real video" if relative else "mean length of the image gradient")
    for column, name in enumerate(FIGURES[1:4], 1):
        colour.plot(frames, mean[:, column], color=f"tab:{name}", linewidth=1.4)
        colour.plot(frames, mean[:, column + len(FIGURES)], color=f"tab:{name}", linewidth=1, linestyle=":")
    colour.set_title("mean colour (0..1); dotted: real")
    warping.plot(frames, mean[:, 4], color="black", linewidth=1.4)
    warping.plot(frames, mean[:, 4 + len(FIGURES)], color="black", linewidth=1, linestyle=":")
    warping.set_title("warping error; dotted: real")
    for axes in (sharpness, colour, warping):
        axes.set_xlabel(f"frame (mean of {window})")
        axes.set_xlim(0, values.shape[1] + 1)
        axes.set_ylim(0, _top(axes))
        axes.grid(True, linewidth=0.4, alpha=0.5)
    figure.suptitle(title, fontsize=10)
    replace_file(path, lambda place: figure.savefig(place, dpi=110, format="png"))


def running_mean(values: Tensor, window: int) -> Tensor:
    """(clips, T, n) to (clips, T - window + 1, n), NaN not counted."""
    return values.unfold(1, window, 1).nanmean(-1)


def _top(axes: Any) -> float:
    drawn = [float(y) for line in axes.get_lines() for y in line.get_ydata() if not math.isnan(float(y))]
    return 1.15 * max(drawn, default=1.0)
