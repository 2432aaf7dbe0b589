"""Initial values of a ViT: as Google's JAX code draws them (flax.linen.initializers), or as timm does.

``jax``: every matrix Glorot-uniform, with query, key and value as matrices of their own (the fused one would get values
smaller by the square root of 2); patch and representation kernels LeCun-normal, truncated at two standard deviations
and corrected for the truncation; MLP biases normal with 1e-6; positions normal with 0.02; class token and head zero.
``timm``: truncated normal with 0.02, biases zero, the patch convolution as torch draws it.
What acts through time begins at zero under either (``vit.model.space_time``).

Shapes: N patches, D the width of a token, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vit.config import Init, PosEmbed
from vit.model.architecture import Architecture
from vit.model.layers import Attention, AttentionPool, Block, LayerScale, Linear, Mlp, PatchEmbed
from vit.model.positions import resample, sincos2d
from vit.model.space_time import SpaceTimeBlock, TubeletEmbed, begin_at_zero

TRUNCATED_STD = 0.87962566103423978  # of a unit normal cut off at two standard deviations
TINY_STD = 1e-6


def lecun_normal_(weight: Tensor) -> None:
    """Truncated normal of variance 1 / fan-in, exactly; torch's ``trunc_normal_`` leaves the truncation uncorrected."""
    std = (1 / weight[0].numel()) ** 0.5 / TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def _glorot(linear: Linear, matrices: int = 1) -> None:
    """Glorot-uniform for each of the matrices stacked in a layer; biases zero."""
    for part in linear.weight.chunk(matrices):
        nn.init.xavier_uniform_(part)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def _truncated(linear: Linear) -> None:
    nn.init.trunc_normal_(linear.weight, std=0.02)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def _mlp(mlp: Mlp, init: Init) -> None:
    for linear in (mlp.fc1, mlp.fc2):
        if init is Init.timm:
            _truncated(linear)
        else:
            _glorot(linear)
            nn.init.normal_(linear.bias, std=TINY_STD)


def _patches(embed: PatchEmbed | TubeletEmbed, init: Init) -> None:
    weight, bias = embed.proj.weight, embed.proj.bias
    assert bias is not None
    if init is Init.jax:
        lecun_normal_(weight)
        nn.init.zeros_(bias)
    else:
        bound = weight[0].numel() ** -0.5
        nn.init.uniform_(weight, -bound, bound)  # what kaiming_uniform_(a=sqrt(5)) comes to
        nn.init.uniform_(bias, -bound, bound)


def _attention(attention: Attention, init: Init) -> None:
    if init is Init.jax:
        _glorot(attention.qkv, 3)
        _glorot(attention.proj)
    else:
        _truncated(attention.qkv)
        _truncated(attention.proj)


def initialise_block(block: Block, init: Init, layer_scale: float | None) -> None:
    """A block's matrices, biases and scales; norms are left."""
    _attention(block.attn, init)
    _mlp(block.mlp, init)
    if isinstance(block, SpaceTimeBlock):
        _attention(block.attn_time, init)
        nn.init.zeros_(block.attn_time.proj.weight)
    for scale in (block.ls1, block.ls2):
        if isinstance(scale, LayerScale):
            assert layer_scale is not None
            nn.init.constant_(scale.gamma, layer_scale)


def _pool(pool: AttentionPool, init: Init) -> None:
    _mlp(pool.mlp, init)
    if init is Init.jax:
        bound = math.sqrt(6 / (1 + pool.latent.shape[-1]))  # Glorot of a (1, D) matrix
        nn.init.uniform_(pool.latent, -bound, bound)
        for linear, matrices in ((pool.q, 1), (pool.kv, 2), (pool.proj, 1)):
            _glorot(linear, matrices)
    else:
        std = pool.latent.shape[-1] ** -0.5 / TRUNCATED_STD
        nn.init.trunc_normal_(pool.latent, std=std, a=-2 * std, b=2 * std)
        for linear in (pool.q, pool.kv, pool.proj):
            _truncated(linear)


def initialise_head(head: Linear, init: Init, bias: float, std: float | None = None) -> None:
    """A head's weights, zero (``jax``: the first logits are ``bias``) or small (``timm``), and its constant bias.

    With ``std`` they are normal with that, truncated at 2 like torch's (MAE: 2e-5 to fine-tune, 0.01 for a probe).
    """
    if std is None:
        std = 0.0 if init is Init.jax else 0.02
    if std:
        nn.init.trunc_normal_(head.weight, std=std)
    else:
        nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, bias)


@torch.no_grad()
def initialise(model: Any) -> None:
    """Draws all weights from torch's global generator; does nothing on the meta device.

    Also fills the fixed table of positions, so that it can be called after ``to_empty``.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        return
    arch = model.arch
    _patches(model.patch_embed, arch.init)
    if model.cls_token is not None:
        nn.init.normal_(model.cls_token, std=0.0 if arch.init is Init.jax else TINY_STD)
    if model.dist_token is not None:
        nn.init.trunc_normal_(model.dist_token, std=0.02)  # DeiT; JAX has no such token
    if model.reg_token is not None:
        nn.init.normal_(model.reg_token, std=TINY_STD)
    if model.pos_embed is not None:
        model.pos_embed.copy_(_positions(arch, model.pos_embed.device))
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.BatchNorm1d):
            module.reset_parameters()
        elif isinstance(module, Block):
            initialise_block(module, arch.init, arch.layer_scale)
        elif isinstance(module, AttentionPool):
            _pool(module, arch.init)
    if model.time_embed is not None:
        nn.init.zeros_(model.time_embed)
    for block in model.time_blocks or ():
        begin_at_zero(block)
    if model.pre_logits.fc is not None:
        _representation(model.pre_logits.fc, arch.init)
    for head in (model.head, model.head_dist):
        if head is not None:
            initialise_head(head, arch.init, arch.head_bias, arch.head_std)


def _representation(linear: Linear, init: Init) -> None:
    if init is Init.jax:
        lecun_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
    else:
        _truncated(linear)


def _positions(arch: Architecture, device: torch.device) -> Tensor:
    """(1, prefix + N, D): the fixed table, or a learned one drawn at the coarsest stage's grid and resampled up."""
    if arch.pos_embed is not PosEmbed.learned:
        return sincos2d(arch.grid, arch.width, arch.pos_embed).to(device)
    rows = arch.position_prefix + arch.init_grid[0] * arch.init_grid[1]
    table = torch.empty(1, rows, arch.width, device=device)
    if arch.init is Init.jax:
        nn.init.normal_(table, std=0.02)
    else:
        nn.init.trunc_normal_(table, std=0.02)
    return resample(table, arch.init_grid, arch.grid, arch.position_prefix, arch.pos_interp)
