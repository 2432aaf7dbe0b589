"""Decoding of no more of a picture than is used: a part of a JPEG, or its bytes for a card to decode."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from trainer.data.pictures.decode import Span, decode
from trainer.data.pictures.guarded import check_pixels, check_scans
from trainer.data.pictures.opening import JPEG_MAGIC
from vit.data.decoding import turbo
from vit.data.decoding.crop_plan import Part
from vit.data.decoding.jpeg import ordinary


def decode_part(
    data: bytes | bytearray, name: str | Path, channels: int, span: Span | None = None, part: Part | None = None
) -> Tensor:
    """`trainer.data.pictures.decode.decode`, or of an ordinary JPEG the part that is needed where that saves work.

    Args:
        part: of the picture, which is asked for its plan where only that is given; see there.

    Raises:
        BadFileError: as `decode`.
    """
    is_jpeg = data.startswith(JPEG_MAGIC)
    saves = is_jpeg and part is not None and channels <= 3 and (part.encoded or turbo.available())
    size = ordinary(data) if saves else None
    if part is None or size is None:
        return decode(data, name, channels, span)
    check_pixels(*size, name)
    check_scans(data, name)
    plan = part.of(size)
    if part.encoded:
        writable = data if isinstance(data, bytearray) else bytearray(data)  # torch warns of memory that is not
        return torch.frombuffer(writable, dtype=torch.uint8)
    window = turbo.window(data, plan.box, channels)
    if window is None:
        top, left, height, width = plan.box
        window = decode(data, name, channels)[:, top : top + height, left : left + width]
    return window
