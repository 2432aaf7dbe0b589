"""Clips generated from their labels, segment by segment, as evaluation and a look at a run's progress need them.

Shapes: B clips, T frames of a clip, t of a segment, C source channels, H x W pixels, L past frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from trainer.errors import DataError
from vid2vid.config import FirstFrame
from vid2vid.encoding import SourceEncoder, images_to_float
from vid2vid.model import Generator
from vid2vid.styles.pooling import ClipStyles

SEGMENT = 8  # frames per call of the generator: bounds the memory of long clips, changes no result
MADE = ("frames", "hallucination", "flow", "mask")  # by the generator


def generate_segments(
    generator: Generator,
    encoder: SourceEncoder,
    batch: dict[str, Tensor],
    *,
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext,
    first_frame: FirstFrame = FirstFrame.model,
    scales: int | None = None,
    styles: ClipStyles | None = None,
    segment: int = SEGMENT,
) -> Iterator[dict[str, Tensor]]:
    """Generate whole clips, ``segment`` frames per call of the generator and per item.

    Args:
        batch: as a data set's samples, collated, on the generator's device: ``labels`` (B, T, H, W) or ``source``
            (B, T, C, H, W), optionally ``instances``; ``images`` (B, T, 3, H, W) uint8 for ``first_frame=real`` and
            ``image``, for which ``picture`` (B, 3, H, W) uint8 goes first, if there is one.
        first_frame: ``real`` takes the first L frames from the images; ``image`` starts from ``picture``, another
            frame of the sequence in place of the picture that a user would give (without one: from the clip's last
            frame); ``zeros`` starts from mid-grey; ``model`` from nothing.
        styles: a vector for each region of the clips; for a generator with a feature encoder.

    Yields:
        ``frames`` and ``hallucination`` (B, t, 3, H, W) in [-1, 1]; ``flow`` (B, t, 2, H, W) and ``mask``
        (B, t, 1, H, W) where the generator has them. With ``first_frame=real`` the first item holds the first L real
        frames and nothing else.

    Raises:
        DataError: ``first_frame=image``, and the clip has no other frame than the one to generate.
    """
    condition = {k: batch[k] for k in ("labels", "instances", "source") if k in batch}
    length = next(iter(condition.values())).shape[1]
    context = encoder.model.past_frames
    past, begin = None, 0
    if context and first_frame is FirstFrame.real:
        real = images_to_float(batch["images"][:, :context])
        yield {"frames": real}
        begin = context
        if length > context:
            past = generator.past_from_images(real, scales=scales)
    elif context and first_frame is not FirstFrame.model:
        image = first_picture(batch) if first_frame is FirstFrame.image else _grey(batch)
        past = generator.past_from_images(image[:, None].expand(-1, context, -1, -1, -1), scales=scales)
    for start in range(begin, length, segment):
        stop = min(start + segment, length)
        # The first label map stands in for those before the clip.
        window = torch.arange(start - context, stop, device=next(iter(condition.values())).device).clamp(min=0)
        part = {k: v[:, window] for k, v in condition.items()}
        with torch.inference_mode(), amp():
            source = encoder.encode(part)
            if styles is not None:
                source = torch.cat([source, styles.maps(window)], dim=2)
            output = generator(
                source,
                past=past,
                foreground=encoder.foreground_mask({k: v[:, start:stop] for k, v in condition.items()}),
                scales=scales,
                first=start == 0 and first_frame is not FirstFrame.image,
            )
        past = output.past if context else None
        made = {name: value.float() for name in MADE if (value := getattr(output, name)) is not None}
        del output, source  # not two segments at a time
        yield made
        del made


def generate_clip(
    generator: Generator,
    encoder: SourceEncoder,
    batch: dict[str, Tensor],
    keep: Sequence[str] = ("frames",),
    **options: Any,
) -> dict[str, Tensor]:
    """What ``generate_segments`` yields, joined: (B, T, ...). Memory grows with the clip by what is kept.

    Args:
        batch, options: see ``generate_segments``.
        keep: which of ``frames``, ``hallucination``, ``flow`` and ``mask``.
    """
    pieces: dict[str, list[Tensor]] = {}
    for made in generate_segments(generator, encoder, batch, **options):
        for name in keep:
            if name in made:
                pieces.setdefault(name, []).append(made[name])
    return {name: torch.cat(values, dim=1) for name, values in pieces.items()}


def first_picture(batch: Mapping[str, Tensor]) -> Tensor:
    """What stands for a user's picture in training and evaluation: (B, 3, H, W) in [-1, 1].

    ``picture`` where the data give it, else the clips' last frame: never the first one, which is to be generated.

    Raises:
        DataError: there is neither.
    """
    if "picture" in batch:
        return images_to_float(batch["picture"])
    if "images" not in batch or batch["images"].shape[1] < 2:
        raise DataError(
            "first_frame=image starts from another frame than the one to generate, but these clips have only one: "
            "use longer ones (data.val_frames, the stage's frames), or first_frame=model"
        )
    return images_to_float(batch["images"][:, -1])


def _grey(batch: Mapping[str, Tensor]) -> Tensor:
    """Mid-grey pictures (B, 3, H, W) of the clips' size."""
    like = next(batch[k] for k in ("labels", "source") if k in batch)
    return torch.zeros((like.shape[0], 3, *like.shape[-2:]), device=like.device)
