"""D_region: discriminators of parts of a picture that people look at first, faces and hands, cut out and enlarged.

The released code has one for faces (an addition to the paper), its successor one for faces and one for hands. Each sees
the picture alone, as in the successor: cut out and resized, the lines of a drawn condition vanish between pixels, and
D_I sees it beside the whole frame already. Boxes differ by frame and may be absent; absent ones get weight 0, so that
nothing here depends on values and the host never waits for the device.

Shapes: B clips, T frames, R places for boxes, H x W pixels of a frame, S x S of a cut-out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torchvision  # noqa: F401 (brings the kernel)
from torch import Tensor, nn

from trainer.config.schema import show
from trainer.errors import DataError
from vid2vid.config import ModelConfig, Region
from vid2vid.model.discriminators import MultiscaleDiscriminator

_NUMBERS = 1 << 16  # that labels and instances may have


class RegionDiscriminators(nn.ModuleDict):
    """One PatchGAN at one scale for each kind of region: a cut-out is small, a coarser view of it is D_I's."""

    def __init__(self, model: ModelConfig) -> None:
        sizes = (model.ndf, 1, model.discriminator_layers, model.norm)
        super().__init__({kind.value: MultiscaleDiscriminator(3, *sizes) for kind in model.regions})

    def forward(self, cut_outs: Tensor, kind: Region) -> list[list[Tensor]]:
        """Features as of ``MultiscaleDiscriminator`` for cut-outs (N, 3, S, S) of one kind."""
        return self[kind.value](cut_outs)


def places(kind: Region, model: ModelConfig) -> int:
    """R of one kind: a face, two hands, or one box for each of ``model.region_labels``."""
    return {Region.face: 1, Region.hands: 2, Region.labels: len(model.region_labels)}[kind]


def find_boxes(model: ModelConfig, data: Mapping[str, Tensor], frames: int) -> dict[Region, Tensor]:
    """The boxes of every kind in the last ``frames`` frames of a segment.

    Args:
        data: ``regions`` (B, T, R, 4) of the kinds that come with the data, in the order of ``model.regions``
            (``vid2vid.data.landmarks.regions``); ``labels`` and, if known, ``instances`` (B, T, H, W) for `labels`.

    Returns:
        (B, T, R, 4) by kind, see ``cut_out``.

    Raises:
        DataError: faces or hands are wanted of data without landmarks.
    """
    if "regions" not in data and any(kind is not Region.labels for kind in model.regions):
        raise DataError(
            f"model.regions={show(model.regions)}: the boxes of faces and hands come with landmarks, and these data "
            "have none; regions=[labels] finds boxes in label maps, [] is without"
        )
    found, start = {}, 0
    for kind in model.regions:
        count = places(kind, model)
        if kind is Region.labels:
            instances = data["instances"][:, -frames:] if "instances" in data else None
            found[kind] = label_boxes(data["labels"][:, -frames:], model.region_labels, instances)
        else:
            found[kind] = data["regions"][:, -frames:, start : start + count].float()
            start += count
    return found


def label_boxes(labels: Tensor, ids: Sequence[int], instances: Tensor | None = None) -> Tensor:
    """The box around the largest instance of each label, or around all its pixels where instances are not known.

    Args:
        labels: (B, T, H, W) ids.
        ids: R labels.
        instances: (B, T, H, W) ids of any numbering, of which the lowest 16 bits tell one from another.

    Returns:
        (B, T, R, 4); NaN where a frame has none.
    """
    boxes = []
    for label in ids:
        mask = (labels.long() & (_NUMBERS - 1)) == label  # int16 holds ids of over 32767 as negative ones
        if instances is not None:
            mask = _largest(mask, instances)
        rows, columns = mask.any(-1).byte(), mask.any(-2).byte()
        top, left = rows.argmax(-1), columns.argmax(-1)
        bottom = rows.shape[-1] - rows.flip(-1).argmax(-1)
        right = columns.shape[-1] - columns.flip(-1).argmax(-1)
        box = torch.stack([left, top, right, bottom], dim=-1).float()
        boxes.append(box.masked_fill(~mask.flatten(-2).any(-1, keepdim=True), torch.nan))
    return torch.stack(boxes, dim=-2)


def _largest(mask: Tensor, instances: Tensor) -> Tensor:
    """The part of a mask (B, T, H, W) that belongs to the instance with most of its pixels, frame by frame."""
    numbers = (instances.long() & (_NUMBERS - 1)).flatten(0, 1).flatten(1)  # (frames, pixels)
    frames = torch.arange(len(numbers), device=numbers.device)[:, None] * _NUMBERS
    counts = torch.zeros(len(numbers) * _NUMBERS, dtype=torch.long, device=numbers.device)
    counts.scatter_add_(0, (frames + numbers).flatten(), mask.flatten().long())
    best = counts.view(len(numbers), _NUMBERS).argmax(1, keepdim=True)
    return mask & (numbers == best).view(mask.shape)


def side(height: int) -> int:
    """S for frames of ``height``: a quarter of it in steps of 8 pixels, as in the released code."""
    return max(height // 32, 1) * 8


def squares(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes made square about their centres, within the frame where it has room.

    Args:
        boxes: (..., 4), see ``cut_out``.
        size: (H, W).

    Returns:
        The squares, and (...) 1 for a box that is there, 0 for an absent one, whose square is the frame's corner.
    """
    height, width = size
    left, top, right, bottom = boxes.unbind(-1)
    x, y = (left + right) / 2, (top + bottom) / 2
    there = (right > left) & (bottom > top) & (x >= 0) & (x < width) & (y >= 0) & (y < height)  # false for NaN
    longer = torch.where(there, torch.maximum(right - left, bottom - top), 1.0).clamp(max=min(height, width))

    def first(centre: Tensor, end: int) -> Tensor:
        return torch.minimum((torch.where(there, centre, 0.0) - longer / 2).clamp(min=0), end - longer)

    x, y = first(x, width), first(y, height)
    return torch.stack([x, y, x + longer, y + longer], dim=-1), there.to(boxes.dtype)


def cut_out(frames: Tensor, boxes: Tensor) -> Tensor:
    """Every box of every frame as a picture of its own, (B * T * R, 3, S, S) in float32, the boxes of a frame together.

    Args:
        frames: (B, T, 3, H, W).
        boxes: (B, T, R, 4), the left, upper, right and lower edge in pixels; 0, 0, W, H is the whole frame. Absent
            where NaN, empty, or centred outside.
    """
    size = (frames.shape[-2], frames.shape[-1])
    rois = squares(boxes, size)[0].flatten(0, 1)
    number = torch.arange(len(rois), device=boxes.device, dtype=boxes.dtype).view(-1, 1, 1).expand(-1, rois.shape[1], 1)
    rois = torch.cat([number, rois], dim=-1).flatten(0, 1)
    # As many samples to a pixel as it covers: what is made smaller is averaged.
    # The kernel itself: in deterministic runs torchvision would compile a form that looks at all of a frame for each
    # pixel of a cut-out. As grid_sample, the kernel warns by name there.
    cut = side(size[0])
    return torch.ops.torchvision.roi_align(frames.flatten(0, 1).float(), rois, 1.0, cut, cut, -1, True)


def weights_of(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """What each cut-out of ``cut_out`` counts: 1, or 0 where there is none; (B * T * R)."""
    return squares(boxes, size)[1].flatten()
