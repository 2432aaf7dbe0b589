"""Image towers of SigLIP and CLIP as Hugging Face names them: SigLIP's is a plain ViT, CLIP's one of timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from trainer.errors import CheckpointError
from vit.weights.names.renamed import Renamed, inside_outside

ANCHOR = "embeddings.patch_embedding.weight"

_SINGLE = {
    "embeddings.patch_embedding": "patch_embed.proj",
    "post_layernorm": "norm",
    "pre_layrnorm": "norm_pre",  # as it is spelled there
    "head.attention.out_proj": "attn_pool.proj",
    "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1",
    "head.mlp.fc2": "attn_pool.mlp.fc2",
}
_BLOCK = {
    **{"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.out_proj": "attn.proj"},
    **{"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"},
}
_PUBLISHED = {(768, 16): ("base", 16), (768, 32): ("base", 32), (1024, 14): ("large", 14), (1280, 14): ("huge", 14)}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_UNUSED = re.compile(r"embeddings\.position_ids|embeddings\.class_embedding")


def tower(inside: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of a tower, without what stands before them, as ours (CLIP's: as timm's); strange ones stay."""
    state: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in inside.items():
        layer, (module, _, leaf) = _LAYER.fullmatch(name), name.rpartition(".")
        split = layer and re.fullmatch(r"self_attn\.([qkv])_proj", layer[2])
        if layer and split:
            parts.setdefault(f"blocks.{layer[1]}.attn.qkv.{layer[3]}", {})[split[1]] = tensor
        elif layer:
            state[f"blocks.{layer[1]}.{_BLOCK.get(layer[2], layer[2])}.{layer[3]}"] = tensor
        elif name == "embeddings.position_embedding.weight":
            state["pos_embed"] = tensor[None]
        elif name == "head.probe":
            state["attn_pool.latent"] = tensor
        elif name in ("head.attention.in_proj_weight", "head.attention.in_proj_bias"):
            query, rest = tensor.split([len(tensor) // 3, len(tensor) - len(tensor) // 3])
            leaf = name.rpartition("_")[2]
            state[f"attn_pool.q.{leaf}"], state[f"attn_pool.kv.{leaf}"] = query.contiguous(), rest.contiguous()
        elif not _UNUSED.fullmatch(name):
            state[f"{_SINGLE.get(module, module)}.{leaf}"] = tensor
    for name, three in parts.items():
        state[name] = torch.cat([three[part] for part in "qkv"])
    if "embeddings.class_embedding" in inside:
        state["cls_token"] = inside["embeddings.class_embedding"].reshape(1, 1, -1)
    return state


def refuse_clip(state: Mapping[str, Tensor], where: str) -> None:
    """CheckpointError for CLIP's tower, which has a norm before its blocks, with the name that timm has for it."""
    if "norm_pre.weight" in state:
        kernel = state["patch_embed.proj.weight"]
        size, patch = _PUBLISHED.get((kernel.shape[0], kernel.shape[-1]), ("base", 16))
        raise CheckpointError(
            f"{where} is CLIP's image tower, which has a norm before its blocks as no plain ViT has: use model=timm "
            f"model.name=vit_{size}_patch{patch}_clip_224, for OpenAI's own weights "
            f"vit_{size}_patch{patch}_clip_quickgelu_224"
        )


def clip_for_timm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """CLIP's image tower, alone or beside that of texts, under timm's names; None where it is none.

    Its projection is the head, as in timm.
    """
    prefix = next((n.removesuffix(ANCHOR) for n in tensors if n.endswith(ANCHOR)), None)
    if prefix is None or f"{prefix}pre_layrnorm.weight" not in tensors:
        return None
    inside = {n.removeprefix(prefix): tensor for n, tensor in tensors.items() if n.startswith(prefix)}
    projection = inside.pop("visual_projection.weight", tensors.get("visual_projection.weight"))
    state = tower({name: tensor for name, tensor in inside.items() if not name.startswith("text_")})
    if projection is not None:
        state["head.weight"], state["head.bias"] = projection, torch.zeros_like(projection[:, 0])
    return state


def from_tower(tensors: Mapping[str, Tensor], prefix: str) -> Renamed:
    """SigLIP's image tower; its classifier, where there is one, reads the mean of the patches."""
    inside, rest = inside_outside(tensors, prefix)
    heads = [name for name in tensors if re.fullmatch(r"(?:.*\.)?classifier\.(?:weight|bias)", name)]
    state = tower({name: tensor for name, tensor in inside.items() if prefix + name not in heads})
    refuse_clip(state, "the file")
    state.update({f"head.{name.rpartition('.')[2]}": tensors[name] for name in heads})
    renamed = Renamed(state, "hf", known={"gelu": "tanh"})
    if heads and "attn_pool.latent" in state:
        renamed.leave_out([name for name in state if name.startswith("attn_pool.")], "its classifier reads the mean")
        renamed.state = {name: tensor for name, tensor in state.items() if not name.startswith("attn_pool.")}
    renamed.leave_out([name for name in rest if name not in heads], f"not under {prefix or 'the root'}")
    return renamed
