"""From any checkpoint that is known to a format: read, written, read back and compared bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.errors import CheckpointError, ConfigError
from trainer.text import few
from vit.preprocessing import given_statistics
from vit.weights.names.of_google import BIG_VISION, VISION_TRANSFORMER, Layout
from vit.weights.reading import read
from vit.weights.writing import write

LAYOUTS = {
    "auto": None,  # published; big_vision for what only that knows
    "published": VISION_TRANSFORMER,  # numbered through a block, as the files of vit_models are
    "linen": Layout(numbering="linen"),  # vision_transformer since flax linen
    "big_vision": BIG_VISION,
    "source": None,  # as the .npz file that was read
}


def convert(
    src: str | Path,
    dst: str | Path,
    format: str,
    *,
    layout: str = "auto",
    heads: int | None = None,
    resolution: tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Iterator[str]:
    """Convert a checkpoint; yields what there is to say, line by line, as it happens.

    Args:
        src: whatever ``read`` knows.
        dst: a file (npz, torchvision, safetensors) or a folder (timm, hf).
        format: of ``FORMATS``.
        layout: npz only, of ``LAYOUTS``.
        heads: attention heads, for files that do not tell.
        resolution: (height, width) of the pictures of src's position table, for files that do not tell.
        mean, std: of the input normalisation on a scale of 0..1, one or one per channel; they go before the file's.

    Raises:
        CheckpointError: src cannot be read, the format cannot hold it, or what was written does not read back as it
            should. ConfigError: an option that does not suit.
    """
    found = read(src, resolution)
    if heads is not None:
        if found.arch["width"] % heads:
            raise ConfigError(f"heads={heads}: does not divide the width {found.arch['width']} of {src}")
        found.arch["heads"] = heads
    channels = found.arch["in_channels"]
    found.mean = given_statistics(found.mean, mean, channels, "mean")
    found.std = given_statistics(found.std, std, channels, "std")
    yield f"read {src}"
    yield from (f"  {line}" for line in found.lines())
    face = LAYOUTS[layout]
    if layout == "source":
        if not found.layout:
            raise ConfigError(f"layout=source: {src} is no .npz file; give layout=published, linen or big_vision")
        face = Layout(**found.layout)
    if layout != "auto" and format != "npz":
        raise ConfigError(f"layout={layout}: only format=npz has layouts")
    written = write(
        found.state,
        found.arch,
        dst,
        format,
        classes=found.classes,
        **found.preprocessing.told(),
        layout=face,
    )
    yield f"wrote {dst} (format={format})"
    yield from (f"  {line}" for line in written.notes)
    compare(written.state, read(dst, resolution).state, str(dst))
    yield f"  read back: {len(written.state)} tensors, bitwise equal"


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """That tensors are equal in names, types, shapes and bits; CheckpointError with the first that is not."""
    names = sorted(set(expected) ^ set(found))
    if names:
        raise CheckpointError(f"{where} does not read back as written: {few(names, 4)} only on one side")
    for name, tensor in expected.items():
        other = found[name]
        if tensor.dtype != other.dtype or tensor.shape != other.shape or not torch.equal(_bits(tensor), _bits(other)):
            raise CheckpointError(f"{where} does not read back as written: {name} differs")


def _bits(tensor: Tensor) -> Tensor:
    """The bytes, so that NaN equals itself and the zeros differ."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
