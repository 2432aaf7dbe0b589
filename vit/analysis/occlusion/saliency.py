"""Where a ViT looks: the attention of its last block, from the class token to the patches, as a mass on pictures.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, section 3.1: what holds most of the attention is
taken for the foreground. Any network can then be shown pictures without it. Shapes: B pictures of H x W pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.checkpoint.digest import add_weights
from trainer.data.pictures.decode import to_channels
from trainer.device.compute import Compute
from trainer.errors import ConfigError
from vit.analysis.attention.measures import asked, row_of
from vit.analysis.attention.taps import Taps
from vit.analysis.occlusion.cells import resized, spread
from vit.analysis.subjects import Subject, built_as
from vit.config import Fit
from vit.encoding import normalise
from vit.model.transformer import VisionTransformer
from vit.trained import load_run_model, load_weights_model


@dataclass
class Saliency:
    """A ViT whose attention tells what is salient. It sees pictures at its own size, by its own mean and deviation.

    Attributes:
        name: where it is from.
        model: in eval mode, on the device.
        mean, std: its input normalisation, on a scale of 0..1.
        size: (height, width) in pixels.
        head: of its attention, counted from 0; None: the mean of all.

    Raises:
        UserError: it has no attention between patches.
    """

    name: str
    model: nn.Module
    mean: list[float]
    std: list[float]
    size: tuple[int, int]
    head: int | None

    def __post_init__(self) -> None:
        self._taps = Taps(self.model, self.name)
        self.tokens = self._taps.tokens(self.size)

    @property
    def told(self) -> str:
        """What tells it from others, short."""
        digest = hashlib.sha256(repr((self.mean, self.std, self.size, built_as(self.model))).encode())
        add_weights(digest, self.model)
        return f"{self.name} {digest.hexdigest()[:8]} head {'mean' if self.head is None else self.head}"

    def patches(self, pixels: Tensor) -> Tensor:
        """Attention to the patches of pictures, summing to 1 for each.

        Without a class token it is what all patches pay on average.

        Args:
            pixels: (B, C, H, W), 0..255, uint8 or floating; on the device.

        Returns:
            (B, rows, columns) float64.

        Raises:
            ConfigError: there is no such head.
        """
        if pixels.shape[1] != len(self.mean):
            pixels = self._in_own_channels(pixels)
        pixels = resized(pixels, self.size)
        seen: list[Tensor] = []
        with self._taps.open(lambda block, weights: seen.append(weights), [self._taps.depth - 1]):
            self.model(normalise(pixels, self.mean, self.std))
        weights = seen[0]
        if self.head is not None and self.head >= weights.shape[1]:
            count = weights.shape[1]
            raise ConfigError(f"saliency_head={self.head}: {self.name} has {count} heads, 0 to {count - 1}, or mean")
        chosen = weights.mean(dim=1) if self.head is None else weights[:, self.head]
        mass = asked(
            chosen.double(), row_of("mean" if self.tokens.cls is None else "cls", self.tokens, self.name), self.tokens
        )
        return (mass / mass.sum(dim=1, keepdim=True)).unflatten(1, self.tokens.grid)

    def _in_own_channels(self, pixels: Tensor) -> Tensor:
        have, wanted = pixels.shape[1], len(self.mean)
        if have not in (1, 3) or wanted not in (1, 3, 4):
            raise ConfigError(
                f"saliency: {self.name} sees {wanted} channels, the pictures have {have}; give one that sees {have}"
            )
        found = [to_channels(picture, wanted) for picture in pixels.cpu().round().byte()]
        return torch.stack(found).to(pixels.device)

    def pixels(self, pixels: Tensor) -> Tensor:
        """The same of each pixel, (B, H, W): a patch's mass lies evenly on it; pixels in no patch have none."""
        height, width = pixels.shape[-2:]
        mass = spread(framed(self.patches(pixels), self.model, self.size), (height, width))
        return mass / mass.sum(dim=(1, 2), keepdim=True)


def framed(mass: Tensor, model: nn.Module, size: tuple[int, int]) -> Tensor:
    """A value for each patch as one for each part of the picture.

    Where patches do not cover the picture evenly (``model.fit`` of pad or crop) these are its pixels, with every patch
    in its place and 0 where there is none; else the patches themselves.

    Args:
        mass: (B, rows, columns).
        model: whose patches they are.
        size: (height, width) of its pictures in pixels.

    Returns:
        (B, *size) or ``mass``.
    """
    arch = model.arch if isinstance(model, VisionTransformer) else None
    if arch is None or arch.fit not in (Fit.pad, Fit.crop):
        return mass
    rows, columns = (count * arch.patch for count in mass.shape[1:])
    height, width = size
    top, left = ((height - rows) // 2, (width - columns) // 2) if arch.fit is Fit.crop else (0, 0)
    mass = mass.repeat_interleave(arch.patch, 1).repeat_interleave(arch.patch, 2)
    return F.pad(mass, (left, width - columns - left, top, height - rows - top))  # less than 0 cuts off


def load_saliency(source: str, head: int | None, compute: Compute) -> Saliency:
    """The ViT of a run, a checkpoint or a weights file; it needs no head for classes.

    Raises:
        UserError: there is none, or it has no attention between patches.
    """
    path = Path(source).expanduser()
    if (path / "config.yaml").is_file():
        model, _, meta = load_run_model(path)
    else:
        model, meta = load_weights_model(source, headless=True)
    height, width = meta["resolution"]
    mean, std = list(meta["mean"]), list(meta["std"])
    return Saliency(path.name or source, model.to(compute.device), mean, std, (height, width), head)


def own_saliency(subject: Subject, head: int | None) -> Saliency:
    """A subject's own attention.

    Raises:
        UserError: it has no attention between patches.
    """
    loaded = subject.loaded
    return Saliency(subject.label, subject.model, list(loaded.mean), list(loaded.std), subject.size, head)
