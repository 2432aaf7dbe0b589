"""Attention weights of a classifier, taken while it looks at pictures. Without anybody looking, nothing changes.

Of our networks they are recomputed from queries and keys beside the ordinary pass. timm's are asked to take their
explicit path for the while, which has the weights in its hands, with rotary and relative positions already in them.

Shapes: B pictures, H heads, T tokens of which P stand before the N = rows x columns patches, rows first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from trainer.errors import UserError
from vit.model.architecture import patch_grid
from vit.model.layers import AttentionPool, Block
from vit.model.timm_model import bare
from vit.model.transformer import VisionTransformer

WHICH = (
    "plain Vision Transformers have attention maps: our vit_* models, and of timm's the vit_*, deit*, eva* and beit* "
    "(among them the weights of DINO, DINOv2, DINOv3, SigLIP and MAE)"
)
Take = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Tokens:
    """What the tokens of a picture are.

    Attributes:
        grid: rows and columns of patches.
        patch: (height, width) of one in pixels.
        cls, dist: rows of the class and the distillation token; None: there is none.
        registers: rows of the registers.
        prefix: tokens P before the patches.
    """

    grid: tuple[int, int]
    patch: tuple[int, int]
    cls: int | None
    dist: int | None
    registers: range
    prefix: int

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]


class Taps:
    """Where the attention weights of a network are.

    Args:
        model: the network.
        label: what errors call it.

    Attributes:
        depth: blocks.

    Raises:
        UserError: it is no plain ViT; says which are.
    """

    def __init__(self, model: nn.Module, label: str) -> None:
        self.model, self.label = model, label
        net = bare(model)
        if not (isinstance(net, VisionTransformer) or _is_timms(net)):
            raise UserError(f"{label} is a {type(net).__name__}, which has no attention between patches: {WHICH}")
        self.net: Any = net
        if isinstance(net, VisionTransformer) and net.arch.frames > 1:
            raise UserError(
                f"{label} sees clips of {net.arch.frames} frames; attention maps are of networks of pictures"
            )
        self._attention = [getattr(block, "attn", None) for block in self.net.blocks]
        if not all(hasattr(part, "maps") or hasattr(part, "fused_attn") for part in self._attention):
            raise UserError(f"{label}: its blocks ({type(self.net.blocks[0]).__name__}) keep their attention to "
                            f"themselves; {WHICH}")  # fmt: skip
        self.depth = len(self._attention)

    @property
    def pool(self) -> nn.Module | None:
        """The attention pooling behind the blocks, if there is one."""
        return getattr(self.net, "attn_pool", None)

    def tokens(self, size: tuple[int, int]) -> Tokens:
        """What the tokens are of pictures of ``size`` (height, width) pixels."""
        if isinstance(self.net, VisionTransformer):
            arch = self.net.arch
            patch, registers = (arch.patch, arch.patch), arch.registers
            cls, dist, prefix = arch.class_token, arch.distilled, arch.prefix
            grid = patch_grid(size, arch.patch, arch.fit)
        else:
            down, across = self.net.patch_embed.feat_ratio(as_scalar=False)
            patch, prefix = (int(down), int(across)), int(self.net.num_prefix_tokens)
            cls = getattr(self.net, "cls_token", None) is not None
            dist = getattr(self.net, "dist_token", None) is not None
            registers = prefix - cls - dist
            grid = (-(-size[0] // patch[0]), -(-size[1] // patch[1]))
        first = int(cls) + int(dist)
        return Tokens(
            grid, patch, 0 if cls else None, int(cls) if dist else None, range(first, first + registers), prefix
        )

    @contextmanager
    def open(
        self, take: Take, blocks: Iterable[int], take_pool: Callable[[Tensor], None] | None = None
    ) -> Iterator[None]:
        """Within the ``with`` block, every pass of the network hands out its attention weights.

        Args:
            take: gets a block's number and its weights (B, H, T, T); a row is a query, and sums to 1. Blocks come in
                order.
            blocks: which ones, counted from 0.
            take_pool: gets those of the attention pooling, (B, H, tokens pooled).
        """
        with ExitStack() as stack:
            for number in blocks:
                part, block = self._attention[number], self.net.blocks[number]
                if isinstance(block, Block):
                    stack.enter_context(_hooked(block.attn, lambda maps, n=number: take(n, maps)))
                else:
                    stack.enter_context(_explicit(part, lambda maps, n=number: take(n, maps)))
            if take_pool is not None and self.pool is not None:
                stack.enter_context(_pooling(self.pool, take_pool))
            yield


def _is_timms(net: nn.Module) -> bool:
    from timm.models.beit import Beit
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer as TimmTransformer

    return isinstance(net, TimmTransformer | Eva | Beit)


@contextmanager
def _hooked(part: nn.Module, take: Callable[[Tensor], None]) -> Iterator[None]:
    """What a layer of ours attends to is computed from its input (``Attention.maps``)."""

    def look(module: Any, inputs: tuple[Any, ...]) -> None:
        take(module.maps(inputs[0]))

    handle = part.register_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _explicit(part: Any, take: Callable[[Tensor], None]) -> Iterator[None]:
    """timm's attention by explicit products, whose weights go through its dropout."""
    fused = part.fused_attn
    handle = part.attn_drop.register_forward_hook(lambda module, inputs, weights: take(weights))
    part.fused_attn = False
    try:
        yield
    finally:
        part.fused_attn = fused
        handle.remove()


@contextmanager
def _pooling(pool: nn.Module, take: Callable[[Tensor], None]) -> Iterator[None]:
    def look(module: Any, inputs: tuple[Any, ...]) -> None:
        take(module.maps(inputs[0]) if isinstance(module, AttentionPool) else _timms_pool(module, inputs[0]))

    handle = pool.register_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def _timms_pool(pool: Any, x: Tensor) -> Tensor:
    """What timm's ``AttentionPoolLatent`` attends to, the mean over its queries where it has several."""
    x = x if pool.pos_embed is None else x + pool.pos_embed.unsqueeze(0).to(x.dtype)
    q = pool.q(pool.latent.expand(x.shape[0], -1, -1)).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
    k = pool.kv(x).unflatten(-1, (2, pool.num_heads, -1))[:, :, 0].transpose(1, 2)
    weights = (pool.q_norm(q) * pool.scale) @ pool.k_norm(k).transpose(-2, -1)
    return weights.softmax(dim=-1).mean(dim=2)
