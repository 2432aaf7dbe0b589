"""Other PyTorch libraries' parameter names -> ours: timm and Meta's (DeiT, MAE, DINO), Hugging Face, torchvision."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from trainer.errors import CheckpointError
from trainer.text import few
from vit.weights.grids import square_grid
from vit.weights.names.heads import settle, take_beside
from vit.weights.names.of_clip import TOWER_ANCHOR, refuse_clip, tower
from vit.weights.names.prefixes import PREFERRED, unwrap_names

Tensors = dict[str, Tensor]

HF_ANCHOR = "embeddings.patch_embeddings.projection.weight"
TIMM_ANCHOR = "patch_embed.proj.weight"
TORCHVISION_ANCHOR = "conv_proj.weight"


@dataclass
class Named:
    """Tensors under our names, and what their old names tell.

    Attributes:
        state: by our names.
        family: ``timm``, ``hf`` or ``torchvision``.
        maker: who publishes such files, as far as names tell: ``MAE``, ``DINOv2``, ``DeiT III``...; or empty.
        known: fields of an architecture that the names settle.
        notes: what was left out or rewritten.
        lost_head: why the classifier in the file cannot be read; empty where it can, or there is none.
    """

    state: Tensors
    family: str
    maker: str = ""
    known: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lost_head: str = ""


def to_ours(tensors: Mapping[str, Tensor], where: str) -> Named:
    """Tensors under another library's names (with any prefixes before them) under ours.

    Raises:
        CheckpointError: the names are of no kind that is known; the first few are listed.
    """
    tensors = unwrap_names(tensors)
    for anchor, translate in _FAMILIES.items():
        prefix = _prefix(tensors, anchor)
        if prefix is not None:
            return translate(tensors, prefix)
    raise CheckpointError(
        f"{where}: weights of no kind that is known here. Its names are like {few(tensors)}. Known: Google's npz, "
        "timm, DeiT, MAE, DINO and DINOv2, Hugging Face's ViT, DeiT, ViTMAE and Dinov2, torchvision's vit_*, and ours"
    )


def _prefix(tensors: Mapping[str, Tensor], anchor: str) -> str | None:
    found = [name.removesuffix(anchor) for name in tensors if name == anchor or name.endswith("." + anchor)]
    found = [prefix for prefix in found if not prefix.endswith("decoder.")]
    return min(found, key=lambda p: (not any(word in p for word in PREFERRED), len(p)), default=None)


def _split(tensors: Mapping[str, Tensor], prefix: str) -> tuple[Tensors, list[str]]:
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return inside, [name for name in tensors if not name.startswith(prefix)]


# timm, DeiT, MAE, DINO: our names but for a few


_TIMM_RENAMES = [
    (re.compile(r"^register_tokens$"), "reg_token"),
    (re.compile(r"^(blocks\.\d+)\.gamma_([12])$"), r"\1.ls\2.gamma"),  # DeiT III
    (re.compile(r"^blocks\.\d+\.(\d+)\."), r"blocks.\1."),  # DINOv2 in chunks: the second number counts through
    (re.compile(r"^head\.0\.(running_mean|running_var|num_batches_tracked)$"), r"probe_norm.\1"),  # MAE's probe
    (re.compile(r"^head\.1\.(weight|bias)$"), r"head.\1"),
]
_PRETRAINED = ("MoCo v3", "DINO")
_TIMM_UNUSED = re.compile(r"^(?:mask_token|decoder_.*|head\.(?:mlp|last_layer)\b.*)$")


def _from_timm(tensors: Mapping[str, Tensor], prefix: str) -> Named:
    inside, outside = _split(tensors, prefix)
    state: Tensors = {}
    unused: list[str] = []
    for name, tensor in inside.items():
        if _TIMM_UNUSED.match(name):
            unused.append(name)
            continue
        for pattern, replacement in _TIMM_RENAMES:
            if name.startswith("head.1.") and "head.0.running_mean" not in inside:
                continue
            name = pattern.sub(replacement, name)
        state[name] = tensor
    named = Named(state, "timm", _timm_maker(inside, outside))
    patch = state[TIMM_ANCHOR]
    if patch.ndim == 2:  # a linear layer over flattened patches
        channels = 3 if patch.shape[1] % 3 == 0 else 1
        side = square_grid(patch.shape[1] // channels)
        if side:
            state[TIMM_ANCHOR] = patch.unflatten(1, (channels, *side))
            named.notes.append(f"patch embedding kept as a matrix: taken as {channels} x {side[0]} x {side[1]} pixels")
    if "probe_norm.running_mean" in state:
        named.known["probe_norm"] = True
    strange = [name for name in state if name.startswith("head.") and name not in ("head.weight", "head.bias")]
    if named.maker in _PRETRAINED:  # what is called a head projects features for the loss of pre-training
        unused += strange
        for name in strange:
            del state[name]
    elif strange:
        _settle_head(named, [name for name in state if name.startswith("head.")])
    _leave_out(named, unused, "not used for classification")
    _leave_out(named, _head_beside(named, tensors, outside, prefix), f"not under {prefix}")
    return named


def _settle_head(named: Named, names: list[str]) -> None:
    notes, named.lost_head = settle(named.state, names, named.state[TIMM_ANCHOR].shape[0])
    named.notes += notes + ([f"left out: {named.lost_head}"] if named.lost_head else [])


def _head_beside(named: Named, tensors: Mapping[str, Tensor], outside: list[str], prefix: str) -> list[str]:
    """Takes a head that stands beside the network; returns what else is outside."""
    if not named.lost_head and named.maker not in (*_PRETRAINED, "MAE"):
        notes, named.lost_head, outside = take_beside(named.state, tensors, outside, prefix, named.family == "hf")
        named.notes += notes
    return outside


def _timm_maker(inside: Mapping[str, Tensor], outside: list[str]) -> str:
    if "register_tokens" in inside or ("mask_token" in inside and "blocks.0.ls1.gamma" in inside):
        return "DINOv2"
    if any(name.startswith("decoder_") for name in inside) or "head.0.running_mean" in inside:
        return "MAE"
    if "blocks.0.gamma_1" in inside:
        return "DeiT III"
    if "dist_token" in inside:
        return "DeiT, distilled"
    if any("momentum_encoder." in name for name in outside):
        return "MoCo v3"
    if any("dino" in name for name in outside) or any(name.startswith("head.last_layer") for name in inside):
        return "DINO"
    return ""


# Hugging Face


_HF_SINGLE = {
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
_HF_HEADS = {"classifier": "head", "cls_classifier": "head", "distillation_classifier": "head_dist"}
# within a block: names on disk first, then those that modules have had since version 5
_HF_BLOCK = {
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
_HF_SCALES = {"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
_HF_QKV = re.compile(r"attention\.(?:attention\.(query|key|value)|([qkv])_proj)")
_HF_LAYER = re.compile(r"(?:encoder\.layers?|layers)\.(\d+)\.(.+)")


def _from_hf(tensors: Mapping[str, Tensor], prefix: str) -> Named:
    inside, rest = _split(tensors, prefix)
    if not any(_HF_LAYER.fullmatch(name) for name in inside):  # transformers 5 saves ViTMSN's without it
        lone = [name for name in rest if _HF_LAYER.fullmatch(name)]
        inside |= {name: tensors[name] for name in lone}
        rest = [name for name in rest if name not in set(lone)]
    outer = re.sub(r"(?:vit|deit|dinov2|dinov2_with_registers)\.$", "", prefix)
    state: Tensors = {}
    unused: list[str] = []
    split: dict[str, dict[str, Tensor]] = {}
    for name, tensor in inside.items():
        layer = _HF_LAYER.fullmatch(name)
        if name in _HF_SINGLE:
            state[_HF_SINGLE[name]] = tensor
        elif name == "embeddings.mask_token":
            unused.append(prefix + name)
        elif layer is None and (name.rpartition(".")[0] in _HF_HEADS or name.startswith("decoder.")):
            rest.append(prefix + name)
        elif layer is None:
            state[name] = tensor
        elif layer[2] in _HF_SCALES:
            state[f"blocks.{layer[1]}.{_HF_SCALES[layer[2]]}"] = tensor
        else:
            module, _, leaf = layer[2].rpartition(".")
            match = _HF_QKV.fullmatch(module)
            if match:
                key = f"blocks.{layer[1]}.attn.qkv.{leaf}"
                split.setdefault(key, {})[(match[1] or match[2])[0]] = tensor
            else:  # an unknown one keeps its name, for the check of names to report
                state[f"blocks.{layer[1]}.{_HF_BLOCK.get(module, module)}.{leaf}"] = tensor
    for key, parts in split.items():
        if len(parts) == 3:
            state[key] = torch.cat([parts[part] for part in "qkv"])
        else:
            state.update({f"{key} ({part} alone)": tensor for part, tensor in parts.items()})
    named = Named(state, "hf")
    outside = []
    for name in rest:
        module, _, leaf = name.removeprefix(outer).rpartition(".")
        if module in _HF_HEADS:
            state[f"{_HF_HEADS[module]}.{leaf}"] = tensors[name]
        elif name.removeprefix(outer).startswith("decoder."):
            named.maker = "MAE"
            unused.append(name)
        elif module.split(".")[0] in _HF_HEADS:
            state[name.removeprefix(outer)] = tensors[name]
        else:
            outside.append(name)
    _settle_head(named, [name for name in state if name.split(".")[0] in _HF_HEADS])
    width = state["patch_embed.proj.weight"].shape[0]
    head = state.get("head.weight")
    if head is not None and head.shape[1] == 2 * width:
        _halve_head(named, width)
    _leave_out(named, unused, "not used for classification")
    _leave_out(named, _head_beside(named, tensors, outside, prefix), f"not under {prefix}")
    if "dist_token" in state and "head" in {n.split(".")[0] for n in state} and "head_dist.weight" not in state:
        _distillation_token_as_register(named)
    return named


def _halve_head(named: Named, width: int) -> None:
    """Dinov2's head reads class token and mean of the patches side by side; one of them where the other has zeros."""
    token, mean = named.state["head.weight"].split(width, dim=1)
    if not (token.any() and mean.any()):  # as we write it
        named.state["head.weight"] = (mean if mean.any() else token).contiguous()
        named.known["pool"] = "gap" if mean.any() else "cls"
    else:
        named.known["pool"] = "cls_gap"


