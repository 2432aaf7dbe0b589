"""The vectors of all instances of the training data, as E sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vid2vid.styles.pooling import ClipStyles, own_styles
from vid2vid.styles.regions import region_of
from vid2vid.trained import LoadedRun


@dataclass(frozen=True)
class Example:
    """The frame in which an instance is largest.

    Attributes:
        instance: its id.
        area: the share of the frame that it covers.
        frame: ``labels`` and, where known, ``instances`` (H, W), ``images`` (3, H, W) uint8, on the host.
    """

    instance: int
    area: float
    frame: dict[str, Tensor]


@dataclass
class Gathered:
    """The vectors of one class.

    Attributes:
        vectors: (d,) each, of single instances in single clips.
        areas: the share of a frame that each covers where it is largest.
        instances: ids that occurred.
        example: the largest of all.
    """

    vectors: list[np.ndarray] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    instances: set[int] = field(default_factory=set)
    example: Example | None = None

    @property
    def things(self) -> bool:
        """Whether its instances are told apart: regions (road, sky) have one id wherever they are."""
        return len(self.instances) > 1

    def large(self, least: float) -> np.ndarray:
        """(n, d): those of at least this area; all where none is so large."""
        vectors, areas = np.stack(self.vectors), np.array(self.areas)
        return vectors[areas >= least] if (areas >= least).any() else vectors


def gather(run: LoadedRun, batches: Iterable[dict[str, Any]]) -> tuple[dict[int, Gathered], int, int]:
    """E's vectors of real clips, one for each instance of each clip (of each frame with model.style_pooling=frame).

    Args:
        run: with a feature encoder.
        batches: collated clips; see ``vid2vid.data.build_dataset``. Those that stand for unreadable ones do not count.

    Returns:
        By id of the class; and how many clips, and frames in all, were looked at.
    """
    assert run.style is not None
    found: dict[int, Gathered] = {}
    clips = frames = 0
    for host in batches:
        kept = [i for i, good in enumerate(host.get("readable", torch.ones(len(host["images"])))) if good]
        if not kept:
            continue
        names = ("labels", "instances", "images")
        batch = {name: host[name][kept].to(run.compute.device) for name in names if name in host}
        styles = own_styles(run.style, run.encoder, batch, run.compute.amp)
        clips, frames = clips + len(kept), frames + len(kept) * batch["images"].shape[1]
        areas, where = _largest(styles)
        rows = zip(styles.keys.tolist(), styles.vectors.cpu().numpy(), areas.tolist(), where.tolist(), strict=True)
        for key, vector, area, frame in rows:
            region = region_of(key)
            if region.channel < 0:
                continue
            gathered = found.setdefault(run.encoder.ids[region.channel], Gathered())
            gathered.vectors.append(vector)
            gathered.areas.append(area)
            gathered.instances.add(region.instance)
            if gathered.example is None or area > gathered.example.area:
                place = divmod(frame, batch["images"].shape[1])
                shown = {name: value[place].cpu().clone() for name, value in batch.items()}
                gathered.example = Example(region.instance, area, shown)
    return found, clips, frames


def _largest(styles: ClipStyles) -> tuple[Tensor, Tensor]:
    """(R,) the largest share of a frame that each region covers, and (R,) which of the B*T frames that is."""
    frames = styles.numbers.flatten(0, 1)
    counts = torch.stack([frame.flatten().bincount(minlength=len(styles.keys)) for frame in frames])
    most, where = counts.max(dim=0)
    return most / frames[0].numel(), where
