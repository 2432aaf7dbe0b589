"""Sources as pictures for people."""

from __future__ import annotations

from torch import Tensor

from vid2vid.config import DataConfig, ModelConfig
from vid2vid.data.sources.kinds import parse_sources, picture_channels


def as_picture(source: Tensor) -> Tensor:
    """One source as RGB: colours as they are, else its first channel in grey.

    Args:
        source: (..., C, H, W) of any type.
    Returns:
        (..., 3, H, W).
    """
    channels = source.shape[-3]
    return source if channels == 3 else source[..., :1, :, :].expand(*source.shape[:-3], 3, *source.shape[-2:])


def columns(source: Tensor, model: ModelConfig, data: DataConfig) -> dict[str, Tensor]:
    """Each of the pictures in a condition, by the name of its kind.

    Args:
        source: (..., C, H, W), as `ClipDataset` samples have it.
    Returns:
        (..., 3, H, W) by name, in order; "source" is the name of the only one.
    """
    entries = parse_sources(data)
    if len(entries) < 2:
        assert source.shape[-3] == picture_channels(model, data)
        return {"source": as_picture(source)}
    found: dict[str, Tensor] = {}
    for entry, part in zip(entries, source.split([entry.channels for entry in entries], dim=-3), strict=True):
        found[entry.kind if entry.kind not in found else entry.word] = as_picture(part)
    return found