def _distillation_token_as_register(named: Named) -> None:
    """DeiTForImageClassification has the token but reads only the class token: the token is a register then."""
    state = named.state
    token = state.pop("dist_token") + state["pos_embed"][:, 1:2]
    state["reg_token"] = token
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 2:]], dim=1)
    named.notes.append("distillation token without a head of its own: kept as a register, the same function")


def _from_tower(tensors: Mapping[str, Tensor], prefix: str) -> Named:
    """SigLIP's image tower; its classifier, where there is one, reads the mean of the patches."""
    inside, rest = _split(tensors, prefix)
    heads = [name for name in tensors if re.fullmatch(r"(?:.*\.)?classifier\.(?:weight|bias)", name)]
    state = tower({name: tensor for name, tensor in inside.items() if prefix + name not in heads})
    refuse_clip(state, "the file")
    state.update({f"head.{name.rpartition('.')[2]}": tensors[name] for name in heads})
    named = Named(state, "hf", known={"gelu": "tanh"})
    if heads and "attn_pool.latent" in state:
        _leave_out(named, [name for name in state if name.startswith("attn_pool.")], "its classifier reads the mean")
        named.state = {name: tensor for name, tensor in state.items() if not name.startswith("attn_pool.")}
    _leave_out(named, [name for name in rest if name not in heads], f"not under {prefix or 'the root'}")
    return named


