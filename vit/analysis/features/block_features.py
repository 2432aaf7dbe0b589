"""What a network knows at each depth, as one vector per picture: class tokens, means of patches, pooled stages.

Naseer et al., "Intriguing Properties of Vision Transformers", 2021, section 3.5, concatenates the class tokens of
several blocks, each through the network's last norm. Blocks are counted from 1, as the paper counts them; of a network
that is no plain ViT (a CNN, Swin) they are the stages whose feature maps timm gives out.

Shapes: B pictures, T tokens (P prefix tokens first), width D.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError
from vit.model.timm_model import TimmClassifier, bare
from vit.model.transformer import VisionTransformer


class Tokens(Enum):
    pooled = "pooled"  # what the head would read if the network ended there; of a CNN's stage: the mean over places
    cls = "cls"  # the class token
    patch_mean = "patch_mean"
    both = "both"  # the class tokens, and the mean patch token of the last of the blocks


@dataclass(frozen=True, order=True)
class Piece:
    """One vector of a picture.

    Attributes:
        kind: ``pooled``, ``cls`` or ``patch_mean``.
        block: from 1.
        norm: through the network's last norm; ``pooled`` always is.
    """

    kind: str
    block: int
    norm: bool = True

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.kind}-{self.block}" + ("" if self.norm else "-raw")


def depth(model: nn.Module) -> int:
    """How many blocks of a ViT, or stages of another network, can be looked at."""
    if is_vit(model):
        blocks: Any = bare(model).blocks
        return len(blocks)
    if hasattr(bare(model), "forward_intermediates"):
        return max(1, len(getattr(bare(model), "feature_info", [])))
    return 1


def chosen_blocks(text: str, model: nn.Module, label: str) -> list[int]:
    """Numbers of the blocks that ``all``, ``last``, ``last4``, ``9-12`` or ``12`` means of a network, in order.

    Args:
        label: of the network, for the message.

    Raises:
        ConfigError: it is none of these, or the network has no such block.
    """
    have, text = depth(model), text.strip()
    if text == "all":
        return list(range(1, have + 1))
    last = re.fullmatch(r"last(\d*)", text)
    span = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if last:
        count = int(last[1] or 1)
        low, high = have - count + 1, have
    elif span:
        low, high = int(span[1]), int(span[2] or span[1])
    else:
        raise ConfigError(f"blocks: '{text}' is none; give all, last, last4, 9-12 or 12")
    if not 1 <= low <= high <= have:
        what = "blocks" if is_vit(model) else "stages"
        raise ConfigError(
            f"blocks: {text} is not in {label}, which has {have} {what}, 1-{have}; last and all are in every network"
        )
    return list(range(low, high + 1))


def pieces(tokens: Tokens, blocks: Sequence[int], norm: bool, model: nn.Module, label: str) -> list[Piece]:
    """The vectors that stand side by side for some blocks.

    Raises:
        ConfigError: the network has no such tokens.
    """
    if tokens is not Tokens.pooled and not is_vit(model):
        raise ConfigError(
            f"tokens={tokens.name}: {label} is a {type(bare(model)).__name__}, which has no tokens of its own; "
            "tokens=pooled takes the mean of each stage's feature maps"
        )
    if tokens in (Tokens.cls, Tokens.both) and not _class_token(model):
        raise ConfigError(f"tokens={tokens.name}: {label} has no class token; give tokens=patch_mean or pooled")
    if tokens is Tokens.both:
        return [*(Piece("cls", block, norm) for block in blocks), Piece("patch_mean", blocks[-1], norm)]
    return [Piece(tokens.value, block, norm or tokens is Tokens.pooled) for block in blocks]


def features(model: nn.Module, x: Tensor, wanted: Collection[Piece]) -> dict[Piece, Tensor]:
    """The vectors of pictures.

    Args:
        x: (B, C, H, W), normalised.
        wanted: of ``pieces``.

    Returns:
        (B, D of the block) floating, of each.
    """
    if is_vit(model):
        return _of_tokens(model, x, wanted)
    have = depth(model)
    if all(piece.block == have for piece in wanted):
        assert isinstance(model, TimmClassifier)
        return dict.fromkeys(wanted, model.representation(x))
    net: Any = bare(model)
    final, maps = net.forward_intermediates(x, indices=sorted({piece.block - 1 for piece in wanted}), norm=False)
    stages = dict(zip(sorted({piece.block for piece in wanted}), maps, strict=True))
    return {
        piece: net.forward_head(final, pre_logits=True) if piece.block == have else stages[piece.block].mean((2, 3))
        for piece in wanted
    }


def _of_tokens(model: nn.Module, x: Tensor, wanted: Collection[Piece]) -> dict[Piece, Tensor]:
    net: Any = bare(model)
    found: dict[Piece, Tensor] = {}
    for number, tokens, first in _tokens_after(net, x, {piece.block for piece in wanted}):
        normed = net.norm(tokens)
        for piece in (piece for piece in wanted if piece.block == number):
            own = normed if piece.norm else tokens
            if piece.kind == "pooled":
                found[piece] = net.forward_head(own, pre_logits=True)
            else:
                found[piece] = own[:, 0] if piece.kind == "cls" else own[:, first:].mean(dim=1)
    return found


def head_on_blocks(model: nn.Module, x: Tensor, blocks: Sequence[int]) -> dict[int, Tensor]:
    """What a ViT's own head says after each block as if it were the last: logits (B, K); of the last: the network's.

    Args:
        x: (B, C, H, W), normalised.
        blocks: from 1.
    """
    net: Any = bare(model)
    return {number: net.forward_head(net.norm(tokens)) for number, tokens, _ in _tokens_after(net, x, blocks)}


def _tokens_after(net: Any, x: Tensor, blocks: Collection[int]) -> Iterator[tuple[int, Tensor, int]]:
    """(number of the block, its tokens (B, T, D), P) of each, before the last norm."""
    numbers = sorted(set(blocks))
    given = net.forward_intermediates(
        x,
        indices=[number - 1 for number in numbers],
        return_prefix_tokens=True,
        norm=False,
        stop_early=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    for number, item in zip(numbers, given, strict=True):
        patches, prefix = item if isinstance(item, tuple | list) else (item, item[:, :0])
        yield number, torch.cat([prefix, patches], dim=1), prefix.shape[1]


def is_vit(model: nn.Module) -> bool:
    """Whether it is a plain ViT, ours or timm's: a row of blocks with tokens of one width, and a head behind."""
    if isinstance(model, VisionTransformer):
        return True
    from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer

    return isinstance(bare(model), TimmVisionTransformer)


def _class_token(model: nn.Module) -> bool:
    return getattr(bare(model), "cls_token", None) is not None
