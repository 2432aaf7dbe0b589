"""The files of each format: tensors under its names, and the settings it keeps beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint.weights import save_weights
from trainer.files import replace_file, write_arrays, write_text
from vit.model.options import OPTIONS
from vit.preprocessing import Preprocessing
from vit.weights import preprocessors
from vit.weights.files import HEADER, sidecar_of
from vit.weights.names.of_google import BIG_VISION, VISION_TRANSFORMER, Layout, to_google
from vit.weights.names.of_hugging_face import to_hf
from vit.weights.names.of_torchvision import to_torchvision
from vit.weights.position_tables import add_register_rows


@dataclass
class Metadata:
    """What goes along with the tensors: how pictures become the input, and the classes' names."""

    preprocessing: Preprocessing
    classes: Sequence[str] | None

    def described(self) -> dict[str, Any]:
        """As JSON, in our words."""
        return {**self.preprocessing.plain(), "classes": None if self.classes is None else list(self.classes)}


@dataclass
class Export:
    """A network on its way into a format: tensors and facts are rewritten, notes are gathered."""

    state: dict[str, Tensor]
    facts: dict[str, Any]
    format: str
    layout: Layout | None = None
    notes: list[str] = field(default_factory=list)
    described: bool = False  # timm: our own description in the header of its weights, by which we read them exactly

    def __post_init__(self) -> None:
        if self.format == "npz" and self.layout is None:
            big = self.facts["pool"] == "map" or self.facts["pos_embed"] == "sincos2d"
            self.layout = BIG_VISION if big else VISION_TRANSFORMER

    @property
    def size(self) -> tuple[int, int]:
        """Pixels (height, width) that the grid of patches stands for; 224 where there is no grid."""
        side = max(1, round(224 / self.facts["patch"]))
        rows, columns = self.facts["grid"] or (side, side)
        return rows * self.facts["patch"], columns * self.facts["patch"]

    @property
    def dino(self) -> bool:
        """Hugging Face: whether it takes Dinov2, which has layer scale, registers and the mean of the patches."""
        facts = self.facts
        return bool(facts["registers"] or facts["layer_scale"] is not None or "gap" in facts["pool"])


def _write_npz(export: Export, path: Path, metadata: Metadata) -> None:
    assert export.layout is not None
    arrays: dict[str, Any] = to_google(export.state, export.facts["heads"], export.layout)
    write_arrays(path, arrays)
    _write_sidecar(export, path, metadata)


def _write_torchvision(export: Export, path: Path, metadata: Metadata) -> None:
    state = {name: tensor.clone() for name, tensor in to_torchvision(export.state).items()}
    replace_file(path, lambda place: torch.save(state, place))
    _write_sidecar(export, path, metadata)


def _write_sidecar(export: Export, path: Path, metadata: Metadata) -> None:
    """What the format has no place for, beside the file."""
    content = {"bytes": path.stat().st_size, **metadata.described()}
    sidecar = sidecar_of(path)
    write_text(sidecar, json.dumps({HEADER: content}, indent=1) + "\n")
    export.notes.append(
        f"class names and preprocessing, which {export.format} has no place for, stand in {sidecar.name}"
    )


def _write_own(export: Export, path: Path, metadata: Metadata) -> None:
    from safetensors.torch import save_file

    content = {"architecture": export.facts, **metadata.described()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in export.state.items()}
    told = json.dumps(content)
    replace_file(path, lambda place: save_file(tensors, place, metadata={"format": "pt", HEADER: told}))
    write_text(path.with_suffix(".json"), json.dumps(content, indent=1) + "\n")


def write_folder(
    path: Path,
    state: Mapping[str, Tensor],
    files: Mapping[str, Mapping[str, Any]],
    header: Mapping[str, Any] | None = None,
) -> None:
    """``model.safetensors`` and files of JSON by name.

    Args:
        header: our description of the tensors, for `vit.weights.reading.read`; None: they go without.
    """
    told = None if header is None else {HEADER: json.dumps(header)}
    replace_file(path / "model.safetensors", lambda place: save_weights(place, state, told))
    for name, content in files.items():
        write_text(path / name, json.dumps(content, indent=2) + "\n")


