"""Pictures for people: condition, real and generated video side by side, and contact sheets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.data.labels.palette import colorize, seem_cityscapes
from trainer.records.media import label_panel
from trainer.task import StepContext
from vid2vid.config import Vid2VidConfig
from vid2vid.data.sources.look import columns
from vid2vid.encoding import SourceEncoder, float_to_images
from vid2vid.generate.clip import generate_segments
from vid2vid.generate.edit.objects import knows_cityscapes
from vid2vid.model import Generator
from vid2vid.styles.pooling import Styling


def condition_columns(batch: Mapping[str, Tensor], config: Vid2VidConfig) -> dict[str, Tensor]:
    """Everything in a condition as a picture, under its name: labels in colours, then each of the sources.

    The colours are Cityscapes' where the ids may be its own; of other ids the first ones would all be black.

    Args:
        batch: ``labels`` (..., H, W) ids, or ``source`` (..., C, H, W) uint8, or both.

    Returns:
        (..., H, W, 3) uint8 by name, in order.
    """
    found: dict[str, Tensor] = {}
    if "labels" in batch:
        ids = batch["labels"].cpu().numpy()
        painted = colorize(ids, cityscapes=knows_cityscapes(config.model) and seem_cityscapes(ids))
        found["label"] = torch.from_numpy(painted).movedim(-3, -1)
    if "source" in batch:
        pictures = columns(batch["source"].cpu(), config.model, config.data)
        found |= {name: picture.movedim(-3, -1).contiguous() for name, picture in pictures.items()}
    return found


def comparison(condition: Mapping[str, Tensor], real: Tensor, generated: Tensor) -> Tensor:
    """Condition | real | generated under captions; all (T, H, W, 3) uint8, back as (T, H + caption, n W, 3)."""
    return label_panel([*condition.values(), real, generated], [*condition, "real", "generated"])


def contact_sheet(panels: Tensor, count: int = 6) -> Tensor:
    """``count`` evenly spaced frames of a video (T, H, W, 3), one under the other: (count * H, W, 3)."""
    picked = torch.linspace(0, len(panels) - 1, min(count, len(panels))).round().long()
    return torch.cat(list(panels[picked]))


def clip_visuals(
    generator: Generator,
    encoder: SourceEncoder,
    loader: Any,
    ctx: StepContext,
    config: Vid2VidConfig,
    scales: int | None,
    styles: Styling | None = None,
) -> dict[str, Tensor]:
    """The first held-out clip: ``video`` (T, H, W, 3) and ``contact_sheet`` (H, W, 3), generated freely."""
    batch = next(iter(loader))
    clip = {k: v[:1].to(ctx.device) for k, v in batch.items() if isinstance(v, Tensor)}
    first = config.model.first_frame
    vectors = None if styles is None else styles(clip)
    made = generate_segments(generator, encoder, clip, amp=ctx.amp, first_frame=first, scales=scales, styles=vectors)
    generated = torch.cat([float_to_images(piece["frames"][0]).movedim(1, -1).cpu() for piece in made])
    real = clip["images"][0].movedim(1, -1).cpu()
    one = {k: v[0] for k, v in clip.items() if k in ("labels", "source")}
    video = comparison(condition_columns(one, config), real, generated)
    return {"video": video, "contact_sheet": contact_sheet(video)}
