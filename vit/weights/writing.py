"""``write``: our weights in the files of other libraries, with all that belongs to them.

A format that cannot hold a network is refused with the reason. What has an exact equivalent there is rewritten (fixed
positions become a table, a missing row of the class token one of zeros), and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.errors import CheckpointError, ConfigError
from vit.config import PosEmbed
from vit.model.architecture import Architecture
from vit.model.options import OPTIONS, limits
from vit.model.positions import sincos2d
from vit.preprocessing import Preprocessing
from vit.weights import FORMATS
from vit.weights.checkpoint import check_names
from vit.weights.formats import WRITERS, Export, Metadata
from vit.weights.names.of_google import Layout

_SIZES = ("width", "depth", "mlp", "heads", "patch", "in_channels", "num_classes", "grid")
_OPTIONS = {option.name for option in OPTIONS}
# of ViTCheckpoint.arch and Architecture alike
FACTS = (*_SIZES, *(field.name for field in fields(Architecture) if field.name in _OPTIONS))
_SINCOS = {kind.value: kind for kind in (PosEmbed.sincos2d, PosEmbed.sincos2d_mae)}


@dataclass
class Written:
    """What ``write`` did.

    Attributes:
        path: the file or folder. state: the tensors in it, under our names, as reading them back must give them.
        notes: what was rewritten, and what the format does not carry.
    """

    path: Path
    state: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


def write(
    state: Mapping[str, Tensor],
    arch: Any,
    path: str | Path,
    format: str,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    interpolation: str | None = None,
    crop_ratio: float | None = None,
    crop: str | None = None,
    fill: Sequence[float] | None = None,
    floor: bool = False,
    span: Sequence[float] | None = None,
    answers: str | None = None,
    layout: Layout | None = None,
    described: bool = False,
) -> Written:
    """Write a ViT for another library.

    Args:
        state: tensors under our names (no ``model.`` prefix).
        arch: an ``Architecture``, or a dict of the same fields (``ViTCheckpoint.arch``).
        path: a file (.npz, .pth, .safetensors) or, for timm and hf, a folder.
        format: one of ``FORMATS``.
        mean, std: of the input normalisation, 0..1. classes: names, by index. interpolation, crop_ratio, crop, fill,
            floor, span, answers: as in ``vit.preprocessing.Preprocessing``; a ratio without ``crop``: of the centre.
        layout: npz only: which face the file gets; None: that of the published files, or big_vision's for what only
            that knows (attention pooling, sine-cosine positions).
        described: timm only: our own description goes into the header of the weights, so that reading them back needs
            no guess at what timm's configuration does not say.

    Raises:
        ConfigError: no such format, or a path that does not suit it.
        CheckpointError: the format cannot hold the architecture; says what of it.
    """
    path = Path(path)
    facts = describe(arch)
    if format not in FORMATS:
        raise ConfigError(f"format={format}: give one of {', '.join(FORMATS)}")
    _check_path(path, format)
    check_names(state, "the network")
    if facts["heads"] is None:
        raise CheckpointError("the number of attention heads is not known: give heads=N")
    export = Export(dict(state), facts, format, layout, described=described)
    refuse(export)
    rewrite(export)
    crop = crop or (None if crop_ratio is None else "center")
    deep = None if span is None else (span[0], span[1])
    rest = _tuple(mean), _tuple(std), _tuple(fill), floor, deep, answers
    told = Preprocessing(export.size, crop, crop_ratio, interpolation, *rest)
    metadata = Metadata(told, classes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[format](export, path, metadata)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error}") from error
    return Written(path, export.state, export.notes)


def _tuple(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def describe(arch: Any) -> dict[str, Any]:
    """``FACTS`` of an ``Architecture`` or a ``ViTCheckpoint.arch``, enumerations by value."""
    values = arch if isinstance(arch, Mapping) else {name: getattr(arch, name) for name in FACTS}
    return {name: v.value if isinstance(v := values[name], Enum) else v for name in FACTS}


# what a format cannot hold


def refuse(export: Export) -> None:
    """CheckpointError where the format cannot hold the network, with every reason."""
    reasons = refusals(export)
    if reasons:
        raise CheckpointError(
            f"format={export.format} cannot hold this network: {'; '.join(reasons)}. "
            "format=safetensors holds everything"
            + ("" if export.format == "timm" else "; format=timm nearly everything")
        )


def refusals(export: Export) -> list[str]:
    """What of a network its format cannot hold, in words; none: it holds all."""
    return limits(export.facts, export.format) + _other_limits(export)


def _other_limits(export: Export) -> list[str]:
    """What the format cannot hold of sizes, or of several options together."""
    facts, reasons = export.facts, list[str]()
    if export.format == "torchvision" and facts["in_channels"] != 3:
        reasons.append(f"in_channels={facts['in_channels']}")
    # nothing in an npz tells an oblong grid: 4x6 patches and a class token would be read as 5x5 without one
    square = export.format in ("npz", "torchvision") or (export.format == "hf" and export.dino)
    if square and facts["grid"] and facts["grid"][0] != facts["grid"][1]:
        reasons.append("an oblong grid of positions")
    if export.format == "timm" and int(facts["width"] * (facts["mlp"] / facts["width"])) != facts["mlp"]:
        reasons.append(f"mlp={facts['mlp']}, no multiple of the width that survives rounding")
    if (
        export.format == "hf"
        and facts["representation"]
        and (facts["num_classes"] or facts["distilled"] or export.dino)
    ):
        reasons.append("a representation layer")
    if export.format == "hf" and export.dino:
        if facts["mlp"] % facts["width"]:
            reasons.append(f"mlp={facts['mlp']}: Dinov2 takes whole multiples of the width")
        if facts["distilled"]:
            reasons.append("a distillation token")
    return reasons


# exact equivalents


def rewrite(export: Export) -> None:
    """What the format says otherwise, in its way; the function of the network stays the same."""
    if export.format == "safetensors":
        return
    state, facts = export.state, export.facts
    if facts["probe_norm"]:
        _fold_probe_norm(export)
    kind = facts["pos_embed"]
    native = {"timm": "none"}.get(export.format)
    if export.layout is not None and not export.layout.at_input:
        native = "sincos2d"  # big_vision: no table in the file
    if kind not in ("learned", native):
        _tabulate(export)
    if "pos_embed" in state and not facts["class_position"] and _wants_class_row(export):
        tokens = facts["class_token"] + facts["distilled"]
        state["pos_embed"] = torch.cat([torch.zeros_like(state["pos_embed"][:, :tokens]), state["pos_embed"]], dim=1)
        facts["class_position"] = True
        export.notes.append("the class token has no position here, but one there: zeros")
    if export.format == "torchvision" and not facts["qkv_bias"]:
        for index in range(facts["depth"]):
            weight = state[f"blocks.{index}.attn.qkv.weight"]
            state[f"blocks.{index}.attn.qkv.bias"] = torch.zeros_like(weight[:, 0])
        export.notes.append("torchvision always has biases of queries, keys and values: zeros")
    if export.format == "hf" and export.dino and facts["layer_scale"] is None:
        for index in range(facts["depth"]):
            for scale in ("ls1", "ls2"):
                state[f"blocks.{index}.{scale}.gamma"] = torch.ones_like(state[f"blocks.{index}.norm1.weight"])
        facts["layer_scale"] = 1.0
        export.notes.append("Dinov2 always has layer scale: ones")
    theirs = {"npz": ("tanh", "Google's models use"), "torchvision": ("exact", "torchvision uses")}.get(export.format)
    if theirs and facts["gelu"] != theirs[0]:
        export.notes.append(
            f"{theirs[1]} the {theirs[0]} GELU, this network the {facts['gelu']} one, which the file cannot say: "
            "outputs there differ in the third decimal"
        )
    if export.format in ("npz", "torchvision", "timm") and facts["norm_eps"] != 1e-6:
        export.notes.append(
            f"LayerNorm's eps is {facts['norm_eps']:g} here and 1e-06 there: outputs differ by rounding"
        )


def _wants_class_row(export: Export) -> bool:
    if not export.facts["class_token"]:
        return False
    if export.format == "npz":
        return export.layout is not None and export.layout.at_input
    return export.format in ("hf", "torchvision") or export.facts["distilled"]


def _tabulate(export: Export) -> None:
    """Fixed positions, or none, as a table, in the state's precision."""
    state, facts = export.state, export.facts
    rows, columns = facts["grid"] or (export.size[0] // facts["patch"], export.size[1] // facts["patch"])
    kind = facts["pos_embed"]
    like = state["patch_embed.proj.weight"]
    table = torch.zeros(1, rows * columns, facts["width"])
    if kind in _SINCOS:
        table = sincos2d((rows, columns), facts["width"], _SINCOS[kind])
    state["pos_embed"] = table.to(like.dtype)
    facts.update(pos_embed="learned", class_position=False, grid=(rows, columns))
    export.notes.append(f"positions {kind} written as a table of {rows}x{columns}")


def _fold_probe_norm(export: Export) -> None:
    """Batch norm without scale and shift, in evaluation, is linear: it goes into the head after it."""
    state, facts = export.state, export.facts
    mean, variance = state.pop("probe_norm.running_mean"), state.pop("probe_norm.running_var")
    state.pop("probe_norm.num_batches_tracked", None)
    if "head.weight" in state:
        weight = state["head.weight"].double() / (variance.double() + 1e-6).sqrt()
        bias = state["head.bias"].double() - weight @ mean.double()
        state["head.weight"], state["head.bias"] = weight.to(mean.dtype), bias.to(mean.dtype)
    facts["probe_norm"] = False
    export.notes.append("the batch norm before the head is part of the head there")


def _check_path(path: Path, format: str) -> None:
    suffixes = {"npz": (".npz",), "torchvision": (".pth", ".pt"), "safetensors": (".safetensors",)}
    if format in suffixes and path.suffix not in suffixes[format]:
        raise ConfigError(f"dst={path}: format={format} writes a file; name it *{suffixes[format][0]}")
    if format not in suffixes and (path.suffix in (".npz", ".pth", ".safetensors", ".bin") or path.is_file()):
        raise ConfigError(f"dst={path}: format={format} writes a folder; give a name without {path.suffix}")
