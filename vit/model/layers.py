"""Layers that a plain ViT is made of (Dosovitskiy et al., 2021).

Shapes: B pictures of C x H x W pixels, N = h w patches of p x p pixels, T = P + N tokens of width D, of which P stand
before the patches; in attention H heads of width d; R features of a representation layer.

Weights are left undrawn: ``vit.model.initialisation`` draws them all, so that building costs nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import Proxy

from vit.config import AttentionKind, Fit, Gelu, QkNorm
from vit.model import cpu_kernels
from vit.model.architecture import Architecture, kept_patches, patch_grid

KEPT_ONLY_ABOVE = 0.1  # drop path computes a branch on kept pictures only from this rate on (DINOv2) ...
KEPT_ONLY_BATCH = 8  # ... and this batch size, below which the number kept would be too far from the rate


class Linear(nn.Linear):
    """``nn.Linear`` that draws no initial values, computed by ``vit.model.cpu_kernels``."""

    def reset_parameters(self) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:  # the name is nn.Linear's
        return cpu_kernels.linear(input, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that draws no initial values."""

    def reset_parameters(self) -> None:
        pass


class PatchEmbed(nn.Module):
    """Linear embedding of patches: (B, C, h p, w p) -> (B, h w, D), rows first.

    The weights are those of a convolution, (D, C, p, p), as in timm; it is computed as a matrix product, which is up to
    four times as fast (measured on a CPU: 21 instead of 95 ms forward and backward for 16 pictures, S/16 in bf16).
    """

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = Conv2d(in_channels, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(2, (-1, self.patch)).unflatten(4, (-1, self.patch))  # (B, C, h, p, w, p)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return cpu_kernels.linear(x, self.proj.weight.flatten(1), self.proj.bias)


def fit_images(images: Tensor, patch: int, fit: Fit) -> Tensor:
    """Pictures (B, C, H, W) at sides that the patch divides.

    ``pad`` adds zeros (the mean colour of normalised pictures) at the bottom and the right; ``crop`` keeps the centre;
    ``resize`` goes to the nearest multiples.

    Raises:
        UserError: see ``patch_grid``.
    """
    height, width = images.shape[-2:]
    if height % patch == 0 and width % patch == 0:
        return images
    rows, columns = (count * patch for count in patch_grid((height, width), patch, fit))
    if fit is Fit.pad:
        return F.pad(images, (0, columns - width, 0, rows - height))
    if fit is Fit.crop:
        top, left = (height - rows) // 2, (width - columns) // 2
        return images[..., top : top + rows, left : left + columns]
    return F.interpolate(images, (rows, columns), mode="bilinear", antialias=True)


class RMSNorm(nn.RMSNorm):
    """``nn.RMSNorm`` in the type of its input: torch warns, and is slow, where autocast makes that differ."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def _head_norm(kind: QkNorm, width: int, eps: float) -> nn.Module:
    if kind is QkNorm.none:
        return nn.Identity()
    return nn.LayerNorm(width, eps) if kind is QkNorm.layer else RMSNorm(width, eps)


class Attention(nn.Module):
    """Multi-head self-attention: (B, T, D) -> (B, T, D).

    Two paths compute the same: ``scaled_dot_product_attention``, and explicit products, which are also how attention
    maps are had. ``auto`` takes the one that was measured to be faster (``vit.model.cpu_kernels.default_attention``).

    ``forward(x, queries)`` computes the first ``queries`` tokens only (None: all); they attend to all.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        width, head = arch.width, arch.width // arch.heads
        self.heads = arch.heads
        self.path = arch.attention
        self.scale = head**-0.5
        self.qkv = Linear(width, 3 * width, bias=arch.qkv_bias)
        self.q_norm = _head_norm(arch.qk_norm, head, arch.norm_eps)
        self.k_norm = _head_norm(arch.qk_norm, head, arch.norm_eps)
        self.attention_dropout = arch.attention_dropout
        self.proj = Linear(width, width)
        self.dropout = nn.Dropout(arch.dropout)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        qkv = self.qkv(x)
        dropout = self.attention_dropout if self.training else 0.0
        explicit = self._explicit(qkv)
        if explicit and not dropout and queries is None and isinstance(self.q_norm, nn.Identity):
            return self.dropout(self.proj(cpu_kernels.attention(qkv, self.heads)))
        q, k, v = self._heads(qkv)
        q = q[:, :, :queries]
        if explicit:
            x = F.dropout(self._maps(q, k), dropout) @ v
        else:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.dropout(self.proj(x.transpose(1, 2).flatten(2)))

    def maps(self, x: Tensor) -> Tensor:
        """Who attends to whom: (B, T, D) -> (B, H, T, T); a row is a query, and sums to 1."""
        q, k, _ = self._heads(self.qkv(x))
        return self._maps(q, k)

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.q_norm(q), self.k_norm(k), v

    def _maps(self, q: Tensor, k: Tensor) -> Tensor:
        return ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)

    def _explicit(self, qkv: Tensor) -> bool:
        path = self.path
        if path is AttentionKind.auto and isinstance(qkv, Proxy):
            return False
        if path is AttentionKind.auto:
            head = qkv.shape[2] // (3 * self.heads)
            trains = torch.is_grad_enabled()
            path = cpu_kernels.default_attention(qkv.device.type, qkv.dtype, qkv.shape[1], head, trains)
        return path is AttentionKind.explicit


