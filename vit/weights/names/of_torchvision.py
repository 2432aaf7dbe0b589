"""torchvision's names of tensors (vit_b_16 and its like) and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from vit.weights.names.renamed import Renamed, Tensors, inside_outside

ANCHOR = "conv_proj.weight"

_SINGLE = {
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
_BLOCK = {
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
_OLD = {"mlp.linear_1": "mlp.0", "mlp.linear_2": "mlp.3"}  # before torchvision 0.13
_LAYER = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.(.+)")


def from_torchvision(tensors: Mapping[str, Tensor], prefix: str) -> Renamed:
    """Tensors under torchvision's names, ``prefix`` before them, under ours."""
    inside, outside = inside_outside(tensors, prefix)
    state: Tensors = {}
    for name, tensor in inside.items():
        layer = _LAYER.fullmatch(name)
        if layer:
            inner = layer[2]
            for old, new in _OLD.items():
                inner = inner.replace(old, new)
            state[f"blocks.{layer[1]}.{_BLOCK.get(inner, inner)}"] = tensor
        else:
            state[_SINGLE.get(name, name)] = tensor
    renamed = Renamed(state, "torchvision")
    renamed.settle_head([name for name in state if name.startswith("heads.")])
    renamed.leave_out(renamed.head_beside(tensors, outside, prefix), f"not under {prefix}")
    return renamed


def to_torchvision(state: Mapping[str, Tensor]) -> Tensors:
    """Tensors under our names by torchvision's."""
    singles = {ours: theirs for theirs, ours in _SINGLE.items()}
    inner = {ours: theirs for theirs, ours in _BLOCK.items()}
    result: Tensors = {}
    for name, tensor in state.items():
        if name.startswith("blocks."):
            _, index, part = name.split(".", 2)
            result[f"encoder.layers.encoder_layer_{index}.{inner[part]}"] = tensor
        else:
            result[singles[name]] = tensor
    return result
