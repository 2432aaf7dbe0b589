"""What was read from a checkpoint: tensors under our names, the architecture they imply, what travels with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.errors import CheckpointError
from trainer.text import few
from vit.config import Gelu, Pool, PosEmbed, QkNorm
from vit.model.architecture import Architecture
from vit.model.variants import VARIANTS
from vit.preprocessing import Preprocessing

_BLOCK = r"blocks\.\d+\."
_OURS = re.compile(
    rf"(?:(?:cls_token|dist_token|reg_token|pos_embed|attn_pool\.latent)"
    rf"|(?:patch_embed\.proj|norm|fc_norm|head|head_dist|pre_logits\.fc"
    rf"|attn_pool\.(?:q|kv|proj|norm|mlp\.fc1|mlp\.fc2)"
    rf"|{_BLOCK}(?:norm1|norm2|attn\.(?:qkv|proj|q_norm|k_norm)|mlp\.fc[12]))\.(?:weight|bias)"
    rf"|{_BLOCK}ls[12]\.gamma|probe_norm\.(?:running_mean|running_var|num_batches_tracked))"
)
_PARTS = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


@dataclass
class Foreign:
    """A checkpoint in our terms.

    Attributes:
        state: tensors under our names (no ``model.`` prefix), on the CPU, in the file's precision.
        origin: whose names and layout the file has, in words.
        arch: the architecture as far as the file shows it. Fields of ModelConfig (enumerations by their value:
            ``"gap"``), ``width, depth, mlp, heads, patch, pool, pool_first, pos_embed, class_token, class_position,
            registers, distilled, layer_scale, qk_norm, qkv_bias, gelu, norm_eps, representation, probe_norm,
            num_classes, in_channels``; besides ``grid`` ((rows, columns) of patches of the position table, or None).
            ``heads`` is None where nothing tells it.
        mean, std: of the input normalisation, on a scale of 0..1, one per channel; None where nothing tells.
        size: (height, width) in pixels that its preprocessing makes, where that is told apart from the grid.
        interpolation, crop, crop_ratio, fill, floor, span: of evaluation, as in ``vit.preprocessing.Preprocessing``.
        answers: what logits are, likewise.
        classes: class names, or None.
        notes: what the user should know: tensors left out and why, assumptions made.
        layout: how a Google file was laid out (``vit.weights.google.Layout`` as a dict); empty elsewhere.
        lost_head: why the classifier in the file cannot be read; empty where it can, or there is none.
        grid_told: the file tells the rows and columns of its position table; else a square is taken where one fits.
        heads_told: the file tells ``heads``; else they are those usual at its width.
    """

    state: dict[str, Tensor]
    origin: str
    arch: dict[str, Any]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_ratio: float | None = None
    crop: str | None = None
    fill: tuple[float, ...] | None = None
    floor: bool = False
    span: tuple[float, float] | None = None
    answers: str | None = None
    size: tuple[int, int] | None = None
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    lost_head: str = ""
    heads_told: bool = True
    grid_told: bool = True

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become its input, as far as the file tells; the size else follows from the grid."""
        grid, patch = self.arch.get("grid"), self.arch["patch"]
        size = self.size or (None if grid is None else (grid[0] * patch, grid[1] * patch))
        crop = self.crop or (None if self.crop_ratio is None else "center")
        return Preprocessing(
            *(size, crop, self.crop_ratio, self.interpolation, self.mean, self.std, self.fill, self.floor),
            *(self.span, self.answers),
        )

    def architecture(self) -> Architecture:
        """What to build for these weights; at the resolution of their position table, else 224 pixels.

        Raises:
            CheckpointError: nothing tells the number of attention heads.
        """
        told = self.arch
        if not told["heads"]:
            raise CheckpointError(f"{self.origin}: the number of attention heads is not in the file (model.heads=N)")
        side = max(1, round(224 / told["patch"]))
        rows, columns = told["grid"] or (side, side)
        kinds = {"pool": Pool, "pos_embed": PosEmbed, "qk_norm": QkNorm, "gelu": Gelu}
        values = {name: kinds[name](value) if name in kinds else value for name, value in told.items()}
        del values["grid"]
        size = rows * told["patch"], columns * told["patch"]
        return Architecture(variant="", image_size=size, init_grid=(rows, columns), **values)

    def lines(self) -> list[str]:
        """What was read, for people."""
        a = self.arch
        size = sum(t.numel() for t in self.state.values())
        lines = [
            f"{self.origin}: {len(self.state)} tensors, {size:,} parameters",
            f"width {a['width']}, depth {a['depth']}, mlp {a['mlp']}, heads {a['heads'] or 'unknown'}, "
            f"patch {a['patch']}, pool {a['pool']}, positions {a['pos_embed']}"
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
        if self.crop is not None:
            ratio = "" if self.crop_ratio is None else f", crop ratio {self.crop_ratio:.4g}"
            lines.append(f"evaluated with crop {self.crop}{ratio}, {self.interpolation or 'unknown'} interpolation")
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
    if arch["heads"] and width % arch["heads"]:
        raise CheckpointError(
            f"{where}: its width {width} does not divide into the {arch['heads']} heads it is said to have"
        )
    return arch


def check_names(state: Mapping[str, Tensor], where: str) -> None:
    """That tensors under our names make a plain ViT; CheckpointError with names where they do not."""
    strange = [name for name in state if not _OURS.fullmatch(name)]
    missing = [name for name in _needed(state) if name not in state]
    gated = any(re.search(r"\.mlp\.(?:w12|w3|w1|weights_in)\b", name) for name in strange)
    rows, columns = (state.get(f"blocks.0.mlp.fc{index}.weight") for index in (1, 2))  # timm's keep these names
    if gated or (rows is not None and columns is not None and columns.shape[1] != rows.shape[0]):
        raise CheckpointError(
            f"{where} has SwiGLU layers, as DINOv2's giant has: a plain ViT has two-layer MLPs. "
            "Use model=timm model.name=vit_giant_patch14_dinov2"
        )
    if strange or missing:
        raise CheckpointError(
            f"{where} is no plain ViT: "
            + "; ".join(
                ([f"tensors without a place in one ({len(strange)}): {few(strange)}"] if strange else [])
                + ([f"missing ({len(missing)}): {few(missing)}"] if missing else [])
            )
            + ". For another architecture that timm has: model=timm model.name=..."
        )


def _needed(state: Mapping[str, Tensor]) -> list[str]:
    """Names that a whole network has, of the size and kind that those which are there show."""
    depth = 1 + max((int(name.split(".")[1]) for name in state if re.match(r"blocks\.\d+\.", name)), default=0)
    modules = ["patch_embed.proj", "fc_norm" if "fc_norm.weight" in state else "norm"]
    modules += [f"blocks.{index}.{part}" for index in range(depth) for part in _PARTS]
    if "attn_pool.latent" in state:
        modules += [f"attn_pool.{part}" for part in ("q", "kv", "proj", "norm", "mlp.fc1", "mlp.fc2")]
    modules += [
        name for name in ("pre_logits.fc", "head", "head_dist") if {f"{name}.weight", f"{name}.bias"} & set(state)
    ]
    names = [f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")]
    # what blocks may have or not, all of them have or none
    first = [name.removeprefix("blocks.0.") for name in state if name.startswith("blocks.0.")]
    names += [
        f"blocks.{index}.{name}" for index in range(1, depth) for name in first if _OURS.fullmatch(f"blocks.0.{name}")
    ]
    names += [f"blocks.{index}.attn.qkv.weight" for index in range(depth)]
    return list(dict.fromkeys(names))


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
    return None


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
    if grid is None:
        raise CheckpointError(
            f"{where} has {length} positions: neither {length} nor {length - tokens} is a square of patches, and "
            "nothing tells its rows and columns: give the size of the pictures it was made for, resolution=[H,W]"
        )
    raise CheckpointError(
        f"{where} has {length} positions: neither {length} nor {length - tokens} of them fit the grid "
        f"{grid[0]}x{grid[1]} of its configuration: give the size of the pictures it was made for, resolution=[H,W]"
    )


def fitting_grid(state: Mapping[str, Tensor], size: tuple[int, int]) -> tuple[int, int] | None:
    """The grid of patches of pictures of ``size``, where the position table is one for it."""
    if "pos_embed" not in state or "patch_embed.proj.weight" not in state:
        return None
    patch = state["patch_embed.proj.weight"].shape[-1]
    rows, columns = size[0] // patch, size[1] // patch
    tokens = ("cls_token" in state) + ("dist_token" in state)
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    length = state["pos_embed"].shape[1]
    prefix = length - rows * columns
    if not prefix and tokens and square_grid(length - tokens):  # a square and its tokens: the usual table
        return None
    return (rows, columns) if prefix in (0, tokens, tokens + registers) and rows and columns else None


def first_fitting(
    state: Mapping[str, Tensor], told: tuple[int, int] | None, *sizes: tuple[int, int] | None
) -> tuple[int, int] | None:
    """The grid of the position table: the one ``told``, else that of the first of ``sizes`` whose grid the table is.

    Args:
        told: rows and columns of a configuration; returned where the table fits it, or nothing else does.
        sizes: (height, width) in pixels.
    """
    patch = state["patch_embed.proj.weight"].shape[-1] if "patch_embed.proj.weight" in state else 1
    first = [] if told is None else [(told[0] * patch, told[1] * patch)]
    found = (fitting_grid(state, size) for size in (*first, *sizes) if size is not None)
    return next((grid for grid in found if grid is not None), told)


def guessed(arch: Mapping[str, Any]) -> str:
    """What must be said of a table of positions whose rows and columns nothing tells."""
    if not arch["grid"] or arch["pos_embed"] != "learned":
        return ""
    rows, columns = arch["grid"]
    return (
        f"nothing tells the rows and columns of its {rows * columns} positions: taken as {rows}x{columns}, of pictures "
        f"of {rows * arch['patch']}x{columns * arch['patch']} pixels. Were they oblong, scripts/convert.py with "
        "resolution=[H,W] writes a file that tells"
    )


def fold_register_rows(state: dict[str, Tensor], grid: tuple[int, int] | None) -> bool:
    """Where registers have rows in the position table (timm may keep them), add these to the registers themselves.

    Ours have no such rows; the function stays the same. Changes ``state`` and says whether there was anything to do.
    """
    if "reg_token" not in state or "pos_embed" not in state:
        return False
    registers, table = state["reg_token"].shape[1], state["pos_embed"]
    tokens = ("cls_token" in state) + ("dist_token" in state)
    patches = grid[0] * grid[1] if grid else 0

    def fits(prefix: int) -> bool:
        count = table.shape[1] - prefix
        return count == patches if patches else square_grid(count) is not None

    if fits(0) or fits(tokens) or not fits(tokens + registers):
        return False
    state["reg_token"] = state["reg_token"] + table[:, tokens : tokens + registers]
    state["pos_embed"] = torch.cat([table[:, :tokens], table[:, tokens + registers :]], dim=1)
    return True


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
