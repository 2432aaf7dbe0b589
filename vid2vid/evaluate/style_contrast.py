"""Do styles do anything? Mean colours of instances between two draws of styles, and over the frames of one video.

A clip is generated twice, with two seeds. Where styles work, an instance has another colour in the other video, and one
colour within a video, as far as the scene lets it: haze, and how much of a car its windows are, change the colour of a
real car too. Such things are alike in both videos: what they add falls out of the difference of both, and what they
scale, as haze does, scales the difference and leaves its hue. So a difference that turns shows what else moves.

Shapes: T frames, H x W pixels, R regions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.device.compute import Compute
from vid2vid.config import FirstFrame
from vid2vid.encoding import SourceEncoder, float_to_images
from vid2vid.evaluate.measure import weights_of
from vid2vid.evaluate.metrics import Metric
from vid2vid.generate.clip import generate_segments
from vid2vid.model import Generator
from vid2vid.styles.assigned import AssignedStyles
from vid2vid.styles.pooling import region_sums
from vid2vid.styles.regions import region_of

SMALLEST = 0.002  # share of a frame from which on an instance is measured in it
FEWEST = 4  # frames in which an instance must be as large


@dataclass(frozen=True)
class StyleContrast:
    """What was found, by id of the class: those whose instances are told apart and were large enough (`SMALLEST`).

    Attributes:
        between: of each instance, the distance of its mean colours (over the frames of each video) in the two videos,
            RGB in 0..255.
        within: how far its colour in a frame lies from that mean, root mean square over both videos.
        real: the same of the real frames, of which there is one video.
        apart: how far the difference of both colours in a frame lies from the line of its mean over the frames, root
            mean square divided by sqrt(2): the part of ``within`` that is unlike in both videos, but for looks that
            near each other or part as a whole.
    """

    between: dict[int, list[Tensor]]
    within: dict[int, list[Tensor]]
    real: dict[int, list[Tensor]]
    apart: dict[int, list[Tensor]]

    def values(self) -> dict[str, float]:
        """Means over the instances of a class: ``style_difference_ID``, ``style_variation_ID`` and that of real frames,
        ``style_contrast_ID``, the ratio of the first two, and ``style_drift_ID``: ``apart`` as a share of the first."""
        found: dict[str, float] = {}
        for label in sorted(self.between):
            parts = (self.between, self.within, self.real, self.apart)
            difference, variation, real, apart = (float(torch.stack(part[label]).mean()) for part in parts)
            found[f"style_contrast_{label}"] = difference / max(variation, 1e-6)
            found[f"style_drift_{label}"] = apart / max(difference, 1e-6)
            found |= {f"style_difference_{label}": difference, f"style_variation_{label}": variation}
            found[f"style_variation_real_{label}"] = real
        return found

    def rows(self) -> dict[str, Metric]:
        """Of the table of figures."""
        titles = {
            "contrast": "styles/frames",
            "drift": "over frames, unlike in two styles",
            "difference": "between styles",
            "variation": "over frames",
            "variation_real": "over frames, real",
        }
        return {
            f"style_{name}_{label}": Metric(f"colour of {label}, {title}")
            for label in sorted(self.between)
            for name, title in titles.items()
        }


def style_contrast(
    generator: Generator,
    encoder: SourceEncoder,
    loader: Iterable[dict[str, Any]],
    pair: tuple[AssignedStyles, AssignedStyles],
    *,
    compute: Compute,
    first_frame: FirstFrame = FirstFrame.model,
    scales: int | None = None,
) -> StyleContrast:
    """Generate every clip twice and compare the mean colours of its instances.

    Args:
        generator, encoder, compute, first_frame, scales: as `evaluate_clips` takes them.
        loader: collated clips, one at a time.
        pair: two draws of styles.
    """
    found = StyleContrast({}, {}, {}, {})
    skip = encoder.model.past_frames if first_frame is FirstFrame.real else 0  # real frames, the same in both videos
    for host in loader:
        if not any(weights_of(host)):
            continue
        batch = {name: value.to(compute.device) for name, value in host.items() if isinstance(value, Tensor)}
        videos: list[Tensor] = []
        apart: list[int | None] = []
        for styling in pair:
            styles = styling(batch)
            pieces = generate_segments(
                generator, encoder, batch, amp=compute.amp, first_frame=first_frame, scales=scales, styles=styles
            )
            channels = [region_of(key).channel for key in styles.keys.tolist()]
            ids = [encoder.ids[channel] if channel >= 0 else None for channel in channels]
            apart = [label if label in styling.things else None for label in ids]
            frames = [float_to_images(piece["frames"][0]) for piece in pieces]
            videos.append(_colours(frames, styles.numbers[0], len(apart))[0])
        shown, pixels = _colours([batch["images"][0]], styles.numbers[0], len(apart))
        colours = torch.stack([shown, *videos])  # (3, T, R, 3)
        seen = pixels >= SMALLEST * batch["labels"][0, 0].numel()
        seen[:skip] = False
        for region, label in enumerate(apart):
            if label is None or int(seen[:, region].sum()) < FEWEST:
                continue
            real, *own = colours[:, seen[:, region], region]  # (t, 3) each
            difference = own[0] - own[1]
            found.between.setdefault(label, []).append(difference.mean(dim=0).norm())
            found.within.setdefault(label, []).append(_spread(*own))
            found.real.setdefault(label, []).append(_spread(real))
            mean = torch.nn.functional.normalize(difference.mean(dim=0), dim=0)
            turned = difference - (difference @ mean)[:, None] * mean  # 0 on average
            found.apart.setdefault(label, []).append(_spread(turned) / math.sqrt(2))
    return found


def _spread(*colours: Tensor) -> Tensor:
    """Root mean square of the distances of colours (t, 3) from the mean of their video."""
    apart = [(video - video.mean(dim=0)).square().sum(dim=-1) for video in colours]
    return torch.stack(apart).mean().sqrt()


def _colours(pieces: list[Tensor], numbers: Tensor, regions: int) -> tuple[Tensor, Tensor]:
    """Mean colours (T, R, 3) of the regions in every frame, float64, and their pixels (T, R).

    Args:
        pieces: consecutive frames, (t, 3, H, W) uint8.
        numbers: (T, H, W), the region of each pixel.
    """
    colours, pixels = [], []
    for frame, rows in zip((frame for piece in pieces for frame in piece), numbers, strict=True):
        sums, counts = region_sums(frame.double().flatten(1), rows.flatten(), regions)
        colours.append((sums / counts.clamp(min=1)).T)
        pixels.append(counts)
    return torch.stack(colours), torch.stack(pixels)
