"""The options of a ViT in one table: their tensors, what a checkpoint implies of them, and which files can hold them.

An option is a field of the same name in ``ModelConfig`` and in ``Architecture``. Reading (``vit.weights``), writing,
loading and the checks of a configuration go through this table, so that a new option needs a row here and no word
there. Its numbers stand in ``vit.config``, its computation in ``vit.model.transformer`` or ``layers``.

Facts: the fields of an architecture as plain data, enumerations by value (``"gap"``). No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Facts = Mapping[str, Any]
State = Mapping[str, "Tensor"]  # tensors under our names

NPZ, TORCHVISION, TIMM, HF = "npz", "torchvision", "timm", "hf"  # formats that hold less than everything


@dataclass(frozen=True)
class Limit:
    """Values of an option for which formats have no place.

    Attributes:
        formats: that cannot hold them.
        words: such a value as a message calls it; nothing where the network does not have one.
    """

    formats: tuple[str, ...]
    words: Callable[[Facts], str | bool | int | None]


@dataclass(frozen=True)
class Option:
    """An option of the network.

    Attributes:
        name: of its field.
        keys: its parameters in a state dict; a network has all of them or none.
        block_keys: likewise within each block, after ``blocks.N.``; some of these may be absent.
        buffers: tensors that go with it and need not be there.
        implied: the value that tensors show, or the usual one where they show none.
        told: tensors do not settle it: what stands beside them in a file of ours goes before ``implied``.
        part: what a file or a model has with it and would compute something else without (``{}``: how many); empty
            where fitting takes care of it.
        shown: named when a checkpoint is described.
        limits: which formats cannot hold which of its values.
        timm: arguments of timm's VisionTransformer, where they are not the defaults there.
        least: smallest value of a number, otherwise refused in a configuration.
    """

    name: str
    keys: tuple[str, ...] = ()
    block_keys: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    implied: Callable[[State], Any] | None = None
    told: bool = False
    part: str = ""
    shown: bool = False
    limits: tuple[Limit, ...] = ()
    timm: Callable[[Facts], dict[str, Any]] = lambda facts: {}
    least: float | None = None


def _rows(name: str) -> Callable[[State], int]:
    return lambda state: state[name].shape[-2] if name in state else 0


def _layer(name: str, *leaves: str) -> tuple[str, ...]:
    return tuple(f"{name}.{leaf}" for leaf in leaves or ("weight", "bias"))


def _pool(state: State) -> str:
    if "attn_pool.latent" in state:
        return "map"
    return "gap" if "fc_norm.weight" in state or "cls_token" not in state else "cls"


def _qk_norm(state: State) -> str:
    if "blocks.0.attn.q_norm.weight" not in state:
        return "none"
    return "layer" if "blocks.0.attn.q_norm.bias" in state else "rms"


def _no_rows(facts: Facts) -> bool:
    """timm's table of positions has rows for all tokens before the patches or for none."""
    table = facts["pos_embed"] == "learned" and not (facts["class_position"] and facts["class_token"])
    return table and bool(facts["class_token"] or facts["registers"])


def _tubelet(state: State) -> int:
    kernel = state.get("patch_embed.proj.weight")
    return kernel.shape[2] if kernel is not None and kernel.ndim == 5 else 1


def _space_time(state: State) -> str:
    if "time_embed" not in state or "blocks.0.attn_time.proj.weight" in state:
        return "factorised_attention"
    return "factorised_encoder" if "time_blocks.0.norm1.weight" in state else "joint"


def _temporal_depth(state: State) -> int:
    return sum(name.startswith("time_blocks.") and name.endswith(".norm1.weight") for name in state)


_POOL_KEYS = tuple(
    key for part in ("q", "kv", "proj", "norm", "mlp.fc1", "mlp.fc2") for key in _layer(f"attn_pool.{part}")
)

_TIME_PARTS = {"norm": ("",), "attn": (".qkv", ".proj", ".q_norm", ".k_norm")}

