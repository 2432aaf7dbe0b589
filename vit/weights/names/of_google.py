"""Google's .npz checkpoints (vision_transformer, big_vision) <-> our names, bitwise in both directions.

One layout has many faces: a prefix (``opt/target/``, ``params/``, ``params/img/`` or none), sub-layers numbered through
a block (``MlpBlock_3``, the published files) or per kind (``MlpBlock_0``, flax linen), blocks side by side or stacked
in one (big_vision's scan), positions at the input of the transformer or at the top, bf16 as two-byte void. Which one
a file has is decided by the keys it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.errors import CheckpointError
from trainer.text import few
from trainer.untrusted.arrays import DAMAGE, open_npz
from vit.weights.checkpoint import ViTCheckpoint, infer_architecture
from vit.weights.position_tables import first_fitting

Arrays = Mapping[str, np.ndarray]

ANCHOR = "embedding/kernel"
_INPUT_POSITIONS = "Transformer/posembed_input/pos_embedding"  # vision_transformer
_POSITIONS = (_INPUT_POSITIONS, "pos_embedding", "Transformer/pos_embedding")  # big_vision: now, before 2022
_STACK = "Transformer/encoderblock/"
_BLOCK = "Transformer/encoderblock_{}/"
_BF16 = np.dtype("V2")


@dataclass(frozen=True)
class Layout:
    """Which face a file has.

    Attributes:
        prefix: before every key.
        numbering: ``through`` (MultiHeadDotProductAttention_1, LayerNorm_2, MlpBlock_3) or ``linen`` (_0, _1, _0).
        stacked: all blocks in one, with a leading axis of depth.
        positions: key of the position table.
    """

    prefix: str = ""
    numbering: str = "through"
    stacked: bool = False
    positions: str = _INPUT_POSITIONS

    @property
    def at_input(self) -> bool:
        """Whether positions are added with the class token in place, which has a row then."""
        return self.positions == _INPUT_POSITIONS


VISION_TRANSFORMER = Layout()  # what the published files have, and Google's loader reads
BIG_VISION = Layout("params/", "linen", False, "pos_embedding")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by key; never unpickles."""
    try:
        with open_npz(path) as file:
            return {key: file[key] for key in file.files}
    except DAMAGE as error:
        raise CheckpointError(f"{path} is not a readable .npz file of arrays ({error}): fetch it again") from error


def find_prefix(keys: list[str], where: str) -> str | None:
    """What stands before the keys of the image tower, or None where there is no tower."""
    found = [key.removesuffix(ANCHOR) for key in keys if key == ANCHOR or key.endswith("/" + ANCHOR)]
    if len(found) > 1:
        found = [prefix for prefix in found if "target" in prefix or "img" in prefix] or found
    if len(found) > 1:
        raise CheckpointError(f"{where} holds {len(found)} image towers ({', '.join(found)}): give a file with one")
    return found[0] if found else None


def from_google(arrays: Arrays, where: str, size: tuple[int, int] | None = None) -> ViTCheckpoint:
    """A file's arrays as a ViTCheckpoint; ``size`` as ``read``'s resolution.

    Raises:
        CheckpointError: a hybrid with a ResNet stem, keys without a meaning here, or no plain ViT at all.
    """
    prefix = find_prefix(list(arrays), where)
    if any(key.endswith("conv_root/kernel") for key in arrays):
        raise CheckpointError(
            f"{where} is a hybrid: a ResNet stem before the transformer (conv_root, block1, ...). "
            "Hybrids are no plain ViTs; timm has them: model=timm model.name=vit_base_r50_s16_384"
        )
    if prefix is None:
        raise CheckpointError(f"{where} holds no {ANCHOR}: it is no ViT of Google's; it has {few(arrays)}")
    tensors = {key.removeprefix(prefix): _tensor(arrays[key]) for key in arrays if key.startswith(prefix)}
    elsewhere = [key for key in arrays if not key.startswith(prefix)]
    linen = any(key.startswith("Transformer/") and "MultiHeadDotProductAttention_0/" in key for key in tensors)
    numbering = "linen" if linen else "through"
    stacked = any(key.startswith(_STACK) for key in tensors)
    positions = next((key for key in _POSITIONS if key in tensors), None)
    if stacked:
        tensors = _unstack(tensors)
    state, heads = {}, None
    for ours, theirs, kind in _table(sorted(tensors), numbering):
        if not all(key in tensors for key in theirs):
            raise CheckpointError(f"{where} lacks {', '.join(key for key in theirs if key not in tensors)}")
        parts = [tensors.pop(key) for key in theirs]
        if kind == "qkv":
            heads = parts[0].shape[-2]
        state[ours] = _TO_OURS[kind](parts).contiguous()
    if positions is not None:
        state["pos_embed"] = tensors.pop(positions)
    if tensors:
        raise CheckpointError(f"{where} is no plain ViT: {len(tensors)} arrays have no place in one: {few(tensors)}")
    known = {"heads": heads, "gelu": "tanh", "pos_embed": None if positions else "sincos2d"}
    known["grid"] = first_fitting(state, None, size)
    arch = infer_architecture(state, where, known)
    layout = Layout(prefix, numbering, stacked, positions or "pos_embedding")
    notes = [f"left out, not under {prefix or 'the root'}: {few(elsewhere)}"] if elsewhere else []
    if positions is None:
        notes.append("no position table in the file: taken as big_vision's fixed sine-cosine positions (sincos2d)")
    return ViTCheckpoint(
        state,
        f"Google npz ({_describe(layout)})",
        arch,
        mean=(0.5,) * arch["in_channels"],  # pictures on a scale of -1..1
        std=(0.5,) * arch["in_channels"],
        interpolation="bilinear",
        notes=notes,
        layout=asdict(layout),
        grid_known=known["grid"] is not None,
    )


