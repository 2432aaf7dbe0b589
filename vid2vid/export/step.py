"""One step of the generator F (eq. 3) as a network of its own: ids and pictures in, the next frame out.

It computes what `vid2vid.encoding` and `vid2vid.model.generator` do, in operations whose order depends on no value:
what stands before a video is a flag for each clip, so that clips in one batch may begin at different times.

Shapes: B clips, L past frames, S scales in use (0 the coarsest), H x W pixels, Hs x Ws those of scale s.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.data.labels.label_map import ignored_ids
from vid2vid.config import ForegroundKind
from vid2vid.encoding import IDS, SourceEncoder, images_to_float
from vid2vid.model import Generator
from vid2vid.model.blocks import pool
from vid2vid.model.scale import ScaleGenerator

LABELS, INSTANCES, SOURCE, STYLE = "labels", "instances", "source", "style"
KNOWN, WARPED = "past_known", "past_warped"
NEXT = "next_"  # before the name of a past: what it is for the step that follows
NO_ID = -1  # equals no id of 16 bits


class Step(nn.Module):
    """One frame of B clips.

    Inputs, in this order, those that the model has (``inputs``):
        labels: (B, L+1, H, W) int32 ids, oldest first, the last one of the frame to make; instances: likewise.
        source: (B, L+1, C, H, W) uint8 pictures; style: (B, L+1, d, H, W) float32, E's features or vectors of regions.
        past_s: (B, L, 3, Hs, Ws) float32 in [-1, 1], what scale s made before, oldest first, for every scale.
        past_known: (B,) bool, false where there is no past at all: the frame is made from its condition alone.
        past_warped: (B,) bool, false where the past is none of this video's frames and must not be warped.

    Outputs (``outputs``):
        frame, hallucination: (B, 3, H, W) in [-1, 1]; flow: (B, 2, H, W) backward, in pixels; mask: (B, 1, H, W);
        next_past_s: the past_s of the next step. As in `vid2vid.model.generator.GeneratorOutput`.

    An id that is none of ``model.label_ids`` (or 0..num_labels-1) belongs to no class here, where training refuses it.

    Args:
        generator: in eval mode. encoder: of the same configuration. scales: how many are in use; None: all.
    """

    def __init__(self, generator: Generator, encoder: SourceEncoder, scales: int | None = None) -> None:
        super().__init__()
        self.generator = generator
        self.scales = generator.scales if scales is None else scales
        self.divisor = 2 ** (encoder.model.downsamplings + self.scales - 1)  # of height and width
        self.past_frames, self.edges, self.pictures = generator.past_frames, encoder.edges, encoder.pictures
        self.style_channels = encoder.model.style_channels
        self.has_labels = encoder.labels
        self.has_foreground = generator.has_foreground
        ignored = {label & (IDS - 1) for label in ignored_ids(encoder.data.ignore_label)}
        ids = [label & (IDS - 1) for label in encoder.ids]
        self.ids: Tensor
        self.foreground_ids: Tensor
        ids = [NO_ID if label in ignored else label for label in ids]
        self.register_buffer("ids", torch.tensor(ids, dtype=torch.int32).view(1, 1, -1, 1, 1), persistent=False)
        inside = sorted({label & (IDS - 1) for label in encoder.model.foreground_labels} - ignored) or [NO_ID]
        inside_ids = torch.tensor(inside, dtype=torch.int32).view(1, -1, 1, 1)
        self.register_buffer("foreground_ids", inside_ids, persistent=False)
        self.pasts = [f"past_{index}" for index in range(self.scales)] if self.past_frames else []
        self.inputs = [
            *([LABELS] if self.has_labels else []),
            *([INSTANCES] if self.edges else []),
            *([SOURCE] if self.pictures else []),
            *([STYLE] if self.style_channels else []),
            *self.pasts,
            *([KNOWN] if self.pasts else []),
            *([WARPED] if generator.has_flow else []),
        ]
        made = ["frame", "hallucination", *(["flow", "mask"] if generator.has_flow else [])]
        self.outputs = [*made, *(NEXT + name for name in self.pasts)]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs, inputs, strict=True))
        stack = self._source(given).flatten(1, 2)
        region = self._region(given)
        stacks, regions = [stack], [region]
        for _ in range(self.scales - 1):
            stacks.insert(0, pool(stacks[0]))
            coarsest = regions[0]
            regions.insert(0, None if coarsest is None else pool(coarsest))
        features = flow_features = foreground_features = None
        made: tuple[Tensor, ...] = ()
        next_pasts = []
        for index in range(self.scales):
            part = self.generator.scale(index)
            past = given.get(f"past_{index}")
            x = part.labels(stacks[index])
            if part.past is not None and past is not None:
                x = torch.where(_each(given[KNOWN], 4), x + part.past(past.flatten(1, 2)), x)
            image, features = part.hallucination(x if features is None else x + features)
            inner = None
            if part.foreground is not None:
                inner, foreground_features = part.foreground(stacks[index], foreground_features)
            made, flow_features = self._compose(part, x, past, image, inner, regions[index], flow_features, given)
            if past is not None:
                newest = made[0][:, None]
                shifted = torch.cat((past[:, 1:], newest), dim=1)
                repeated = newest.expand(-1, self.past_frames, -1, -1, -1)
                next_pasts.append(torch.where(_each(given[KNOWN], 5), shifted, repeated))
        return (*made, *next_pasts)

    def _compose(
        self,
        part: ScaleGenerator,
        x: Tensor,
        past: Tensor | None,
        image: Tensor,
        inner: Tensor | None,
        region: Tensor | None,
        coarser: Tensor | None,
        given: Mapping[str, Tensor],
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Eqs. 4 and 9 as `vid2vid.model.scale` has them: frame, hallucination, flow, mask; and the flow's features."""
        merged = image if inner is None or region is None else inner * region + image * (1 - region)
        if part.flow is None or past is None:
            return (merged, merged), None
        flow, mask, features = part.flow(x if coarser is None else x + coarser)
        warped = _warp(past[:, -1], flow)
        if inner is None or region is None:
            composed = image * mask + warped * (1 - mask)
        elif part.kind is ForegroundKind.override:
            composed = inner * region + (image * mask + warped * (1 - mask)) * (1 - region)
        else:
            composed = merged * mask + warped * (1 - mask)
        usable = _each(given[WARPED], 4)
        flow, mask = torch.where(usable, flow, torch.zeros_like(flow)), torch.where(usable, mask, torch.ones_like(mask))
        return (torch.where(usable, composed, merged), merged, flow, mask), features

    def _source(self, given: Mapping[str, Tensor]) -> Tensor:
        """The condition (B, L+1, C, H, W) as `SourceEncoder.encode` makes it, and E's features after it."""
        parts = []
        if self.has_labels:
            parts.append((_ids(given[LABELS]).unsqueeze(2) == self.ids).float())
        if self.edges:
            parts.append(_edges(given[INSTANCES]).unsqueeze(2))
        if self.pictures:
            parts.append(images_to_float(given[SOURCE]))
        if self.style_channels:
            parts.append(given[STYLE])
        return torch.cat(parts, dim=2)

    def _region(self, given: Mapping[str, Tensor]) -> Tensor | None:
        """1 inside the foreground's classes, (B, 1, H, W) float32; None for a model without."""
        if not self.has_foreground:
            return None
        newest = _ids(given[LABELS][:, -1:])
        return (newest == self.foreground_ids).float().amax(dim=1, keepdim=True)