# torchvision


_TV_SINGLE = {
    "class_token": "cls_token",
    "encoder.pos_embedding": "pos_embed",
    "conv_proj.weight": "patch_embed.proj.weight",
    "conv_proj.bias": "patch_embed.proj.bias",
    "encoder.ln.weight": "norm.weight",
    "encoder.ln.bias": "norm.bias",
    "heads.pre_logits.weight": "pre_logits.fc.weight",
    "heads.pre_logits.bias": "pre_logits.fc.bias",
    "heads.head.weight": "head.weight",
    "heads.head.bias": "head.bias",
}
_TV_BLOCK = {
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "self_attention.in_proj_weight": "attn.qkv.weight",
    "self_attention.in_proj_bias": "attn.qkv.bias",
    "self_attention.out_proj.weight": "attn.proj.weight",
    "self_attention.out_proj.bias": "attn.proj.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.0.weight": "mlp.fc1.weight",
    "mlp.0.bias": "mlp.fc1.bias",
    "mlp.3.weight": "mlp.fc2.weight",
    "mlp.3.bias": "mlp.fc2.bias",
}
_TV_OLD = {"mlp.linear_1": "mlp.0", "mlp.linear_2": "mlp.3"}  # before torchvision 0.13
_TV_LAYER = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)")


def _from_torchvision(tensors: Mapping[str, Tensor], prefix: str) -> Named:
    inside, outside = _split(tensors, prefix)
    state: Tensors = {}
    for name, tensor in inside.items():
        layer = _TV_LAYER.fullmatch(name)
        if layer:
            inner = layer[2]
            for old, new in _TV_OLD.items():
                inner = inner.replace(old, new)
            state[f"blocks.{layer[1]}.{_TV_BLOCK.get(inner, inner)}"] = tensor
        else:
            state[_TV_SINGLE.get(name, name)] = tensor
    named = Named(state, "torchvision")
    _settle_head(named, [name for name in state if name.startswith("heads.")])
    _leave_out(named, _head_beside(named, tensors, outside, prefix), f"not under {prefix}")
    return named