class Mlp(nn.Module):
    """Two dense layers with GELU between: (..., D) -> (..., D)."""

    def __init__(self, width: int, hidden: int, gelu: Gelu, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh" if gelu is Gelu.tanh else "none")
        self.fc2 = Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.dropout(self.act(self.fc1(x)))))


class LayerScale(nn.Module):
    """A learned factor per channel, small at first (Touvron et al., 2021, "Going deeper")."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class StochasticDepth(nn.Module):
    """x + branch(x), the branch dropped for some pictures while training (Huang et al., 2016), exact in expectation.

    Above a rate of 0.1 the branch is only computed for the kept ones, a fixed number drawn at random (DINOv2): its cost
    falls by the rate. Otherwise each picture is dropped for itself.

    ``forward(x, branch, tokens)`` adds to the first ``tokens`` tokens only (None: all), as many as the branch returns.

    Args:
        rate: probability of dropping.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, branch: Callable[[Tensor], Tensor], tokens: int | None = None) -> Tensor:
        base = x[:, :tokens]
        if not self.training or self.rate == 0:
            return cpu_kernels.add(base, branch(x))
        batch = x.shape[0]
        if self.rate > KEPT_ONLY_ABOVE and batch >= KEPT_ONLY_BATCH:
            kept = torch.randperm(batch, device=x.device)[: max(1, round(batch * (1 - self.rate)))]
            return base.index_add(0, kept, branch(x.index_select(0, kept)).to(x.dtype), alpha=batch / len(kept))
        mask = x.new_empty(batch, 1, 1).bernoulli_(1 - self.rate)
        return base + branch(x) * (mask / max(1 - self.rate, 1e-12))

    def extra_repr(self) -> str:
        return f"{self.rate:g}"


class Block(nn.Module):
    """Pre-norm encoder block: x + attention(norm(x)), then x + mlp(norm(x)): (B, T, D) -> (B, T, D).

    ``forward(x, tokens)`` returns the first ``tokens`` tokens only (None: all) and computes no more than they need: of
    the products of a last block that is read at the class token, all but those of keys, values and its queries fall
    away, which are three quarters.
    """

    def __init__(self, arch: Architecture, drop_path: float) -> None:
        super().__init__()
        scaled = arch.layer_scale is not None
        self.norm1 = nn.LayerNorm(arch.width, arch.norm_eps)
        self.attn = Attention(arch)
        self.ls1 = LayerScale(arch.width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(arch.width, arch.norm_eps)
        self.mlp = Mlp(arch.width, arch.mlp, arch.gelu, arch.dropout)
        self.ls2 = LayerScale(arch.width) if scaled else nn.Identity()
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: Tensor, tokens: int | None = None) -> Tensor:
        x = self.drop_path(x, lambda x: self.ls1(self.attn(self.norm1(x), tokens)), tokens)
        return self.drop_path(x, self._mlp)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.ls2(self.mlp(self.norm2(x)))


class PatchDropout(nn.Module):
    """Keeps a random part of the patch tokens while training, other ones for each picture: (B, P + N, D) -> fewer.

    Args:
        rate: share dropped; at least one patch is kept.
        prefix: tokens P in front, which stay.
    """

    def __init__(self, rate: float, prefix: int) -> None:
        super().__init__()
        self.rate = rate
        self.prefix = prefix

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        batch, patches = x.shape[0], x.shape[1] - self.prefix
        count = kept_patches(patches, self.rate)
        return keep_patches(x, torch.rand(batch, patches, device=x.device).argsort(dim=1)[:, :count], self.prefix)


def keep_patches(tokens: Tensor, kept: Tensor, prefix: int) -> Tensor:
    """Tokens (B, P + N, D) with some of the patches alone, in the order of ``kept`` (B, M) int64: (B, P + M, D)."""
    chosen = tokens.gather(1, (kept + prefix)[..., None].expand(-1, -1, tokens.shape[2]))
    return torch.cat([tokens[:, :prefix], chosen], dim=1)


class AttentionPool(nn.Module):
    """Multihead attention pooling (Lee et al., 2019; Zhai et al., 2022): (B, T, D) -> (B, D).

    One learned query attends to all tokens; a residual MLP follows.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        width = arch.width
        self.heads = arch.heads
        self.latent = nn.Parameter(torch.empty(1, 1, width))
        self.q = Linear(width, width)
        self.kv = Linear(width, 2 * width)
        self.proj = Linear(width, width)
        self.norm = nn.LayerNorm(width, arch.norm_eps)
        self.mlp = Mlp(width, arch.mlp, arch.gelu)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(self.latent.expand(x.shape[0], -1, -1)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        pooled = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        pooled = self.proj(pooled)
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]

    def maps(self, x: Tensor) -> Tensor:
        """How much each token counts: (B, T, D) -> (B, H, T); sums to 1."""
        q = self.q(self.latent[:, 0]).unflatten(-1, (self.heads, -1))[0]  # (H, d)
        k = self.kv(x).unflatten(-1, (2, self.heads, -1))[:, :, 0]  # (B, T, H, d)
        return (torch.einsum("hd,bthd->bht", q, k) * q.shape[-1] ** -0.5).softmax(dim=-1)


class PreLogits(nn.Module):
    """The representation layer, dense and tanh: (..., D) -> (..., R); does nothing where there is none."""

    def __init__(self, width: int, representation: int) -> None:
        super().__init__()
        self.fc = Linear(width, representation) if representation else None

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Proxy) and x.ndim == 4:
            raise TypeError("this layer reads pooled features; for pictures call the model's `representation`")
        return x if self.fc is None else self.fc(x).tanh()
