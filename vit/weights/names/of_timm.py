"""Names of tensors in files of timm, DeiT, MAE, DINO and MoCo: ours but for a few."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from vit.weights.names.renamed import PATCH, PRETRAINED, Renamed, Tensors, inside_outside
from vit.weights.position_tables import square_grid

ANCHOR = PATCH

_RENAMES = [
    (re.compile(r"^register_tokens$"), "reg_token"),
    (re.compile(r"^(blocks\.\d+)\.gamma_([12])$"), r"\1.ls\2.gamma"),  # DeiT III
    (re.compile(r"^blocks\.\d+\.(\d+)\."), r"blocks.\1."),  # DINOv2 in chunks: the second number counts through
    (re.compile(r"^head\.0\.(running_mean|running_var|num_batches_tracked)$"), r"probe_norm.\1"),  # MAE's probe
    (re.compile(r"^head\.1\.(weight|bias)$"), r"head.\1"),
]
_UNUSED = re.compile(r"^(?:mask_token|decoder_.*|head\.(?:mlp|last_layer)\b.*)$")


def from_timm(tensors: Mapping[str, Tensor], prefix: str) -> Renamed:
    """Tensors under timm's and its makers' names, ``prefix`` before them, under ours."""
    inside, outside = inside_outside(tensors, prefix)
    state: Tensors = {}
    unused: list[str] = []
    for name, tensor in inside.items():
        if _UNUSED.match(name):
            unused.append(name)
            continue
        for pattern, replacement in _RENAMES:
            if name.startswith("head.1.") and "head.0.running_mean" not in inside:
                continue
            name = pattern.sub(replacement, name)
        state[name] = tensor
    renamed = Renamed(state, "timm", _maker(inside, outside))
    patch = state[PATCH]
    if patch.ndim == 2:  # a linear layer over flattened patches
        channels = 3 if patch.shape[1] % 3 == 0 else 1
        side = square_grid(patch.shape[1] // channels)
        if side:
            state[PATCH] = patch.unflatten(1, (channels, *side))
            pixels = f"{channels} x {side[0]} x {side[1]} pixels"
            renamed.notes.append(f"patch embedding kept as a matrix: taken as {pixels}")
    if "probe_norm.running_mean" in state:
        renamed.known["probe_norm"] = True
    strange = [name for name in state if name.startswith("head.") and name not in ("head.weight", "head.bias")]
    if renamed.maker in PRETRAINED:  # what is called a head projects features for the loss of pre-training
        unused += strange
        for name in strange:
            del state[name]
    elif strange:
        renamed.settle_head([name for name in state if name.startswith("head.")])
    renamed.leave_out(unused, "not used for classification")
    renamed.leave_out(renamed.head_beside(tensors, outside, prefix), f"not under {prefix}")
    return renamed


def _maker(inside: Mapping[str, Tensor], outside: list[str]) -> str:
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
