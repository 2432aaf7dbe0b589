"""A distilled network's two opinions: of the class token, and of the distillation token."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vit.analysis.subjects import Subject
from vit.model.transformer import VisionTransformer


class Token(Enum):
    """``auto``: as the model answers; ``cls``: the class token's head; ``dist``: the distillation token's; ``avg``:
    the mean of both, as a distilled model answers."""

    auto = "auto"
    cls = "cls"
    dist = "dist"
    avg = "avg"


@dataclass(frozen=True)
class Opinions:
    """Of a batch of B pictures.

    Attributes:
        cls, dist: logits (B, K) of either head.
        cosine: (B,) between the two tokens after the last norm.
    """

    cls: Tensor
    dist: Tensor
    cosine: Tensor

    def of(self, token: Token) -> Tensor:
        """Logits (B, K); ``auto`` is ``avg``."""
        return {Token.cls: self.cls, Token.dist: self.dist}.get(token, (self.cls + self.dist) / 2)


def is_distilled(model: nn.Module) -> bool:
    """Whether it has a distillation token with a head of its own; ours and timm's.

    LeViT and EfficientFormer have two heads on the same mean of all patches.
    """
    net: Any = getattr(model, "net", model)
    if getattr(net, "head_dist", None) is None:
        return False
    if isinstance(net, VisionTransformer):
        return True
    return 2 in (getattr(net, "num_prefix_tokens", None), getattr(net, "num_tokens", None))  # ViT's name, and PiT's


def opinions(subject: Subject, pixels: Tensor) -> Opinions:
    """What both tokens of a distilled network say of pictures (B, C, H, W), 0..255, on the device."""
    net: Any = getattr(subject.model, "net", subject.model)
    with subject.loaded.compute.amp():
        tokens = net.forward_features(subject.loaded.prepare(pixels))
        cls, dist = tokens[:, 0], tokens[:, 1]
        read = (net.probe_norm(cls), net.probe_norm(dist)) if isinstance(net, VisionTransformer) else (cls, dist)
        heads: tuple[Any, Any] = net.head, net.head_dist
        logits = heads[0](read[0]), heads[1](read[1])
    return Opinions(*logits, F.cosine_similarity(cls.float(), dist.float(), dim=1))
