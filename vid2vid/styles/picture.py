"""``styles.png``: what the components of each class's mixture look like.

A row for each class: its vectors with the components' means, the largest instance that was seen, the same generated
with its own vector, and with the mean of each component. Everything else in the frame keeps its own vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.files import replace_file
from vid2vid.config import FirstFrame
from vid2vid.encoding import float_to_images, images_to_float
from vid2vid.styles.gather import Example, Gathered
from vid2vid.styles.mixtures import ClassStyles, Styles
from vid2vid.styles.pooling import ClipStyles, own_styles
from vid2vid.styles.regions import region_of
from vid2vid.trained import LoadedRun

SHOWN = 8  # components of a class, the heaviest first
_MARGIN = 0.25  # of the instance's size, around it


def draw_styles(run: LoadedRun, styles: Styles, found: Mapping[int, Gathered], path: Path) -> Path:
    """Write the picture.

    Args:
        run: whose generator shows the components.
        styles: the mixtures.
        found: the vectors that they were fitted to, and an example of each class.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(SHOWN, max(len(each.components) for each in styles.classes.values()))
    figure = Figure(figsize=(1.6 * (3 + count), 1.6 * len(styles.classes) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(styles.classes), 3 + count, squeeze=False)
    for row, (label, each) in zip(axes, styles.classes.items(), strict=True):
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        _draw_vectors(row[0], each, np.stack(found[label].vectors))
        example = found[label].example
        assert example is not None
        pictures = class_pictures(run, label, each, example)
        titles = ["real", "own vector", *(f"{part.weight:.0%}" for part in each.components[:SHOWN])]
        for axis, picture, title in zip(row[1:], pictures, titles, strict=False):
            axis.imshow(picture)
            axis.set_title(title, fontsize=7, pad=2)
    replace_file(path, lambda place: figure.savefig(place, dpi=110, format="png"))
    return path


def class_pictures(run: LoadedRun, label: int, styles: ClassStyles, example: Example) -> list[np.ndarray]:
    """The example as it is, with its own vector, and with the mean of each component: crops, uint8 (h, w, 3)."""
    assert run.style is not None
    batch = {name: value[None, None].to(run.compute.device) for name, value in example.frame.items()}
    own = own_styles(run.style, run.encoder, batch, run.compute.amp)
    regions = [region_of(key) for key in own.keys.tolist()]
    channel = run.encoder.ids.index(label)
    rows = [
        i for i, region in enumerate(regions)
        if region.channel == channel and (not styles.things or region.instance == example.instance)
    ]  # fmt: skip
    inside = torch.isin(own.numbers[0, 0], torch.tensor(rows, device=own.numbers.device))
    box = _box(inside)
    made = [batch["images"][0, 0], _frame(run, batch, own)]
    for part in styles.components[:SHOWN]:
        vectors = own.vectors.clone()
        vectors[rows] = torch.tensor(part.mean, dtype=vectors.dtype, device=vectors.device)
        made.append(_frame(run, batch, replace(own, vectors=vectors)))
    return [image[:, box[0], box[1]].movedim(0, -1).cpu().numpy() for image in made]


@torch.inference_mode()
def _frame(run: LoadedRun, batch: dict[str, Tensor], styles: ClipStyles) -> Tensor:
    """The first frame of a video that begins with these labels: (3, H, W) uint8."""
    frames = run.config.model.past_frames + 1
    source = torch.cat([run.encoder.encode(batch), styles.maps(torch.zeros(1, dtype=torch.long))], dim=2)
    past = None
    if frames > 1 and run.config.model.first_frame is not FirstFrame.model:
        images = images_to_float(batch["images"]).expand(-1, frames - 1, -1, -1, -1)
        past = run.generator.past_from_images(images, scales=run.scales)
    with run.compute.amp():
        out = run.generator(
            source.expand(-1, frames, -1, -1, -1),
            past=past,
            foreground=run.encoder.foreground_mask(batch),
            scales=run.scales,
        )
    return float_to_images(out.hallucination[0, 0])


def _box(inside: Tensor) -> tuple[slice, slice]:
    """Rows and columns around the pixels that are true, with a margin."""
    spans = []
    for axis, length in ((1, inside.shape[0]), (0, inside.shape[1])):
        hit = inside.any(dim=axis).nonzero().flatten()
        first, last = int(hit[0]), int(hit[-1]) + 1
        margin = round(_MARGIN * (last - first)) + 2
        spans.append(slice(max(0, first - margin), min(length, last + margin)))
    return spans[0], spans[1]


def _draw_vectors(axis: Any, styles: ClassStyles, vectors: np.ndarray) -> None:
    """All vectors along their two main directions, the components' means as crosses."""
    centre = vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(vectors - centre, full_matrices=False)
    plane = directions[:2].T if len(directions) > 1 else np.zeros((vectors.shape[1], 2))
    flat = (vectors - centre) @ plane
    means = (np.array([part.mean for part in styles.components]) - centre) @ plane
    axis.scatter(*flat.T, s=2, alpha=0.4, color="tab:blue")
    axis.scatter(*means.T, s=24, marker="x", color="tab:red")
    axis.set_title(f"{styles.id} {styles.name}".strip() + f" ({styles.count})", fontsize=7, pad=2)
