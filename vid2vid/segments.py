"""A segment of a clip: it keeps stored bytes, and inflates them to the networks' input where a phase needs it.

A batch waits in many micro-batches, of each of which one segment is at work at a time. One-hot labels and pictures in
fp32 take 20 to 40 times the memory of the ids and bytes that they come from; as shared work of the segment
(``Segment.once``) they are dropped with it.

Shapes: B clips, T frames of a segment, C source channels, H x W pixels, L past frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.task import Segment, Stage
from vid2vid.config import Vid2VidStage
from vid2vid.encoding import SourceEncoder, images_to_float, prepend_context

IDS = ("labels", "instances", "source")


def stage_row(stage: Stage) -> Vid2VidStage:
    """The curriculum's row of a stage, with vid2vid's own columns."""
    assert isinstance(stage.config, Vid2VidStage)
    return stage.config


def cut(batch: dict[str, Any], start: int, stop: int, *, past_frames: int, history: int, **more: Any) -> Segment:
    """Frames ``start .. stop`` of a batch of clips: views of its tensors, nothing is copied.

    Args:
        batch: see ``vid2vid.data.build_dataset``, collated.
        past_frames: L; so many label maps before the first frame belong to it. Before the clip's first frame its labels
            are repeated, as when generating.
        history: how many real frames before the segment are needed.
        more: goes into the segment as it is.
    """
    before = min(start, max(history, 1))
    data = {
        "frames": stop - start,
        "repeated": max(past_frames - start, 0),
        "images": batch["images"][:, start - before : stop],
        **{name: batch[name][:, max(start - past_frames, 0) : stop] for name in IDS if name in batch},
        **{name: batch[name][:, start - before : stop] for name in ("flow", "confidence", "regions") if name in batch},
    }
    return Segment(**data, **more)


class WayBack:
    """The generated frames of clips that are played forth and back, for the second half to agree with.

    Args:
        frames: generated ones of a whole clip, an even number: frame t mirrors frame ``frames - 1 - t``.
    """

    def __init__(self, frames: int) -> None:
        self.frames, self.half = frames, frames // 2
        self._forth: Tensor | None = None

    def keep(self, newest: Tensor) -> None:
        """The frames of a segment, (B, T, 3, H, W), detached; those of the way back are not kept."""
        forth = newest if self._forth is None else torch.cat([self._forth, newest], dim=1)
        self._forth = forth[:, : self.half]

    def of(self, start: int, stop: int) -> dict[str, Any]:
        """What a segment of the frames ``start .. stop`` has to know.

        Returns:
            ``returning``: how many of its frames, its last, are on the way back; ``forth``: the frames that these
            mirror and that were generated before the segment, (B, n, 3, H, W) in their own order, None without any.
        """
        returning = max(stop - max(start, self.half), 0)
        first = self.frames - stop
        before = min(start, first + returning) - first
        known = None if self._forth is None or not returning or before < 1 else self._forth[:, first : first + before]
        return {"returning": returning, "forth": known}


def there_and_back(segment: Segment, frames: Tensor) -> tuple[Tensor, Tensor] | None:
    """The segment's frames on the way back, and the ones that they mirror, detached; None where it has none.

    Args:
        frames: the segment's as generated, (B, T, 3, H, W).

    Returns:
        (B, n, 3, H, W) each.
    """
    returning = segment.data.get("returning", 0)
    if not returning:
        return None
    turn, forth = segment["frames"] - returning, segment["forth"]
    own = returning - (0 if forth is None else forth.shape[1])  # that mirror frames of the same segment
    target = frames[:, turn - own : turn].detach()
    return frames[:, turn:], (target if forth is None else torch.cat([forth, target], dim=1)).flip(1)


def has_flow(segment: Segment) -> bool:
    """Whether there is reference flow."""
    return "flow" in segment.data


def condition(segment: Segment) -> dict[str, Tensor]:
    """What the condition is made of, with the frames before the segment that its context needs and that there are."""
    return {name: segment[name] for name in IDS if name in segment.data}


def source(segment: Segment, encoder: SourceEncoder) -> Tensor:
    """The encoded condition with its context, (B, L+T, C, H, W)."""

    def encode() -> Tensor:
        encoded = encoder.encode(condition(segment))
        return prepend_context(encoded, segment["repeated"]) if segment["repeated"] else encoded

    return segment.once("source", encode)


def foreground(segment: Segment, encoder: SourceEncoder) -> Tensor | None:
    """The mask of the segment's own frames, (B, T, 1, H, W); None where the model has no foreground."""
    own = {name: segment[name][:, -segment["frames"] :] for name in IDS if name in segment.data}
    return encoder.foreground_mask(own)


def real(segment: Segment) -> Tensor:
    """The real frames, (B, T, 3, H, W) in [-1, 1]."""
    return segment.once("real", lambda: images_to_float(segment["images"][:, -segment["frames"] :]))


def real_previous(segment: Segment) -> Tensor:
    """The real frame before each of them, likewise; zeros before a clip's first one, whose confidence is 0."""
    images, frames = segment["images"], segment["frames"]
    if images.shape[1] > frames:
        return images_to_float(images[:, -frames - 1 : -1])
    previous = images_to_float(images[:, :-1])
    return torch.cat([torch.zeros_like(previous[:, :1] if frames > 1 else real(segment)), previous], dim=1)


def real_buffer(segment: Segment, history: int) -> Tensor:
    """The real frames with up to ``history`` before them."""
    return images_to_float(segment["images"][:, -(segment["frames"] + history) :])


def flow(segment: Segment, history: int = 0) -> Tensor:
    """Reference flow, (B, T, 2, H, W) in pixels, with up to ``history`` frames before the segment's."""
    return segment["flow"][:, -(segment["frames"] + history) :].float()


def confidence(segment: Segment) -> Tensor:
    """1 where the reference flow is trusted, (B, T, 1, H, W)."""
    return segment["confidence"][:, -segment["frames"] :].float()


def with_history(before: Tensor | None, newest: Tensor, count: int) -> Tensor:
    """The last ``count`` of what was generated, that of earlier segments detached: (B, count, C, H, W)."""
    return newest if before is None else torch.cat([before, newest], dim=1)[:, -count:]
