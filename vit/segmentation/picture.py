"""A segmentation to be looked at: picture, truth, prediction, the prediction over the picture, and a legend.

Shapes: H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainer.records.confusion import NONE
from trainer.records.media import label_panel
from vit.segmentation.classes import Classes

WIDTH = 320  # pixels of each picture of a row
VOID_BYTE, VOID_WORD = 255, 65535  # of PNGs
OVERLAY = 0.55  # share of the classes' colours
_INK, _PAPER = (20, 20, 20), (255, 255, 255)
_SIDE, _GAP, _POINTS = 16, 8, 14  # pixels of the legend's squares, between its entries, and of its letters


@dataclass(frozen=True)
class Seen:
    """A judged picture.

    Attributes:
        image: uint8 (3, h, w), of any size.
        true: (H, W) classes, NONE for void.
        found: likewise.
        name: its file.
    """

    image: Tensor
    true: Tensor
    found: Tensor
    name: str


def overlaid(image: Tensor, colours: Tensor) -> Tensor:
    """Colours over a picture, both uint8 (H, W, 3)."""
    return torch.lerp(image.float(), colours.float(), OVERLAY).round().to(torch.uint8)


def sheet(seen: Sequence[Seen], classes: Classes, ious: Sequence[float | None] | None = None) -> Tensor:
    """Rows of picture | truth | prediction | overlay, above a legend of the classes: uint8 (H, W, 3).

    Args:
        ious: intersection over union by class, to stand in the legend; None of classes that do not occur.
    """
    rows = []
    for one in seen:
        picture, true, found = _cells(one, classes)
        cells = [picture, true, found, overlaid(picture, found)]
        rows.append(label_panel(cells, ["picture", "truth (black: void)", "prediction", "overlay"]))
    return torch.cat([*rows, legend(classes, 4 * WIDTH, ious)])


def known(seen: Sequence[Seen], classes: Classes) -> Tensor:
    """Rows of picture | mask | overlay of what is known, above a legend: uint8 (H, W, 3)."""
    rows = []
    for one in seen:
        picture, true, _ = _cells(one, classes)
        rows.append(label_panel([picture, true, overlaid(picture, true)], ["picture", "mask (black: void)", "overlay"]))
    return torch.cat([*rows, legend(classes, 3 * WIDTH)])


def _cells(one: Seen, classes: Classes) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, truth and prediction in one size, (H, W, 3)."""
    size = max(1, round(WIDTH * one.true.shape[0] / one.true.shape[1])), WIDTH
    image = F.interpolate(one.image[None].float(), size, mode="bilinear", antialias=True)[0]
    picture = image.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu()
    true, found = (classes.painted(_enlarged(part, size)) for part in (one.true, one.found))
    return picture, true, found


def legend(classes: Classes, width: int, ious: Sequence[float | None] | None = None) -> Tensor:
    """Squares in the classes' colours beside their names, in as many rows as they need: uint8 (H, width, 3)."""
    font = ImageFont.load_default(_POINTS)
    texts = list(classes.names)
    if ious is not None:
        texts = [
            f"{name} {'absent' if iou is None else format(iou, '.2f')}" for name, iou in zip(texts, ious, strict=True)
        ]
    places, left, top = [], _GAP, _GAP
    for text in texts:
        needed = _SIDE + 5 + round(font.getlength(text)) + 2 * _GAP
        if left + needed > width and left > _GAP:
            left, top = _GAP, top + _SIDE + _GAP
        places.append((left, top))
        left += needed
    strip = Image.new("RGB", (width, top + _SIDE + _GAP), _PAPER)
    draw = ImageDraw.Draw(strip)
    for (x, y), text, colour in zip(places, texts, classes.colours, strict=True):
        draw.rectangle((x, y, x + _SIDE, y + _SIDE), fill=colour, outline=_INK)
        draw.text((x + _SIDE + 5, y + _SIDE / 2), text, font=font, fill=_INK, anchor="lm")
    return torch.from_numpy(np.array(strip))


def index_png(found: Tensor, classes: Classes) -> Image.Image:
    """Classes (H, W) as a picture whose pixels are their numbers and whose palette their colours; 255 is void.

    More classes than a byte has beside 255 are 16 bits of grey without colours, and 65535 is void.
    """
    if len(classes) > VOID_BYTE:
        return Image.fromarray(torch.where(found == NONE, VOID_WORD, found).cpu().numpy().astype(np.uint16))
    made = Image.fromarray(torch.where(found == NONE, VOID_BYTE, found).cpu().numpy().astype(np.uint8))
    made.putpalette(classes.palette())
    return made


def _enlarged(classes: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(classes[None, None].float(), size, mode="nearest-exact")[0, 0].long()