def to_google(state: Mapping[str, Tensor], heads: int, layout: Layout = VISION_TRANSFORMER) -> dict[str, np.ndarray]:
    """Tensors under our names as a file's arrays; the inverse of ``from_google``, bitwise.

    Where the layout keeps positions at the transformer's input, Google's loader expects a row for the class token: a
    table without one gets a row of zeros.

    Args:
        state: by our names; only what the format can hold (see ``vit.weights.write``).
        heads: attention heads H.
        layout: the face to write.
    """
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    width = state["patch_embed.proj.weight"].shape[0]
    tensors: dict[str, Tensor] = {}
    for ours, theirs, kind in _names(depth, layout.numbering):
        if ours in state:
            tensors.update(zip(theirs, _TO_THEIRS[kind](state[ours], heads, width), strict=True))
    if "pos_embed" in state:
        table = state["pos_embed"]
        if layout.at_input and "cls_token" in state and not _has_class_row(table, state):
            table = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
        tensors[layout.positions] = table
    if layout.stacked:
        tensors = _stack(tensors, depth)
    return {layout.prefix + key: _array(tensors[key]) for key in sorted(tensors)}


def split_class_row(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The class token's row of positions added to the token, and taken out of the table. Outputs stay the same."""
    state = dict(state)
    tokens = [name for name in ("cls_token", "dist_token") if name in state]
    for index, name in enumerate(tokens):
        state[name] = state[name] + state["pos_embed"][:, index : index + 1]
    state["pos_embed"] = state["pos_embed"][:, len(tokens) :]
    return state


def _has_class_row(table: Tensor, state: Mapping[str, Tensor]) -> bool:
    return infer_architecture({**state, "pos_embed": table}, "the state")["class_position"]


# names


def _names(depth: int, numbering: str) -> Iterator[tuple[str, list[str], str]]:
    """(our name, their keys, kind of conversion) for everything but positions."""
    attention, norm, mlp = ("_0", "_1", "_0") if numbering == "linen" else ("_1", "_2", "_3")
    yield "cls_token", ["cls"], "same"
    yield "patch_embed.proj.weight", ["embedding/kernel"], "patch"
    yield "patch_embed.proj.bias", ["embedding/bias"], "same"
    for index in range(depth):
        ours, theirs = f"blocks.{index}.", _BLOCK.format(index)
        yield from _norm(f"{ours}norm1", f"{theirs}LayerNorm_0")
        inner = f"{theirs}MultiHeadDotProductAttention{attention}/"
        yield f"{ours}attn.qkv.weight", [f"{inner}{part}/kernel" for part in ("query", "key", "value")], "qkv"
        yield f"{ours}attn.qkv.bias", [f"{inner}{part}/bias" for part in ("query", "key", "value")], "heads"
        yield f"{ours}attn.proj.weight", [f"{inner}out/kernel"], "out"
        yield f"{ours}attn.proj.bias", [f"{inner}out/bias"], "same"
        yield from _norm(f"{ours}norm2", f"{theirs}LayerNorm{norm}")
        yield from _mlp(f"{ours}mlp", f"{theirs}MlpBlock{mlp}")
    yield from _norm("norm", "Transformer/encoder_norm")
    ours, theirs = "attn_pool.", "MAPHead_0/"
    inner = f"{theirs}MultiHeadDotProductAttention_0/"
    yield f"{ours}latent", [f"{theirs}probe"], "same"
    for name, parts in (("q", ("query",)), ("kv", ("key", "value"))):
        yield f"{ours}{name}.weight", [f"{inner}{part}/kernel" for part in parts], "qkv"
        yield f"{ours}{name}.bias", [f"{inner}{part}/bias" for part in parts], "heads"
    yield f"{ours}proj.weight", [f"{inner}out/kernel"], "out"
    yield f"{ours}proj.bias", [f"{inner}out/bias"], "same"
    yield from _norm(f"{ours}norm", f"{theirs}LayerNorm_0")
    yield from _mlp(f"{ours}mlp", f"{theirs}MlpBlock_0")
    for ours, theirs in (("pre_logits.fc", "pre_logits"), ("head", "head")):
        yield f"{ours}.weight", [f"{theirs}/kernel"], "dense"
        yield f"{ours}.bias", [f"{theirs}/bias"], "same"


def _norm(ours: str, theirs: str) -> Iterator[tuple[str, list[str], str]]:
    yield f"{ours}.weight", [f"{theirs}/scale"], "same"
    yield f"{ours}.bias", [f"{theirs}/bias"], "same"


def _mlp(ours: str, theirs: str) -> Iterator[tuple[str, list[str], str]]:
    for index in (0, 1):
        yield f"{ours}.fc{index + 1}.weight", [f"{theirs}/Dense_{index}/kernel"], "dense"
        yield f"{ours}.fc{index + 1}.bias", [f"{theirs}/Dense_{index}/bias"], "same"


def _table(keys: list[str], numbering: str) -> list[tuple[str, list[str], str]]:
    """The rows of ``_names`` of which the file has at least one key."""
    numbers = [int(match[1]) for key in keys if (match := re.match(r"Transformer/encoderblock_(\d+)/", key))]
    present = set(keys)
    return [row for row in _names(1 + max(numbers, default=0), numbering) if present.intersection(row[1])]


# tensors


def _qkv_to_theirs(weight: Tensor, heads: int, width: int) -> list[Tensor]:
    return [part.T.unflatten(1, (heads, width // heads)) for part in weight.split(width)]


_TO_OURS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "same": lambda parts: parts[0],
    "dense": lambda parts: parts[0].T,
    "patch": lambda parts: parts[0].permute(3, 2, 0, 1),  # (p, p, C, D) -> (D, C, p, p)
    "qkv": lambda parts: torch.cat([part.flatten(1).T for part in parts]),  # (D, H, d) each -> rows of one matrix
    "heads": lambda parts: torch.cat([part.flatten() for part in parts]),
    "out": lambda parts: parts[0].flatten(0, 1).T,  # (H, d, D) -> (D, D)
}
_TO_THEIRS: dict[str, Callable[[Tensor, int, int], list[Tensor]]] = {  # (tensor, heads, width)
    "same": lambda tensor, heads, width: [tensor],
    "dense": lambda tensor, heads, width: [tensor.T],
    "patch": lambda tensor, heads, width: [tensor.permute(2, 3, 1, 0)],
    "qkv": _qkv_to_theirs,
    "heads": lambda tensor, heads, width: [part.unflatten(0, (heads, width // heads)) for part in tensor.split(width)],
    "out": lambda tensor, heads, width: [tensor.T.unflatten(0, (heads, width // heads))],
}


def _stack(tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Blocks 0..depth-1 as one, with a leading axis."""
    first = _BLOCK.format(0)
    stacked = {key: value for key, value in tensors.items() if not key.startswith("Transformer/encoderblock_")}
    for key in [key.removeprefix(first) for key in tensors if key.startswith(first)]:
        stacked[_STACK + key] = torch.stack([tensors[_BLOCK.format(i) + key] for i in range(depth)])
    return stacked


def _unstack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    single = {key: value for key, value in tensors.items() if not key.startswith(_STACK)}
    for key, value in tensors.items():
        if key.startswith(_STACK):
            for index, part in enumerate(value):
                single[_BLOCK.format(index) + key.removeprefix(_STACK)] = part
    return single


def _tensor(array: np.ndarray) -> Tensor:
    """An array as a tensor of the same bits; two-byte void is bf16."""
    if array.dtype == _BF16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    if array.dtype.kind not in "fiu":
        raise CheckpointError(f"an array of type {array.dtype} is no weight")
    return torch.from_numpy(np.ascontiguousarray(array))


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_BF16)
    return tensor.numpy()


def _describe(layout: Layout) -> str:
    words = ["numbered per kind" if layout.numbering == "linen" else "numbered through a block"]
    if layout.prefix:
        words.append(f"prefix {layout.prefix}")
    if layout.stacked:
        words.append("stacked blocks")
    return ", ".join(words)
