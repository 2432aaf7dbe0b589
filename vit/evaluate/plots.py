"""Evaluations for people: pictures (confusion matrix, reliability diagram, samples) and the per-class table.

Pictures are uint8 tensors (H, W, 3). matplotlib is loaded when the first one is drawn.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.files import replace_file
from trainer.records.media import as_rgb, label_panel
from trainer.text import short
from vit.evaluate.metrics import Bins, MultiLabel, SingleLabel

READABLE = 40  # classes: up to so many, a confusion matrix has names and numbers
DPI = 100
STRIP = 6  # frames of a clip in a picture of it
_LEFT_OUT = 2  # rank of samples that only fill up a batch; 0: predicted wrongly, 1: rightly


@dataclass
class Shown:
    """A sample for the picture of predictions: ``image`` (C, H, W) uint8, of a clip (T, C, H, W) (the first of views),
    and names of the truth and of the prediction."""

    image: Tensor
    truth: str
    predicted: str
    probability: float
    right: bool


class Gallery:
    """Collects samples to be looked at: those predicted wrongly come first.

    What is collected stays on the pictures' device until somebody looks, so that measuring need not wait for it.

    Args:
        classes: names.
        size: how many at most.
    """

    def __init__(self, classes: list[str], size: int = 16) -> None:
        self.classes, self.size = classes, size
        self._kept: list[Tensor] = []  # rank, images, targets, predicted class and its probability of each
        self._shown: list[Shown] | None = None

    def add(self, images: Tensor, targets: Tensor, probabilities: Tensor, weights: Tensor) -> None:
        """Offer a batch: uint8 (B, C, H, W), of clips (B, T, C, H, W) or with views before T; (B, K), (B, K), (B,)."""
        best, index = probabilities.max(dim=1)
        hit = targets.gather(1, index[:, None]).squeeze(1) > 0
        counted = (weights > 0) & (targets > 0).any(dim=1)
        rank = torch.where(counted, hit.long(), _LEFT_OUT)
        images = images[:, 0] if images.ndim == 6 else images
        batch = self._first([rank, images, targets, index, best])
        if self._kept:
            batch = self._first([torch.cat(pair) for pair in zip(self._kept, batch, strict=True)])
        self._kept = batch
        self._shown = None

    def _first(self, samples: list[Tensor]) -> list[Tensor]:
        """The ``size`` samples that come first: the wrong ones, then the right ones, each in order of coming."""
        order = samples[0].argsort(stable=True)[: self.size]
        return [part.index_select(0, order) for part in samples]

    def shown(self) -> list[Shown]:
        """What was collected, wrong ones first."""
        if self._shown is None:
            self._shown = []
            for rank, image, row, index, best in zip(*(part.cpu() for part in self._kept), strict=True):
                if int(rank) != _LEFT_OUT:
                    truth = " | ".join(self.classes[k] for k in row.nonzero().flatten()[:3].tolist())
                    self._shown.append(Shown(image, truth, self.classes[int(index)], float(best), bool(rank)))
        return self._shown

    @property
    def wrong(self) -> list[Shown]:
        return [sample for sample in self.shown() if not sample.right]

    @property
    def right(self) -> list[Shown]:
        return [sample for sample in self.shown() if sample.right]

    def picture(self, columns: int = 4, tile: int = 128) -> Tensor | None:
        """Tiles with prediction, probability and truth, wrong ones first; None where nothing was offered.

        Clips are film strips, of ``STRIP`` frames at most, half as many side by side.
        """
        shown = self.shown()
        if not shown:
            return None
        if shown[0].image.ndim == 3:
            return _grid([_tile(item, item.image, (tile, tile)) for item in shown], columns)
        frames = min(STRIP, len(shown[0].image))
        strips = [_strip(item.image[spread_over(len(item.image), frames)]) for item in shown]
        box = (3 * tile // 4, frames * 3 * tile // 4)
        return _grid([_tile(item, strip, box) for item, strip in zip(shown, strips, strict=True)], columns // 2)

    def video(self, columns: int = 4, tile: int = 128) -> Tensor | None:
        """The same tiles moving, (T, H, W, 3); None of pictures, and where nothing was offered."""
        shown = self.shown()
        if not shown or shown[0].image.ndim == 3:
            return None
        frames = range(len(shown[0].image))
        return torch.stack(
            [_grid([_tile(item, item.image[frame], (tile, tile)) for item in shown], columns) for frame in frames]
        )


def spread_over(count: int, most: int) -> list[int]:
    """At most so many numbers of 0 .. count - 1, the first and the last among them."""
    return sorted({round(place * (count - 1) / max(1, min(most, count) - 1)) for place in range(min(most, count))})


def _strip(frames: Tensor) -> Tensor:
    """Frames (T, C, h, w) side by side with a white line between, (C, h, T w + lines)."""
    line = max(1, frames.shape[-1] // 48)
    return torch.nn.functional.pad(frames, (0, line), value=255).permute(1, 2, 0, 3).flatten(2)[..., :-line]


def _grid(tiles: list[Tensor], columns: int) -> Tensor:
    """Tiles (h, w, 3) in rows, the last one filled up with white."""
    blank = torch.full_like(tiles[0], 255)
    width = min(columns, len(tiles))
    tiles = tiles + [blank] * (-len(tiles) % width)
    return torch.cat([torch.cat(tiles[i : i + width], dim=1) for i in range(0, len(tiles), width)])


def _tile(item: Shown, image: Tensor, box: tuple[int, int]) -> Tensor:
    """A picture (C, h, w) as large as the box of (height, width) lets it be, with what was said of it."""
    image = as_rgb(image)
    scale = min(side / edge for side, edge in zip(box, image.shape[1:], strict=True))
    size = [max(1, round(edge * scale)) for edge in image.shape[1:]]
    mode = "area" if scale < 1 else "nearest"
    image = torch.nn.functional.interpolate(image[None].float(), size, mode=mode)[0].round().byte()
    canvas = torch.full((*box, 3), 255, dtype=torch.uint8)
    canvas[: size[0], : size[1]] = image.permute(1, 2, 0)
    said = label_panel([canvas], [f"{item.predicted} {100 * item.probability:.0f} %"])
    both = label_panel([said], [f"true: {item.truth}"])
    framed = torch.full((both.shape[0] + 6, both.shape[1] + 6, 3), 255, dtype=torch.uint8)
    framed[1:-1, 1:-1] = torch.tensor([0, 150, 60] if item.right else [210, 30, 30], dtype=torch.uint8)
    framed[3:-3, 3:-3] = both
    return framed


def confusion_picture(confusion: Tensor, classes: list[str]) -> Tensor:
    """Confusion matrix, rows: truth, columns: prediction, each row as shares of its class.

    Args:
        confusion: (K, K) counts.
        classes: K names, shown up to ``READABLE`` classes; beyond, it is a bare heat map.
    """
    k, readable = len(classes), len(classes) <= READABLE
    share = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp_min(1)
    names = [short(name, 24) for name in classes] if readable else []
    side = max(0.36 * k, 3.6) if readable else 8.0
    margin = 0.7 + 0.075 * max((len(name) for name in names), default=4)  # inches: 8 point letters
    width, height = margin + side + 1.1, margin + side + 0.5
    figure = new_figure(width, height)
    axes = figure.add_axes((margin / width, margin / height, side / width, side / height))
    bar = figure.add_axes(((margin + side + 0.2) / width, margin / height, 0.2 / width, side / height))
    picture = axes.imshow(share.numpy(), vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle(_title(confusion), fontsize=9, y=1 - 0.25 / height, va="center")
    if readable:
        axes.set_xticks(range(k), names, rotation=90, fontsize=8)
        axes.set_yticks(range(k), names, fontsize=8)
        for row, column in confusion.nonzero().tolist():
            value = share[row, column].item()
            colour = "white" if value > 0.5 else "black"
            text = f"{100 * value:.0f}" if value > 0.005 else "."
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(picture, cax=bar, label="share of the true class")
    return drawn(figure)


def calibration_picture(bins: Bins, error: float) -> Tensor:
    """Reliability diagram: accuracy over confidence, with the share of samples in each bin below (Guo et al., 2017)."""
    count, confidence, accuracy = (x.numpy() for x in (bins.count, bins.confidence, bins.accuracy))
    edge = 1 / len(count)
    middle, filled = np.arange(len(count)) * edge + edge / 2, count > 0
    figure = new_figure(5.0, 6.0)
    axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    figure.subplots_adjust(0.13, 0.09, 0.97, 0.94, hspace=0.08)
    axes.bar(middle, accuracy, width=edge, color="tab:blue", edgecolor="white", label="accuracy")
    axes.plot(confidence[filled], accuracy[filled], "o", color="black", markersize=3, label="bin means")
    axes.plot([0, 1], [0, 1], "--", color="grey", label="calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"calibration error (ECE) {100 * error:.2f} %")
    axes.legend(loc="upper left")
    below.bar(middle, count / max(count.sum(), 1), width=edge, color="tab:grey", edgecolor="white")
    below.set(xlabel="confidence", ylabel="share of samples")
    return drawn(figure)


def write_per_class(path: Path, classes: list[str], counted: SingleLabel | MultiLabel) -> None:
    """One row per class: ``class, samples`` and ``accuracy`` and ``most_taken_for`` (the commonest wrong prediction),
    or with several labels ``average_precision`` and ``f1``."""
    samples = counted.class_counts().long().tolist()
    if isinstance(counted, MultiLabel):
        header = ["class", "samples", "average_precision", "f1"]
        columns = [counted.class_average_precision().tolist(), counted.class_f1().tolist()]
    else:
        header = ["class", "samples", "accuracy", "most_taken_for"]
        columns = [counted.class_accuracy().tolist(), _taken_for(counted.confusion(), classes)]

    def fill(place: Path) -> None:
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for name, count, *values in zip(classes, samples, *columns, strict=True):
                shown = [f"{x:.6f}" if isinstance(x, float) else x for x in values]
                writer.writerow([name, count, *(shown if count else [""] * len(shown))])

    replace_file(path, fill)


def _taken_for(confusion: Tensor | None, classes: list[str]) -> list[str]:
    if confusion is None:
        return [""] * len(classes)
    wrong = confusion.clone().fill_diagonal_(0)
    count, index = wrong.max(dim=1)
    return [classes[i] if n else "" for n, i in zip(count.tolist(), index.tolist(), strict=True)]


def _title(confusion: Tensor) -> str:
    total = confusion.sum().item()
    return f"{confusion.trace().item() / max(total, 1):.2%} of {total:,.0f} right; numbers are % of the true class"


def new_figure(width: float, height: float) -> Any:
    """A figure [inches] that no window system and no global state of matplotlib knows of, nor its slow layouts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def drawn(figure: Any) -> Tensor:
    """A figure as a picture: (H, W, 3) uint8."""
    figure.canvas.draw()
    return torch.from_numpy(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())


