"""Long clips generated freely and measured frame by frame, in constant memory: numbers are kept, frames are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from vid2vid.config import DataConfig, FlowMethod
from vid2vid.data import Sequence
from vid2vid.encoding import images_to_float
from vid2vid.evaluate.metrics import gradient_magnitude, warping_error
from vid2vid.flow.estimate import ESTIMATORS, estimate_pair
from vid2vid.generate.rollout import Rollout

# Of each frame, pixels 0..1. gradient: mean length of the image gradient; red, green, blue: means; warp_error: between
# this frame and the one before.
FIGURES = ("gradient", "red", "green", "blue", "warp_error")
REAL = tuple(f"{name}_real" for name in FIGURES)


@dataclass
class Curve:
    """One clip over time.

    Attributes:
        name: of the clip.
        values: float64 (T, 10), columns ``FIGURES`` then ``REAL``; NaN where something is not there: real pictures,
            the first frame's warping error, one without trusted pixels.
        ended: why it has fewer frames than asked for; None: it has all.
    """

    name: str
    values: Tensor
    ended: str | None = None


def flow_method(data: DataConfig, street: bool) -> FlowMethod:
    """With which the warping error of long clips is measured: exact on the street; else the run's estimator, or DIS.

    Flow that is precomputed belongs to the run's own data, and a film to look at may be another.
    """
    if street:
        return FlowMethod.exact
    return data.flow if data.flow in ESTIMATORS else FlowMethod.dis


def measure_clip(
    rollout: Rollout,
    sequence: Sequence,
    frames: int,
    method: FlowMethod,
    weights: str | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Curve:
    """Generate a clip from its first frame on, and measure every frame.

    Args:
        rollout: about to begin.
        sequence: frames with ``image``, if they are to be compared; with ``flow`` and ``confidence`` for
            ``method=exact``.
        frames: at most so many.
        method: see `flow_method`.
        weights: of RAFT.
        progress: called after each frame.

    Raises:
        DataError: as `Rollout.step`.
    """
    rows: list[Tensor] = []
    before: tuple[Tensor, Tensor | None] | None = None
    ended = None
    for frame in islice(iter(sequence), frames):
        if rows and frame.get("begins"):
            ended = f"another scene begins at frame {len(rows)}"
            break
        shown = rollout.step(frame)[0].cpu()
        real = None if frame.get("image") is None else torch.as_tensor(frame["image"])
        flow = None if before is None or real is None else _flow(frame, real, before[1], method, weights)
        rows.append(
            torch.cat(
                [
                    _figures(shown, None if before is None else before[0], flow),
                    _figures(real, None if before is None else before[1], flow),
                ]
            )
        )
        before = shown, real
        progress()
    if ended is None and len(rows) < frames:
        ended = f"it has {len(rows)} frames"
    values = torch.stack(rows) if rows else torch.empty(0, len(FIGURES) + len(REAL), dtype=torch.float64)
    return Curve(sequence.name, values, ended)


def _flow(
    frame: Mapping[str, Any], real: Tensor, before: Tensor | None, method: FlowMethod, weights: str | None
) -> tuple[Tensor, Tensor] | None:
    """Flow (2, H, W) and confidence (1, H, W) from a frame to the one before it."""
    if method is FlowMethod.exact:
        return torch.as_tensor(frame["flow"]), torch.as_tensor(frame["confidence"])
    if before is None:
        return None
    return estimate_pair(real, before, method, weights)


def _figures(image: Tensor | None, before: Tensor | None, flow: tuple[Tensor, Tensor] | None) -> Tensor:
    """(5,) float64 of one frame, (3, H, W) uint8; NaN what cannot be measured."""
    missing = torch.full((len(FIGURES),), torch.nan, dtype=torch.float64)
    if image is None:
        return missing
    found = missing.clone()
    pixels = (images_to_float(image)[None] + 1) / 2
    found[0], found[1:4] = gradient_magnitude(pixels)[0], pixels[0].double().mean((1, 2))
    if before is not None and flow is not None:
        pair = torch.cat([(images_to_float(before)[None] + 1) / 2, pixels])
        total, weight = warping_error(pair, *(part[None].expand(2, -1, -1, -1) for part in flow))
        found[4] = total / weight if weight > 0 else torch.nan
    return found
