"""Hugging Face's names of tensors (ViT, DeiT, ViTMAE, ViTMSN, Dinov2 with and without registers) and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vit.weights.names.renamed import Renamed, Tensors, inside_outside

ANCHOR = "embeddings.patch_embeddings.projection.weight"

_SINGLE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
    "pooler.dense.weight": "pre_logits.fc.weight",
    "pooler.dense.bias": "pre_logits.fc.bias",
}
_HEADS = {"classifier": "head", "cls_classifier": "head", "distillation_classifier": "head_dist"}
# within a block: names on disk first, then those that modules have had since version 5
_BLOCK = {
    "layernorm_before": "norm1",
    "norm1": "norm1",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "layernorm_after": "norm2",
    "norm2": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_SCALES = {"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
_QKV = re.compile(r"attention\.(?:attention\.(query|key|value)|([qkv])_proj)")
_LAYER = re.compile(r"(?:encoder\.layers?|layers)\.(\d+)\.(.+)")


def from_hf(tensors: Mapping[str, Tensor], prefix: str) -> Renamed:
    """Tensors under Hugging Face's names, ``prefix`` before them, under ours."""
    inside, rest = inside_outside(tensors, prefix)
    if not any(_LAYER.fullmatch(name) for name in inside):  # transformers 5 saves ViTMSN's without it
        lone = [name for name in rest if _LAYER.fullmatch(name)]
        inside |= {name: tensors[name] for name in lone}
        rest = [name for name in rest if name not in set(lone)]
    outer = re.sub(r"(?:vit|deit|dinov2|dinov2_with_registers)\.$", "", prefix)
    state: Tensors = {}
    unused: list[str] = []
    split: dict[str, dict[str, Tensor]] = {}
    for name, tensor in inside.items():
        layer = _LAYER.fullmatch(name)
        if name in _SINGLE:
            state[_SINGLE[name]] = tensor
        elif name == "embeddings.mask_token":
            unused.append(prefix + name)
        elif layer is None and (name.rpartition(".")[0] in _HEADS or name.startswith("decoder.")):
            rest.append(prefix + name)
        elif layer is None:
            state[name] = tensor
        elif layer[2] in _SCALES:
            state[f"blocks.{layer[1]}.{_SCALES[layer[2]]}"] = tensor
        else:
            module, _, leaf = layer[2].rpartition(".")
            match = _QKV.fullmatch(module)
            if match:
                key = f"blocks.{layer[1]}.attn.qkv.{leaf}"
                split.setdefault(key, {})[(match[1] or match[2])[0]] = tensor
            else:  # an unknown one keeps its name, for the check of names to report
                state[f"blocks.{layer[1]}.{_BLOCK.get(module, module)}.{leaf}"] = tensor
    for key, parts in split.items():
        if len(parts) == 3:
            state[key] = torch.cat([parts[part] for part in "qkv"])
        else:
            state.update({f"{key} ({part} alone)": tensor for part, tensor in parts.items()})
    renamed = Renamed(state, "hf")
    outside = []
    for name in rest:
        module, _, leaf = name.removeprefix(outer).rpartition(".")
        if module in _HEADS:
            state[f"{_HEADS[module]}.{leaf}"] = tensors[name]
        elif name.removeprefix(outer).startswith("decoder."):
            renamed.maker = "MAE"
            unused.append(name)
        elif module.split(".")[0] in _HEADS:
            state[name.removeprefix(outer)] = tensors[name]
        else:
            outside.append(name)
    renamed.settle_head([name for name in state if name.split(".")[0] in _HEADS])
    width = state["patch_embed.proj.weight"].shape[0]
    head = state.get("head.weight")
    if head is not None and head.shape[1] == 2 * width:
        _halve_head(renamed, width)
    renamed.leave_out(unused, "not used for classification")
    renamed.leave_out(renamed.head_beside(tensors, outside, prefix), f"not under {prefix}")
    if "dist_token" in state and "head" in {n.split(".")[0] for n in state} and "head_dist.weight" not in state:
        _distillation_token_as_register(renamed)
    return renamed


def _halve_head(renamed: Renamed, width: int) -> None:
    """Dinov2's head reads class token and mean of the patches side by side; one of them where the other has zeros."""
    token, mean = renamed.state["head.weight"].split(width, dim=1)
    if not (token.any() and mean.any()):  # as we write it
        renamed.state["head.weight"] = (mean if mean.any() else token).contiguous()
        renamed.known["pool"] = "gap" if mean.any() else "cls"
    else:
        renamed.known["pool"] = "cls_gap"


def _distillation_token_as_register(renamed: Renamed) -> None:
    """DeiTForImageClassification has the token but reads only the class token: the token is a register then."""
    state = renamed.state
    token = state.pop("dist_token") + state["pos_embed"][:, 1:2]
    state["reg_token"] = token
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 2:]], dim=1)
    renamed.notes.append("distillation token without a head of its own: kept as a register, the same function")


def to_hf(state: Mapping[str, Tensor], prefix: str, heads: Mapping[str, str], plain: bool) -> Tensors:
    """Tensors under our names by those that Hugging Face keeps on disk.

    Args:
        prefix: of the backbone (``vit.``).
        heads: our head to theirs (``{"head": "classifier"}``); others stay out.
        plain: names inside a block as of ViT and DeiT; else as of Dinov2.
    """
    singles = {ours: theirs for theirs, ours in _SINGLE.items()}
    blocks = {
        "norm1": "layernorm_before" if plain else "norm1",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after" if plain else "norm2",
        "mlp.fc1": "intermediate.dense" if plain else "mlp.fc1",
        "mlp.fc2": "output.dense" if plain else "mlp.fc2",
    }
    scales = {ours: theirs for theirs, ours in _SCALES.items()}
    result: Tensors = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if name in singles:
            result[prefix + singles[name]] = tensor
        elif module in heads:
            result[f"{heads[module]}.{leaf}"] = tensor
        elif name.startswith("blocks."):
            _, index, inner = name.split(".", 2)
            block, part = f"{prefix}encoder.layer.{index}.", inner.rpartition(".")[0]
            if inner in scales:
                result[block + scales[inner]] = tensor
            elif part == "attn.qkv":
                for title, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    result[f"{block}attention.attention.{title}.{leaf}"] = piece
            else:
                result[f"{block}{blocks[part]}.{leaf}"] = tensor
    return result
