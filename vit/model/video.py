"""A ViT on clips (ViViT; Arnab et al., 2021, arXiv:2103.15691): what is looked at together in space and time.

``model.space_time`` chooses among the paper's models 1, 2 and 3: ``joint`` attention of all tokens of a clip; a
``factorised_encoder``, in which the network of pictures looks at each step and a few further blocks at what it pooled
from them; ``factorised_attention``, in which each block attends within steps, then through time.

Otherwise than there, tokens before the patches (the class token) stand in every step, positions are a table of places
(of the network of pictures) plus one of steps, and answers are the mean over steps. So with weights of pictures, a
still clip is answered exactly as its picture (``model.inflation=central``, and ``mean``), whichever of the three.

Shapes: B clips of F frames in T' steps of t frames, S = prefix + N tokens of width D a step, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from trainer.errors import UserError
from vit.config import SpaceTime
from vit.model.architecture import Architecture
from vit.model.layers import fit_images
from vit.model.transformer import VisionTransformer


class VideoTransformer(VisionTransformer):
    """Clips (B, F, C, H, W), normalised, to logits (B, K).

    Several views of each (B, V, F, C, H, W) are answered with the mean of their logits.

    Args:
        arch: with ``frames`` above 1.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if x.ndim < 6:
            return super().forward(x)
        answers = super().forward(x.flatten(0, 1))
        assert isinstance(answers, Tensor)  # no network of clips has two heads
        return answers.unflatten(0, x.shape[:2]).mean(1)

    def representation(self, x: Tensor) -> Tensor:
        """What the head reads: clips to (B, R), of several views their mean."""
        if x.ndim < 6:
            return super().representation(x)
        return super().representation(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)

    def embed(self, x: Tensor) -> Tensor:
        """Clips to the first block's tokens: (B, T' S, D), step by step; of a factorised encoder (B T', S, D).

        Raises:
            UserError: not ``arch.frames`` frames.
        """
        arch = self.arch
        if x.ndim != 5 or x.shape[1] != arch.frames:
            raise UserError(f"the network looks at clips of {arch.frames} frames (model.frames), and got {_told(x)}")
        frames = fit_images(x.flatten(0, 1), arch.patch, arch.fit)
        positions = self.positions((frames.shape[-2] // arch.patch, frames.shape[-1] // arch.patch))
        if arch.tubelet > 1:
            patches = self.patch_embed(frames.unflatten(0, (-1, arch.frames))).flatten(0, 1)
        else:
            patches = self.patch_embed(frames)
        tokens = self.with_positions(patches, positions)  # (B T', S, D)
        if arch.space_time is SpaceTime.factorised_encoder:
            return tokens
        tokens = tokens.unflatten(0, (-1, arch.steps))
        if self.time_embed is not None:
            tokens = tokens + self.time_embed[:, :, None]
        return tokens.flatten(1, 2)

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens of ``forward_features`` to features of clips: as of pictures in every step, then their mean.

        In a factorised encoder the steps' features pass through further blocks first.
        """
        steps = self.arch.steps
        if self.arch.space_time is not SpaceTime.factorised_encoder:
            return super().pool(tokens.unflatten(1, (steps, -1)).flatten(0, 1)).unflatten(0, (-1, steps)).mean(1)
        found = super().pool(tokens).unflatten(0, (-1, steps))  # (B, T', R)
        if self.time_blocks is not None:
            assert self.time_embed is not None
            found = found + self.time_embed
            for block in self.time_blocks:  # no norm behind them: the network begins as that of pictures
                found = block(found)
        return found.mean(1)

    def _tokens_read(self, x: Tensor) -> int | None:
        return super()._tokens_read(x) if self.arch.space_time is SpaceTime.factorised_encoder else None

    def forward_intermediates(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Of networks of pictures alone.

        Raises:
            UserError: always.
        """
        raise UserError(f"tokens of blocks are read of networks of pictures; this one sees {self.arch.frames} frames")

    def attention_maps(self, x: Tensor, blocks: Iterable[int] | None = None) -> list[Tensor]:
        """Of networks of pictures alone.

        Raises:
            UserError: always.
        """
        raise UserError(f"attention is shown of networks of pictures; this one sees {self.arch.frames} frames")


def network(arch: Architecture) -> VisionTransformer:
    """The network of an architecture: of pictures, or of clips."""
    return VideoTransformer(arch) if arch.frames > 1 else VisionTransformer(arch)


def clip_frames(model: nn.Module) -> int:
    """Frames of the clips that a classifier looks at; 1: it looks at pictures (B, C, H, W)."""
    return model.arch.frames if isinstance(model, VideoTransformer) else 1


def input_shape(model: nn.Module, picture: tuple[int, int, int]) -> tuple[int, ...]:
    """(C, H, W) of a picture as a sample of it is shaped: (F, C, H, W) for networks of clips."""
    frames = clip_frames(model)
    return picture if frames == 1 else (frames, *picture)


def _told(x: Tensor) -> str:
    if x.ndim == 5:
        return f"{x.shape[1]}"
    return f"an input of {x.ndim} dimensions instead of (B, F, C, H, W)"