OPTIONS = (
    Option(
        "pool",
        keys=("attn_pool.latent", *_POOL_KEYS),
        implied=_pool,
        told=True,
        limits=(
            Limit((NPZ,), lambda f: f["pool"] == "gap" and f["class_token"] and "a class token beside pool=gap"),
            Limit((TORCHVISION,), lambda f: f["pool"] == "gap" and "pool=gap"),
            Limit((NPZ, TORCHVISION, TIMM), lambda f: f["pool"] == "cls_gap" and "pool=cls_gap"),
            Limit((TORCHVISION, HF), lambda f: f["pool"] == "map" and "pool=map"),
        ),
        timm=lambda f: {"fc_norm": f["pool_first"]} if f["pool"] == "gap" else {},
    ),
    Option(
        "class_token",
        keys=("cls_token",),
        implied=lambda state: "cls_token" in state,
        limits=(Limit((TORCHVISION, HF), lambda f: not f["class_token"] and "no class token"),),
        timm=lambda f: {} if f["class_token"] else {"class_token": False},
    ),
    Option("class_position", told=True, timm=lambda f: {"no_embed_class": True} if _no_rows(f) else {}),
    Option(
        "registers",
        keys=("reg_token",),
        implied=_rows("reg_token"),
        part="{} registers",
        shown=True,
        limits=(
            Limit((NPZ, TORCHVISION), lambda f: f["registers"] and f"{f['registers']} registers"),
            Limit((TIMM,), lambda f: f["registers"] and f["distilled"] and "a distillation token beside registers"),
        ),
        timm=lambda f: {"reg_tokens": f["registers"]} if f["registers"] else {},
        least=0,
    ),
    Option(
        "distilled",
        keys=("dist_token",),
        implied=lambda state: "dist_token" in state,
        shown=True,
        limits=(Limit((NPZ, TORCHVISION), lambda f: f["distilled"] and "a distillation token"),),
    ),
    Option(
        "representation",
        keys=_layer("pre_logits.fc"),
        implied=_rows("pre_logits.fc.weight"),
        shown=True,
        limits=(Limit((TIMM,), lambda f: f["representation"] and "a representation layer"),),
        least=0,
    ),
    Option(
        "layer_scale",
        block_keys=("ls1.gamma", "ls2.gamma"),
        implied=lambda state: 1e-5 if "blocks.0.ls1.gamma" in state else None,  # where it began, nothing tells
        told=True,
        part="layer scale",
        shown=True,
        limits=(Limit((NPZ, TORCHVISION), lambda f: f["layer_scale"] is not None and "layer scale"),),
        timm=lambda f: {} if f["layer_scale"] is None else {"init_values": f["layer_scale"]},
    ),
    Option(
        "pool_first",
        keys=_layer("fc_norm"),
        implied=lambda state: "fc_norm.weight" in state,
        shown=True,
        limits=(Limit((NPZ, HF), lambda f: f["pool_first"] and "pool_first (norm after the mean)"),),
    ),
    Option(
        "qkv_bias",
        block_keys=("attn.qkv.bias",),
        implied=lambda state: "blocks.0.attn.qkv.bias" in state,
        part="biases of queries, keys and values",
        limits=(Limit((NPZ,), lambda f: not f["qkv_bias"] and "no biases of queries, keys and values"),),
        timm=lambda f: {} if f["qkv_bias"] else {"qkv_bias": False},
    ),
    Option(
        "qk_norm",
        block_keys=(*_layer("attn.q_norm"), *_layer("attn.k_norm")),
        implied=_qk_norm,
        part="normalisation of queries and keys",
        shown=True,
        limits=(
            Limit((NPZ, TORCHVISION, HF), lambda f: f["qk_norm"] != "none" and f"qk_norm={f['qk_norm']}"),
            Limit((TIMM,), lambda f: f["qk_norm"] == "rms" and "qk_norm=rms"),
        ),
        timm=lambda f: {"qk_norm": True} if f["qk_norm"] == "layer" else {},
    ),
    Option(
        "pos_embed",  # and class_position and the grid: see vit.weights.position_tables.table_facts
        keys=("pos_embed",),
        told=True,
        limits=(Limit((NPZ,), lambda f: f["pos_embed"] == "none" and "pos_embed=none"),),
        timm=lambda f: {} if f["pos_embed"] == "learned" else {"pos_embed": "none"},
    ),
    Option("gelu", told=True, timm=lambda f: {"act_layer": "gelu_tanh"} if f["gelu"] == "tanh" else {}),
    Option("norm_eps", told=True),
    Option(
        "probe_norm",
        keys=("probe_norm.running_mean", "probe_norm.running_var"),
        buffers=("probe_norm.num_batches_tracked",),
        implied=lambda state: "probe_norm.running_mean" in state,
    ),
    Option(
        "frames",
        keys=("time_embed",),
        implied=lambda state: max(1, _rows("time_embed")(state)) * _tubelet(state),
        limits=(Limit((NPZ, TORCHVISION, TIMM, HF), lambda f: f["frames"] > 1 and f"clips of {f['frames']} frames"),),
        least=1,
    ),
    Option("tubelet", implied=_tubelet, least=1),
    Option(
        "space_time",
        block_keys=tuple(
            key for part in ("norm", "attn") for leaf in _TIME_PARTS[part] for key in _layer(f"{part}_time{leaf}")
        ),
        implied=_space_time,
    ),
    Option("temporal_depth", implied=_temporal_depth, least=0),
)


def used(value: Any) -> bool:
    """Whether a value of an option is more than nothing: not none, off or zero."""
    return value not in (None, False, 0, "none")


def limits(facts: Facts, format: str) -> list[str]:
    """What a format cannot hold of a network, in words."""
    found = (limit.words(facts) for option in OPTIONS for limit in option.limits if format in limit.formats)
    return [str(words) for words in found if words]
