"""What was read from a checkpoint: tensors under our names, the architecture they imply, what belongs to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from torch import Tensor

from trainer.errors import CheckpointError
from trainer.text import by, few
from vit.model.architecture import Architecture
from vit.model.options import OPTIONS, used
from vit.model.variants import VARIANTS
from vit.preprocessing import Preprocessing
from vit.weights.position_tables import table_facts

_MODULES = ("patch_embed.proj", "norm", "head", "head_dist")  # with a weight and a bias
_BLOCK_MODULES = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
_LEAVES = ("weight", "bias")
_NAMES = {  # of all that a ViT can have; the number of a block left out
    *(f"{module}.{leaf}" for module in _MODULES for leaf in _LEAVES),
    *(f"blocks.{module}.{leaf}" for module in _BLOCK_MODULES for leaf in _LEAVES),
    "blocks.attn.qkv.weight",
    *(key for option in OPTIONS for key in (*option.keys, *option.buffers)),
    *(f"blocks.{key}" for option in OPTIONS for key in option.block_keys),
}
_USUAL = {field.name: getattr(field.default, "value", field.default) for field in fields(Architecture)}
_KINDS: dict[str, Any] = {
    field.name: type(field.default) for field in fields(Architecture) if isinstance(field.default, Enum)
}


@dataclass
class ViTCheckpoint:
    """A checkpoint in our terms.

    Attributes:
        state: tensors under our names (no ``model.`` prefix), on the CPU, in the file's precision.
        origin: whose names and layout the file has, in words.
        arch: the architecture as far as the file shows it: ``width, depth, mlp, heads, patch, num_classes,
            in_channels``, all of ``vit.model.options`` (enumerations by their value: ``"gap"``), and ``grid`` ((rows,
            columns) of patches of the position table, or None). ``heads`` is None where nothing tells it.
        mean, std: of the input normalisation, on a scale of 0..1, one per channel; None where nothing tells.
        size: (height, width) in pixels that its preprocessing makes, where that is told apart from the grid.
        interpolation, crop, crop_ratio, fill, floor, span: of evaluation, as in ``vit.preprocessing.Preprocessing``.
        answers: what logits are, likewise.
        classes: class names, or None.
        notes: what the user should know: tensors left out and why, assumptions made.
        layout: how a Google file was laid out (``vit.weights.names.of_google.Layout`` as a dict); empty elsewhere.
        lost_head: why the classifier in the file cannot be read; empty where it can, or there is none.
        grid_known: the file tells the rows and columns of its position table; else a square is taken where one fits.
        heads_known: the file tells ``heads``; else they are those usual at its width.
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
    heads_known: bool = True
    grid_known: bool = True

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
        values = {name: _KINDS[name](value) if name in _KINDS else value for name, value in told.items()}
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
        extras = [option.name for option in OPTIONS if option.shown and used(a[option.name])]
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
    """The fields of ``ViTCheckpoint.arch`` from tensors under our names.

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
    width, channels, *_, patch, across = kernel.shape  # of tubelets with their frames between
    if patch != across:
        raise CheckpointError(f"{where} has patches of {patch}x{across}: only square ones are known here")
    if 0 in kernel.shape:
        raise CheckpointError(f"{where}: its patch_embed.proj.weight of {by(kernel.shape)} has no numbers in it")
    arch: dict[str, Any] = {
        "width": width,
        "depth": _depth(state),
        "mlp": state["blocks.0.mlp.fc1.weight"].shape[0],
        "heads": known.get("heads") or _heads(width, state.get("blocks.0.attn.q_norm.weight")),
        "patch": patch,
        "in_channels": channels,
        "num_classes": state["head.weight"].shape[0] if "head.weight" in state else 0,
    }
    for option in OPTIONS:
        arch[option.name] = _USUAL[option.name] if option.implied is None else option.implied(state)
    tokens = int(arch["class_token"]) + int(arch["distilled"])
    arch.update(table_facts(state.get("pos_embed"), tokens, known.pop("grid", None), where))
    arch.update({name: value for name, value in known.items() if value is not None})
    if arch["heads"] and width % arch["heads"]:
        raise CheckpointError(
            f"{where}: its width {width} does not divide into the {arch['heads']} heads it is said to have"
        )
    return arch


def check_names(state: Mapping[str, Tensor], where: str) -> None:
    """That tensors under our names make a plain ViT; CheckpointError with names where they do not."""
    if _depth(state) > len(state):  # whatever is made for each block would be made for blocks that are not there
        raise CheckpointError(f"{where} names a block {_depth(state) - 1}, and has {len(state)} tensors in all")
    strange = [name for name in state if not _known(name)]
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


def _known(name: str) -> bool:
    return re.sub(r"^(time_)?blocks\.\d+\.", "blocks.", name) in _NAMES


def _depth(state: Mapping[str, Tensor]) -> int:
    return 1 + max((int(name.split(".")[1]) for name in state if re.match(r"blocks\.\d+\.", name)), default=0)


def _needed(state: Mapping[str, Tensor]) -> list[str]:
    """Names that a whole network has, of the size and kind that those which are there show."""
    depth = _depth(state)
    modules = ["patch_embed.proj"] if "fc_norm.weight" in state else ["patch_embed.proj", "norm"]
    modules += [f"blocks.{index}.{part}" for index in range(depth) for part in _BLOCK_MODULES]
    modules += [name for name in ("head", "head_dist") if {f"{name}.{leaf}" for leaf in _LEAVES} & set(state)]
    names = [f"{module}.{leaf}" for module in modules for leaf in _LEAVES]
    names += [key for option in OPTIONS if set(option.keys) & set(state) for key in option.keys]
    # what blocks may have or not, all of them have or none
    first = [name.removeprefix("blocks.0.") for name in state if name.startswith("blocks.0.") and _known(name)]
    names += [f"blocks.{index}.{name}" for index in range(1, depth) for name in first]
    names += [f"blocks.{index}.attn.qkv.weight" for index in range(depth)]
    return list(dict.fromkeys(names))


def _heads(width: int, query_norm: Tensor | None) -> int | None:
    if query_norm is not None and width % query_norm.shape[0] == 0:
        return width // query_norm.shape[0]
    for variant in VARIANTS.values():
        if variant.width == width:
            return variant.heads
    return None


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
