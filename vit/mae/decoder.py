"""The decoder of a masked autoencoder: a small ViT that tells the pixels of every patch from the visible ones' tokens.

Shapes: B pictures, N patches of which M are visible, P tokens before them, D and d the widths of encoder and decoder.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from vit.config import PosEmbed, QkNorm
from vit.mae.config import MaskConfig
from vit.model.architecture import Architecture
from vit.model.initialisation import initialise_block
from vit.model.layers import Block, Linear
from vit.model.positions import sincos2d

MLP_RATIO = 4


class Decoder(nn.Module):
    """Tokens of visible patches (B, P + M, D) to pixels of all patches (B, N, p p C).

    Where a patch is masked stands one learned token; all have fixed positions of their own (He et al., 2021, 3).

    Args:
        arch: of the encoder.
        config: of the decoder. Weights are drawn from torch's global generator.
    """

    pos_embed: Tensor

    def __init__(self, arch: Architecture, config: MaskConfig) -> None:
        super().__init__()
        own = replace(
            arch,
            width=config.decoder_width,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
            mlp=MLP_RATIO * config.decoder_width,
            drop_path=0.0,
            dropout=0.0,
            attention_dropout=0.0,
            layer_scale=None,
            qk_norm=QkNorm.none,
        )
        self.prefix, self.grid, self.width = arch.prefix, arch.grid, own.width
        self.embed = Linear(arch.width, own.width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, own.width))
        self.register_buffer("pos_embed", sincos2d(arch.grid, own.width, PosEmbed.sincos2d_mae), persistent=False)
        self.blocks = nn.ModuleList(Block(own, 0.0) for _ in range(own.depth))
        self.norm = nn.LayerNorm(own.width, own.norm_eps)
        self.pixels = Linear(own.width, arch.patch**2 * arch.in_channels)
        for block in self.blocks:
            assert isinstance(block, Block)
            initialise_block(block, own.init, None)
        for linear in (self.embed, self.pixels):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, restore: Tensor, grid: tuple[int, int]) -> Tensor:
        """See the class.

        Args:
            tokens: of the encoder, visible patches in the order of the mask.
            restore: (B, N) int64, where each patch is among [visible, masked].
            grid: (rows, columns) of patches.
        """
        x = self.embed(tokens)
        prefix, visible = x[:, : self.prefix], x[:, self.prefix :]
        missing = restore.shape[1] - visible.shape[1]
        every = torch.cat([visible, self.mask_token.to(x.dtype).expand(len(x), missing, -1)], dim=1)
        every = every.gather(1, restore[..., None].expand(-1, -1, every.shape[2]))
        x = torch.cat([prefix, every + self._positions(grid)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.pixels(self.norm(x)[:, self.prefix :])

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        if grid == self.grid:
            return self.pos_embed
        return sincos2d(grid, self.width, PosEmbed.sincos2d_mae).to(self.pos_embed)
