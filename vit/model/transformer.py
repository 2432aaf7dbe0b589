"""The plain Vision Transformer (Dosovitskiy et al., 2021), with the options of its descendants.

Shapes: B pictures of C x H x W pixels, N patches, T = prefix + N tokens of width D, K classes, R features that the head
reads. Parameter names are timm's. Tokens are in the order class, distillation, registers, patches (rows first).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.utils.checkpoint import checkpoint

from trainer.device import fast_paths
from vit.config import Pool, PosEmbed
from vit.model.architecture import Architecture, architecture
from vit.model.initialisation import initialise
from vit.model.layers import AttentionPool, Block, Linear, PatchDropout, PreLogits, fit_images, keep_patches
from vit.model.positions import resample, sincos2d
from vit.model.space_time import blocks, embedding

__all__ = ["Architecture", "VisionTransformer", "architecture"]

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS = tuple(f"_global{name}" for name in HOOKS)
UNDECAYED = ("cls_token", "dist_token", "reg_token", "pos_embed", "time_embed", "attn_pool.latent")


class VisionTransformer(nn.Module):
    """Pictures (B, C, H, W), normalised, to logits (B, K); any H and W: positions are resampled from the stored table.

    With a distillation token (DeiT) the result is ``(logits, logits of the distillation head)`` while training and
    their mean in evaluation. Without classes it is the representation. With ``pool=none`` head and representation are
    those of each token: (B, T, ...).

    Args:
        arch: what to build; see ``architecture``. Weights are drawn from torch's global generator (not on ``meta``).
    """

    pos_embed: Tensor | None

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        width = arch.width
        self.patch_embed = embedding(arch)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width)) if arch.class_token else None
        self.dist_token = nn.Parameter(torch.empty(1, 1, width)) if arch.distilled else None
        self.reg_token = nn.Parameter(torch.empty(1, arch.registers, width)) if arch.registers else None
        table = torch.empty(1, arch.position_prefix + arch.patches, width)
        if arch.pos_embed is PosEmbed.learned:
            self.pos_embed = nn.Parameter(table)
        else:
            fixed = None if arch.pos_embed is PosEmbed.none else table
            self.register_buffer("pos_embed", fixed, persistent=False)
        self.time_embed = nn.Parameter(torch.empty(1, arch.steps, width)) if arch.steps > 1 else None
        self.pos_dropout = nn.Dropout(arch.dropout)
        self.patch_dropout = PatchDropout(arch.patch_dropout, arch.prefix)
        self.blocks = nn.ModuleList(blocks(arch))
        deeper = [Block(arch, arch.drop_path) for _ in range(arch.temporal_depth)]
        self.time_blocks = nn.ModuleList(deeper) if deeper else None
        self.norm = nn.Identity() if arch.pool_first else nn.LayerNorm(width, arch.norm_eps)
        self.attn_pool = AttentionPool(arch) if arch.pool is Pool.map else None
        self.fc_norm = nn.LayerNorm(width, arch.norm_eps) if arch.pool_first else nn.Identity()
        self.pre_logits = PreLogits(arch.pooled_width, arch.representation)
        self.probe_norm = nn.BatchNorm1d(arch.head_width, 1e-6, affine=False) if arch.probe_norm else nn.Identity()
        self.head = Linear(arch.head_width, arch.num_classes) if arch.num_classes else None
        self.head_dist = Linear(arch.head_width, arch.num_classes) if arch.num_classes and arch.distilled else None
        initialise(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.forward_head(self._features(x, self._tokens_read(x)))

    def forward_head(self, tokens: Tensor, pre_logits: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens (B, T, D) of ``forward_features`` to what ``forward`` gives; to the representation (B, R) with
        ``pre_logits``, as timm's method of the same name."""
        if self.head is None or pre_logits:
            return self.pre_logits(self.pool(tokens))
        if self.head_dist is None:
            return self.head(self.probe_norm(self.pre_logits(self.pool(tokens))))
        features = [self.probe_norm(self.pre_logits(tokens[:, index])) for index in (0, 1)]
        logits, dist_logits = self.head(features[0]), self.head_dist(features[1])
        return (logits, dist_logits) if self.training else (logits + dist_logits) / 2

    def forward_features(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """Pictures to tokens (B, T, D) after the last norm (before it with ``pool_first``).

        Args:
            kept: (B, M) int64: the patches that the blocks are given, the others never enter (MAE); None: all.
        """
        return self._features(x, None, kept)

    def _features(self, x: Tensor, tokens: int | None, kept: Tensor | None = None) -> Tensor:
        """``forward_features``, of the last block only the first ``tokens`` tokens (None: all)."""
        x = self.embed(x)
        if kept is not None:
            x = keep_patches(x, kept, self.arch.prefix)
        for index, block in enumerate(self.blocks, start=1):
            needed = tokens if index == len(self.blocks) else None
            x = self._through(block, x, needed)
        return self.norm(x)

    def _through(self, block: nn.Module, x: Tensor, tokens: int | None = None) -> Tensor:
        """A block, whose activations are computed again in the backward pass where ``checkpointing`` says so."""
        if self.arch.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, x, tokens, use_reentrant=False)
        return block(x, tokens)

    def _tokens_read(self, x: Tensor) -> int | None:
        """How many tokens, from the first on, pooling reads; None: all, or somebody looks at what lies before it."""
        if self.arch.pool is not Pool.cls or fast_paths.are_off() or isinstance(x, Proxy):
            return None
        if any(getattr(nn.modules.module, name) for name in GLOBAL_HOOKS):
            return None
        seen = (*self.blocks[-1].modules(), self.norm)
        if any(getattr(part, name) for part in seen for name in HOOKS):
            return None
        return 2 if self.arch.distilled else 1

    def embed(self, x: Tensor) -> Tensor:
        """Pictures to the first block's tokens (B, T, D): patches, positions, prefix, dropout."""
        if isinstance(x, Proxy):  # traced by torch.fx: a graph for pictures of the model's own size
            positions = self.pos_embed
        else:
            x = fit_images(x, self.arch.patch, self.arch.fit)
            positions = self.positions((x.shape[-2] // self.arch.patch, x.shape[-1] // self.arch.patch))
        return self.with_positions(self.patch_embed(x), positions)

    def with_positions(self, x: Tensor, positions: Tensor | None) -> Tensor:
        """Embedded patches (B, N, D) to the first block's tokens, the other tokens in front."""
        prefix = [token for token in (self.cls_token, self.dist_token) if token is not None]
        if positions is not None:
            rows = self.arch.position_prefix
            x = x + positions[:, rows:]
            if rows:
                prefix = [token + positions[:, index : index + 1] for index, token in enumerate(prefix)]
        if self.reg_token is not None:
            prefix.append(self.reg_token)
        if prefix:
            x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in prefix), x], dim=1)
        return self.patch_dropout(self.pos_dropout(x))

    def positions(self, grid: tuple[int, int]) -> Tensor | None:
        """The table (1, position_prefix + rows * columns, D) for a grid of patches; None where there is none."""
        arch = self.arch
        if self.pos_embed is None or grid == arch.grid:
            return self.pos_embed
        if arch.pos_embed is PosEmbed.learned:
            return resample(self.pos_embed, arch.grid, grid, arch.position_prefix, arch.pos_interp)
        return sincos2d(grid, arch.width, arch.pos_embed).to(self.pos_embed, non_blocking=True)

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, D) of ``forward_features`` to features (B, D); (B, 2 D) with ``cls_gap``.

        Class, distillation and register tokens stay out of means and ``map``; a distilled net's two are averaged.
        """
        arch = self.arch
        if self.attn_pool is not None:
            return self.attn_pool(tokens[:, arch.prefix :])
        if arch.pool is Pool.gap:
            return self.fc_norm(tokens[:, arch.prefix :].mean(dim=1))
        if arch.pool is Pool.cls_gap:
            return torch.cat([tokens[:, 0], tokens[:, arch.prefix :].mean(dim=1)], dim=1)
        if arch.pool is Pool.cls:
            return tokens[:, :2].mean(dim=1) if arch.distilled else tokens[:, 0]
        return tokens

    def representation(self, x: Tensor) -> Tensor:
        """What the head reads, and few-shot evaluation: pictures to (B, R); without representation layer as pooled."""
        return self.pre_logits(self.pool(self._features(x, self._tokens_read(x))))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Iterable[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The tokens after some of the blocks, called and returned as timm's method of the same name.

        Args:
            x: pictures (B, C, H, W), normalised.
            indices: of blocks, negative ones from the end; a number: so many last ones; None: all.
            return_prefix_tokens: with each a pair (patches, prefix tokens (B, P, D)).
            norm: through the last norm.
            stop_early: compute nothing behind the last one asked for.
            output_fmt: ``NCHW``: patches as (B, D, rows, columns); ``NLC``: (B, N, D).
            intermediates_only: without the final tokens.

        Returns:
            ``(tokens (B, T, D) after the last norm, list)``, or the list.

        Raises:
            IndexError: there is no such block. ValueError: another ``output_fmt``.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt={output_fmt!r}: NCHW or NLC")
        depth, patch, prefix = len(self.blocks), self.arch.patch, self.arch.prefix
        if isinstance(indices, int):
            if not 0 < indices <= depth:
                raise IndexError(f"indices={indices}: the network has {depth} blocks")
            indices = range(depth - indices, depth)
        needed = list(range(depth)) if indices is None else sorted({range(depth)[index] for index in indices})
        rows, columns = (side // patch for side in fit_images(x, patch, self.arch.fit).shape[-2:])
        found, x = [], self.embed(x)
        for index, block in enumerate(self.blocks):
            if stop_early and index > max(needed, default=-1):
                break
            x = self._through(block, x)
            if index in needed:
                tokens = self.norm(x) if norm else x
                patches = tokens[:, prefix:]
                if output_fmt == "NCHW":
                    patches = patches.transpose(1, 2).unflatten(2, (rows, columns)).contiguous()
                found.append((patches, tokens[:, :prefix]) if return_prefix_tokens else patches)
        return found if intermediates_only else (self.norm(x), found)

    def attention_maps(self, x: Tensor, blocks: Iterable[int] | None = None) -> list[Tensor]:
        """Attention (B, H, T, T) of each block asked for (None: all; negative ones count from the end); rows sum to 1.

        Raises:
            IndexError: there is no such block.
        """
        depth = len(self.blocks)
        needed = list(range(depth)) if blocks is None else [range(depth)[index] for index in blocks]
        found: dict[int, Tensor] = {}
        x = self.embed(x)
        for index, block in enumerate(self.blocks[: max(needed, default=-1) + 1]):
            assert isinstance(block, Block)
            if index in needed:
                found[index] = block.attn.maps(block.norm1(x))
            x = block(x)
        return [found[index] for index in needed]

    def no_weight_decay(self) -> set[str]:
        """Parameters of two or more dimensions that are no matrices: tokens, positions, the pooling's query."""
        return {name for name, _ in self.named_parameters() if name in UNDECAYED}

    def layer_ids(self) -> dict[str, int]:
        """Depth of every parameter: 0 patches, tokens, positions; 1..L the blocks; L + 1 what follows them."""
        return dict(self._layer_ids())

    def _layer_ids(self) -> Iterator[tuple[str, int]]:
        for name, _ in self.named_parameters():
            first, *rest = name.split(".")
            if first == "blocks":
                yield name, int(rest[0]) + 1
            elif first in ("patch_embed", "cls_token", "dist_token", "reg_token", "pos_embed", "time_embed"):
                yield name, 0
            else:
                yield name, self.arch.depth + 1
