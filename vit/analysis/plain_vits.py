"""Inside a plain ViT, ours or timm's: what its blocks are given, and what the last layer of any classifier reads.

Shapes: B pictures, T = P + N tokens of width D, of which P stand before the patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from vit.model.architecture import patch_grid
from vit.model.timm_model import TimmClassifier
from vit.model.transformer import VisionTransformer


@dataclass(frozen=True)
class PlainVit:
    """What a plain ViT has.

    Attributes:
        blocks: in order; each takes and returns tokens (B, T, D).
        prefix: tokens before the patches.
        grid: (rows, columns) of patches.
    """

    blocks: Sequence[nn.Module]
    prefix: int
    grid: tuple[int, int]


def plain_vit(model: nn.Module, size: tuple[int, int]) -> PlainVit | None:
    """A network as a plain ViT that sees pictures of ``size`` (height, width); None: it is none."""
    if isinstance(model, VisionTransformer):
        arch = model.arch
        blocks: list[nn.Module] = list(model.blocks)
        return PlainVit(blocks, arch.prefix, patch_grid(size, arch.patch, arch.fit))
    if not isinstance(model, TimmClassifier):
        return None
    from timm.models.vision_transformer import VisionTransformer as TimmVit

    net: Any = model.net
    if not isinstance(net, TimmVit):
        return None
    rows, columns = net.patch_embed.dynamic_feat_size(size)  # its grid_size is that of the table of positions
    return PlainVit(list(net.blocks), net.num_prefix_tokens, (rows, columns))


@contextmanager
def with_tokens(block: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While open, a block is given changed tokens: ``change`` takes (B, T, D) and returns them, fewer of them maybe."""
    handle = block.register_forward_pre_hook(lambda module, args: (change(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


class HeadInput:
    """While open, keeps what a classifier's last layer reads: the class token of a ViT, pooled features of a CNN.

    Args:
        model: ``VisionTransformer`` or ``TimmClassifier``; of two heads (DeiT's, CrossViT's) the first is meant, that
            of the class token.
    """

    def __init__(self, model: nn.Module) -> None:
        self._layer = _last_layer(model)
        self._seen: list[Tensor] = []

    def __enter__(self) -> HeadInput:
        self._handle = self._layer.register_forward_pre_hook(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()
        self._seen.clear()

    def features(self) -> Tensor:
        """(B, R) float32 of the last pass."""
        return self._seen[0].flatten(1).float()

    def _see(self, module: nn.Module, args: Sequence[Tensor]) -> None:
        self._seen[:] = args[:1]


def _last_layer(model: nn.Module) -> nn.Module:
    if isinstance(model, VisionTransformer):
        assert model.head is not None
        return model.head
    assert isinstance(model, TimmClassifier)
    found: Any = model.net.get_classifier()  # type: ignore[operator]
    return found[0] if isinstance(found, tuple | nn.ModuleList) else found