_TITLES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "mean_per_class": "mean accuracy per class",
    "nll": "negative log likelihood [nats]",
    "ece": "calibration error (ECE)",
    "loss": "loss of the run",
    "map": "mean average precision",
    "f1_micro": "F1, all labels together",
    "f1_macro": "F1, mean over classes",
    "exact_match": "pictures with exactly the right labels",
    "probe": "linear probe",
    "probe_l2": "its penalty",
    "skipped": "pictures that could not be read",
}
_PLAIN = ("nll", "loss", "probe_l2", "skipped")  # numbers; all others are shares


def format_scores(values: dict[str, float]) -> str:
    """Scores as text, one to a line; shares in per cent."""
    lines = []
    for name, value in values.items():
        if name.endswith(("_std", "_top5")):
            continue
        kind, _, number = name.partition("_")
        title = _TITLES.get(name) or {
            "fewshot": f"{number}-shot least squares",
            "knn": f"{number} nearest neighbours",
        }.get(kind, name)
        text = f"{value:.4g}" if name in _PLAIN else f"{100 * value:.2f} %"
        spread = values.get(f"{name}_std")
        lines.append(f"{title:<40}{text:>10}" + (f"  (std {100 * spread:.2f})" if spread is not None else ""))
    return "\n".join(lines)
