"""What was read from a checkpoint: tensors under our names, the architecture they imply, what travels with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainer.errors import CheckpointError
from vit.variants import VARIANTS

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_BLOCK = r"blocks\.\d+\."
_OURS = re.compile(
    rf"(?:(?:cls_token|dist_token|reg_token|pos_embed|attn_pool\.latent)"
    rf"|(?:patch_embed\.proj|norm|fc_norm|head|head_dist|pre_logits\.fc"
    rf"|attn_pool\.(?:q|kv|proj|norm|mlp\.fc1|mlp\.fc2)"
    rf"|{_BLOCK}(?:norm1|norm2|attn\.(?:qkv|proj|q_norm|k_norm)|mlp\.fc[12]))\.(?:weight|bias)"
    rf"|{_BLOCK}ls[12]\.gamma|probe_norm\.(?:running_mean|running_var|num_batches_tracked))"
)


@dataclass
class Foreign:
    """A checkpoint in our terms.

    Attributes:
        state: tensors under our names (no ``model.`` prefix), on the CPU, in the file's precision.
        origin: whose names and layout the file has, in words.
        arch: the architecture as far as the file shows it. Fields of ModelConfig (enumerations by their value:
            ``"gap"``), ``width, depth, mlp, heads, patch, pool, pool_first, pos_embed, class_token, class_position, registers,
            distilled, layer_scale, qk_norm, qkv_bias, gelu, norm_eps, representation, probe_norm, num_classes, in_channels``;
            besides ``grid`` ((rows, columns) of patches of the position table, or None).
        mean, std: of the input normalisation, on a scale of 0..1, one per channel; None where nothing tells.
        interpolation: ``bilinear`` or ``bicubic``; None where nothing tells. crop_ratio: image size / resized size.
        classes: class names, or None.
        notes: what the user should know: tensors left out and why, assumptions made.
        layout: how a Google file was laid out (``vit.interchange.google.Layout`` as a dict); empty elsewhere.
    """

    state: dict[str, Tensor]
    origin: str
    arch: dict[str, Any]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_ratio: float | None = None
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What was read, for people."""
        a = self.arch
        size = sum(t.numel() for t in self.state.values())
        lines = [
            f"{self.origin}: {len(self.state)} tensors, {size:,} parameters",
            f"width {a['width']}, depth {a['depth']}, mlp {a['mlp']}, heads {a['heads']}, patch {a['patch']}, "
            f"pool {a['pool']}, positions {a['pos_embed']}"
            + (f" {a['grid'][0]}x{a['grid'][1]}" if a["grid"] else "")
            + f", {a['in_channels']} channels, {a['num_classes'] or 'no'} classes",
        ]
        extras = [name for name in ("registers", "distilled", "representation", "layer_scale", "pool_first") if a[name]]
        if a["qk_norm"] != "none":
            extras.append("qk_norm")
        if extras or a["gelu"] == "tanh":
            lines.append("with " + ", ".join(extras + (["tanh GELU"] if a["gelu"] == "tanh" else [])))
        if self.mean is not None and self.std is not None:
            lines.append(f"input mean {_numbers(self.mean)}, std {_numbers(self.std)}")
        return lines + self.notes