def _each(flags: Tensor, axes: int) -> Tensor:
    """(B,) as (B, 1, ...) of so many axes."""
    return flags.view(-1, *[1] * (axes - 1))


def _ids(labels: Tensor) -> Tensor:
    """Ids of at most 16 bits, read as signed or unsigned, as 0..65535."""
    return labels.bitwise_and(IDS - 1)


def _edges(ids: Tensor) -> Tensor:
    """`vid2vid.encoding.instance_edges` as float32, without writing into slices."""
    across = (ids[..., :, 1:] != ids[..., :, :-1]).float()
    down = (ids[..., 1:, :] != ids[..., :-1, :]).float()
    beside = torch.maximum(F.pad(across, (1, 0)), F.pad(across, (0, 1)))
    above = torch.maximum(F.pad(down, (0, 0, 1, 0)), F.pad(down, (0, 0, 0, 1)))
    return torch.maximum(beside, above)


def _warp(image: Tensor, flow: Tensor) -> Tensor:
    """`vid2vid.model.warp.warp` for a height and width that are not known when the graph is made."""
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    # -1 and 1 are the centres of the first and the last pixel; a size is at least 2.
    grid = torch.stack((x * 2 / (width - 1) - 1, y * 2 / (height - 1) - 1), dim=-1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