def to_hf(state: Mapping[str, Tensor], prefix: str, heads: Mapping[str, str], plain: bool) -> Tensors:
    """Tensors under our names by those that Hugging Face keeps on disk.

    Args:
        prefix: of the backbone (``vit.``).
        heads: our head to theirs (``{"head": "classifier"}``); others stay out.
        plain: names inside a block as of ViT and DeiT; else as of Dinov2.
    """
    singles = {ours: theirs for theirs, ours in _HF_SINGLE.items()}
    blocks = {
        "norm1": "layernorm_before" if plain else "norm1",
        "attn.proj": "attention.output.dense",
        "norm2": "layernorm_after" if plain else "norm2",
        "mlp.fc1": "intermediate.dense" if plain else "mlp.fc1",
        "mlp.fc2": "output.dense" if plain else "mlp.fc2",
    }
    scales = {ours: theirs for theirs, ours in _HF_SCALES.items()}
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


def to_torchvision(state: Mapping[str, Tensor]) -> Tensors:
    """Tensors under our names by torchvision's."""
    singles = {ours: theirs for theirs, ours in _TV_SINGLE.items()}
    inner = {ours: theirs for theirs, ours in _TV_BLOCK.items()}
    result: Tensors = {}
    for name, tensor in state.items():
        if name.startswith("blocks."):
            _, index, part = name.split(".", 2)
            result[f"encoder.layers.encoder_layer_{index}.{inner[part]}"] = tensor
        else:
            result[singles[name]] = tensor
    return result


def _leave_out(named: Named, names: list[str], why: str) -> None:
    if names:
        named.notes.append(f"left out ({why}): {few(sorted(names))}")


_FAMILIES: dict[str, Callable[[Mapping[str, Tensor], str], Named]] = {
    TOWER_ANCHOR: _from_tower,
    HF_ANCHOR: _from_hf,
    TIMM_ANCHOR: _from_timm,
    TORCHVISION_ANCHOR: _from_torchvision,
}