def _write_timm(export: Export, path: Path, metadata: Metadata) -> None:
    state, facts = dict(export.state), export.facts
    add_register_rows(state, facts)
    pools = {"cls": "token", "gap": "avg", "map": "map", "none": ""}
    arguments: dict[str, Any] = {
        "img_size": list(export.size),
        "patch_size": facts["patch"],
        "in_chans": facts["in_channels"],  # classes stand beside: transformers hands both over, and they would clash
        "embed_dim": facts["width"],
        "depth": facts["depth"],
        "num_heads": facts["heads"],
        "mlp_ratio": facts["mlp"] / facts["width"],
        "global_pool": pools[facts["pool"]],
    }
    for option in OPTIONS:
        arguments.update(option.timm(facts))
    name = "deit_base_distilled_patch16_224" if facts["distilled"] else "vit_base_patch16_224"
    pretrained: dict[str, Any] = {
        "input_size": [facts["in_channels"], *export.size],
        "fixed_input_size": True,
        "num_classes": facts["num_classes"],
        "first_conv": "patch_embed.proj",
        "classifier": ["head", "head_dist"] if facts["distilled"] else "head",
    }
    entries, notes = preprocessors.to_timm(metadata.preprocessing)
    pretrained.update(entries)
    export.notes += notes
    config: dict[str, Any] = {
        "architecture": name,
        "num_classes": facts["num_classes"],
        "num_features": facts["width"],
        "global_pool": arguments["global_pool"],
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    }
    if metadata.classes:
        config["label_names"] = list(metadata.classes)
    own = {"architecture": facts, **metadata.described()} if export.described else None
    write_folder(path, state, {"config.json": config}, own)


def _write_hf(export: Export, path: Path, metadata: Metadata) -> None:
    state, facts = dict(export.state), export.facts
    height, width = export.size
    classes = facts["num_classes"]
    config: dict[str, Any] = {
        "hidden_size": facts["width"],
        "num_hidden_layers": facts["depth"],
        "num_attention_heads": facts["heads"],
        "hidden_act": "gelu_pytorch_tanh" if facts["gelu"] == "tanh" else "gelu",
        "layer_norm_eps": facts["norm_eps"],
        "image_size": height if height == width else [height, width],
        "patch_size": facts["patch"],
        "num_channels": facts["in_channels"],
        "qkv_bias": facts["qkv_bias"],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "dtype": str(state["patch_embed.proj.weight"].dtype).removeprefix("torch."),
    }
    heads = {"head": "classifier"}
    if export.dino:
        kind = "dinov2_with_registers" if facts["registers"] else "dinov2"
        model = "Dinov2WithRegisters" if facts["registers"] else "Dinov2"
        config["mlp_ratio"] = facts["mlp"] // facts["width"]
        config["layerscale_value"] = facts["layer_scale"]
        config["use_swiglu_ffn"] = False
        if facts["registers"]:
            config["num_register_tokens"] = facts["registers"]
        else:
            config["use_mask_token"] = False
        if classes and facts["pool"] != "cls_gap":  # its head reads class token and mean of the patches side by side
            weight = state["head.weight"]
            halves = [weight, torch.zeros_like(weight)]
            state["head.weight"] = torch.cat(halves if facts["pool"] == "cls" else halves[::-1], dim=1)
            other = "mean of the patches" if facts["pool"] == "cls" else "class token"
            export.notes.append(f"Dinov2's head reads the {other} too: with weights of zero")
    else:
        kind, model = ("deit", "DeiT") if facts["distilled"] else ("vit", "ViT")
        config["intermediate_size"] = facts["mlp"]
        if facts["distilled"]:
            heads = {"head": "cls_classifier", "head_dist": "distillation_classifier"}
        if facts["representation"]:
            config["pooler_output_size"] = facts["representation"]
    suffix = "Model" if not classes else "ForImageClassification" + ("WithTeacher" if facts["distilled"] else "")
    config.update(model_type=kind, architectures=[model + suffix])
    if classes and metadata.preprocessing.answers == "labels":
        config["problem_type"] = "multi_label_classification"
    if classes:
        names = list(metadata.classes or [f"LABEL_{index}" for index in range(classes)])
        config["id2label"] = {str(index): name for index, name in enumerate(names)}
        config["label2id"] = {name: index for index, name in enumerate(names)}
    tensors = to_hf(state, f"{kind}." if classes else "", heads, plain=not export.dino)
    if kind == "dinov2_with_registers":  # always has one, for its pre-training
        prefix = f"{kind}." if classes else ""
        tensors[f"{prefix}embeddings.mask_token"] = torch.zeros_like(state["cls_token"][0])
    preprocessor, notes = preprocessors.to_hf(metadata.preprocessing, export.size)
    export.notes += notes
    write_folder(path, tensors, {"config.json": config, "preprocessor_config.json": preprocessor})


WRITERS: dict[str, Callable[[Export, Path, Metadata], None]] = {
    "npz": _write_npz,
    "timm": _write_timm,
    "hf": _write_hf,
    "torchvision": _write_torchvision,
    "safetensors": _write_own,
}
