"""JPEGs that are decoded where they are trained on (`data.decode=gpu`): by nvJPEG, through torchvision.

Workers read files and draw crops; the card decodes, cuts, resizes and mirrors. Pictures that are no ordinary JPEGs
(`vit.data.decoding.jpeg`) come decoded by the worker. nvJPEG repeats the colour of 4:2:0 files where the CPU's decoder
interpolates it, so edges between colours differ by some grey levels; luma is the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.data.collate import Late, LateBatch
from trainer.data.pictures.decode import decode
from trainer.device.free_memory import is_out_of_memory
from trainer.errors import ConfigError
from vit.data.decoding.crop_plan import Plan, Size

_PIXELS = 2**26  # decoded at a time: 200 MB, as many again in floats are alive picture by picture only


@dataclass(frozen=True)
class Waiting(Late):
    """A training picture on its way.

    Args:
        pixels: uint8 (C, H, W) at the run's resolution; or, with ``plan``, a JPEG, uint8 (N,).
        channels: 1 or 3.
        resolution: (height, width) of the result.
        plan: what becomes of a JPEG.
        size: (height, width) that it has.
        name: what errors call it.
    """

    pixels: Tensor
    channels: int
    resolution: Size
    plan: Plan | None = None
    size: Size = (0, 0)
    name: str = ""

    @staticmethod
    def together(entries: Sequence[Waiting]) -> WaitingBatch:
        files = [entry for entry in entries if entry.plan is not None]
        ready = [entry.pixels for entry in entries if entry.plan is None]
        return WaitingBatch(
            files=torch.cat([entry.pixels for entry in files]) if files else None,
            ends=torch.tensor([entry.pixels.numel() for entry in files]).cumsum(0).tolist(),
            plans=[entry.plan for entry in files if entry.plan is not None],
            sizes=[entry.size for entry in files],
            names=[entry.name for entry in files],
            ready=torch.stack(ready) if ready else None,
            is_file=[entry.plan is not None for entry in entries],
            channels=entries[0].channels,
            resolution=entries[0].resolution,
        )


@dataclass
class WaitingBatch(LateBatch):
    """A batch of them: all files in one piece of memory, and the pictures that are ready."""

    files: Tensor | None
    ends: list[int]
    plans: list[Plan]
    sizes: list[Size]
    names: list[str]
    ready: Tensor | None
    is_file: list[bool]
    channels: int
    resolution: Size

    def pin_memory(self) -> WaitingBatch:
        """For the DataLoader: what is copied to the card as it is; files are read by the host."""
        if self.ready is not None:
            self.ready = self.ready.pin_memory()
        return self

    def arrive(self, device: torch.device) -> Tensor:
        """The pictures, uint8 (B, C, H, W) on the device.

        Raises:
            ConfigError: there is no decoder there.
            BadFileError: a file that the CPU cannot decode, either.
        """
        require_decoder(device)
        return self.pictures(device)

    def pictures(self, device: torch.device) -> Tensor:
        """As `arrive`, on any device that torchvision decodes on."""
        parts = [self._resized(self._decoded(chosen, device), chosen) for chosen in self._chunks()]
        if self.files is not None:
            done = torch.cat(parts)
            flips = torch.tensor([plan.flip for plan in self.plans])
            flips = _moved(flips, device).view(-1, 1, 1, 1)
            parts = [torch.where(flips, done.flip(-1), done)]
        if self.ready is not None:
            parts.append(self.ready.to(device, non_blocking=True))
        if len(parts) == 1:
            return parts[0]
        # Files first, then the others, as above: back to their places.
        places = [i for i, file in enumerate(self.is_file) if file] + [i for i, f in enumerate(self.is_file) if not f]
        return torch.cat(parts)[_moved(torch.tensor(places).argsort(), device)]

    def _chunks(self) -> Iterator[range]:
        """Files that are decoded together, so that their pixels do not fill the card."""
        begin, pixels = 0, 0
        for index, (height, width) in enumerate(self.sizes):
            if pixels and pixels + height * width > _PIXELS:
                yield range(begin, index)
                begin, pixels = index, 0
            pixels += height * width
        if self.sizes:
            yield range(begin, len(self.sizes))

    def _file(self, index: int) -> Tensor:
        assert self.files is not None
        return self.files[self.ends[index - 1] if index else 0 : self.ends[index]]

    def _decoded(self, chosen: range, device: torch.device) -> list[Tensor]:
        """uint8 (C, h, w) each. One bad file fails a whole call, so then each is tried alone, in the end on the CPU."""
        files = [self._file(index) for index in chosen]
        try:
            return _decode(files, self.channels, device)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return [self._alone(index, file, device) for index, file in zip(chosen, files, strict=True)]

    def _alone(self, index: int, file: Tensor, device: torch.device) -> Tensor:
        try:
            return _decode([file], self.channels, device)[0]
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return decode(bytearray(file.numpy().tobytes()), Path(self.names[index]), self.channels).to(device)

    def _resized(self, pictures: Sequence[Tensor], chosen: range) -> Tensor:
        """The plans' boxes at the run's resolution, uint8 (N, C, H, W)."""
        resized = []
        for index, picture in zip(chosen, pictures, strict=True):
            plan = self.plans[index]
            top, left, height, width = plan.box
            part = picture[None, :, top : top + height, left : left + width].float()
            mode = "bicubic" if plan.cubic else "bilinear"
            resized.append(F.interpolate(part, self.resolution, mode=mode, antialias=True))
        return torch.cat(resized).round_().clamp_(0, 255).to(torch.uint8)


def _decode(files: Sequence[Tensor], channels: int, device: torch.device) -> list[Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg

    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    found = decode_jpeg(list(files), mode, device=device)
    assert isinstance(found, list)
    return found


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """To the device, without waiting for what it does."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


@cache
def require_decoder(device: torch.device) -> None:
    """Raise ConfigError unless JPEGs can be decoded on the device."""
    if device.type != "cuda":
        raise ConfigError(f"data.decode=gpu needs a CUDA device, and this run is on {device.type}: set data.decode=cpu")
    from torchvision.io import encode_jpeg

    try:
        grey: Any = encode_jpeg(torch.zeros(3, 16, 16, dtype=torch.uint8))
        _decode([grey], 3, device)
    except RuntimeError as error:
        raise ConfigError(
            f"data.decode=gpu: this torchvision has no decoder for {device} ({str(error).splitlines()[0]}): install a "
            "build for CUDA, as pytorch.org lists them, or set data.decode=cpu"
        ) from error