def infer_architecture(
    state: Mapping[str, Tensor], where: str, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The fields of ``Foreign.arch`` from tensors under our names.

    Args:
        state: tensors by our names.
        where: how messages call the file.
        known: fields that the file's own configuration tells; they win.

    Raises:
        CheckpointError: tensors that a plain ViT needs are missing, or there are some that it has not.
    """
    known = dict(known or {})
    check_names(state, where)
    kernel = state["patch_embed.proj.weight"]
    width, channels, patch, across = kernel.shape
    if patch != across:
        raise CheckpointError(f"{where} has patches of {patch}x{across}: only square ones are known here")
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    first = {name.removeprefix("blocks.0."): tensor for name, tensor in state.items() if name.startswith("blocks.0.")}
    scale = first.get("ls1.gamma")
    query = first.get("attn.q_norm.weight")
    class_token, pooled = "cls_token" in state, "attn_pool.latent" in state
    arch: dict[str, Any] = {
        "width": width,
        "depth": depth,
        "mlp": first["mlp.fc1.weight"].shape[0],
        "heads": known.get("heads") or _heads(width, query),
        "patch": patch,
        "in_channels": channels,
        "num_classes": state["head.weight"].shape[0] if "head.weight" in state else 0,
        "class_token": class_token,
        "distilled": "dist_token" in state,
        "registers": state["reg_token"].shape[1] if "reg_token" in state else 0,
        "pool": "map" if pooled else "gap" if "fc_norm.weight" in state or not class_token else "cls",
        "pool_first": "fc_norm.weight" in state,
        "layer_scale": None if scale is None else 1e-5,
        "qk_norm": "none" if query is None else "layer" if "attn.q_norm.bias" in first else "rms",
        "qkv_bias": "attn.qkv.bias" in first,
        "gelu": "exact",
        "norm_eps": 1e-6,
        "representation": state["pre_logits.fc.weight"].shape[0] if "pre_logits.fc.weight" in state else 0,
        "probe_norm": "probe_norm.running_mean" in state,
    }
    tokens = int(class_token) + int(arch["distilled"])
    arch.update(_positions(state.get("pos_embed"), tokens, known.pop("grid", None), where))
    arch.update({name: value for name, value in known.items() if value is not None})
    if arch["heads"] is None or width % arch["heads"]:
        raise CheckpointError(
            f"{where} does not tell its number of attention heads, and width {width} is of no known variant: "
            "keep the config.json that belongs to it in the same folder"
        )
    return arch


def check_names(state: Mapping[str, Tensor], where: str) -> None:
    """That tensors under our names make a plain ViT; CheckpointError with names where they do not."""
    strange = [name for name in state if not _OURS.fullmatch(name)]
    needed = ["patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight"]
    missing = [name for name in needed if name not in state]
    if any("mlp.w12" in name or "mlp.w3" in name for name in strange):
        raise CheckpointError(
            f"{where} has SwiGLU layers (mlp.w12, mlp.w3), as DINOv2's giant has: a plain ViT has two-layer MLPs. "
            "Use model=timm model.name=vit_giant_patch14_dinov2"
        )
    if strange or missing:
        raise CheckpointError(
            f"{where} is no plain ViT: "
            + "; ".join(
                ([f"tensors without a place in one ({len(strange)}): {', '.join(strange[:5])}"] if strange else [])
                + ([f"missing: {', '.join(missing)}"] if missing else [])
            )
            + ". For another architecture that timm has: model=timm model.name=..."
        )


def square_grid(count: int) -> tuple[int, int] | None:
    """(side, side) when ``count`` is a perfect square."""
    side = math.isqrt(count)
    return (side, side) if side > 0 and side * side == count else None


def _heads(width: int, query_norm: Tensor | None) -> int | None:
    if query_norm is not None and width % query_norm.shape[0] == 0:
        return width // query_norm.shape[0]
    for variant in VARIANTS.values():
        if variant.width == width:
            return variant.heads
    return width // 64 if width % 64 == 0 else None


def _positions(table: Tensor | None, tokens: int, grid: tuple[int, int] | None, where: str) -> dict[str, Any]:
    """pos_embed, class_position and grid of a table (1, tokens + rows x columns or rows x columns, D).

    Both lengths are tested for being a perfect square, exactly: 196 rows are 14x14 patches, never 195 and a class
    token. A ``grid`` that is known settles it, also where it is not square.
    """
    if table is None:
        return {"pos_embed": "none", "class_position": True, "grid": grid}
    length = table.shape[1]
    for prefix in (tokens, 0):
        found = grid or square_grid(length - prefix)
        if found and found[0] * found[1] == length - prefix:
            return {"pos_embed": "learned", "class_position": prefix > 0 or tokens == 0, "grid": found}
    known = f", nor do they fit the grid {grid[0]}x{grid[1]} of its configuration" if grid else ""
    raise CheckpointError(
        f"{where} has {length} positions: neither {length} nor {length - tokens} is a square of patches{known}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
