"""timm's models from its hub: published weights, the ``config.json`` of a folder of every age, names of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.errors import CheckpointError

# of timm.create_model, but of loading, not of the model: a stranger's file has no say in it
_LOADING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
_POOL = {"token": "cls", "avg": "gap", "map": "map", "": "none"}
_OF_THE_DATA = ("num_classes", "in_chans", "img_size")


@dataclass(frozen=True)
class HubConfig:
    """What a folder tells of its model.

    Attributes:
        architecture: timm's name. arguments: for ``timm.create_model``.
        cfg: its ``pretrained_cfg``, which is all that timm takes of preprocessing.
        classes: names by index, or None.
    """

    architecture: str
    arguments: dict[str, Any]
    cfg: dict[str, Any]
    classes: list[str] | None

    @property
    def options(self) -> dict[str, Any]:
        """``arguments`` without what the data decide: classes, channels, size."""
        return {name: value for name, value in self.arguments.items() if name not in _OF_THE_DATA}


def parse(config: Mapping[str, Any]) -> HubConfig:
    """Read a ``config.json`` with ``architecture`` in it; before 2023 all stood at one level."""
    cfg = dict(config["pretrained_cfg"]) if "pretrained_cfg" in config else dict(config)
    arguments = {name: v for name, v in (config.get("model_args") or {}).items() if name not in _LOADING}
    for name in ("num_classes", "global_pool"):
        if name in config:
            arguments.setdefault(name, config[name])
    if "num_classes" in cfg:
        arguments.setdefault("num_classes", cfg["num_classes"])
    size = arguments.get("img_size")
    if size is not None:
        channels = (cfg.get("input_size") or [arguments.get("in_chans", 3)])[0]
        cfg["input_size"] = [channels, *((size, size) if isinstance(size, int) else size)]
    names = config.get("label_names") or cfg.get("label_names") or cfg.get("labels")
    return HubConfig(str(config["architecture"]), arguments, cfg, class_names(names, arguments.get("num_classes")))


def skeleton(found: HubConfig) -> Any:
    """The model on no device, as timm builds it for the folder: at the input size that it tells.

    Raises:
        whatever timm raises where it cannot.
    """
    import timm
    import torch
    from timm.models import PretrainedCfg

    known = {item.name for item in dataclasses.fields(PretrainedCfg)}
    cfg = {name: value for name, value in found.cfg.items() if name in known}
    with torch.device("meta"):
        return timm.create_model(found.architecture, pretrained=False, pretrained_cfg=cfg, **found.arguments)


def pretrained(name: str) -> Any:
    """A model of timm with its published weights, by timm's own download (kept in its cache).

    Raises:
        CheckpointError: no such model, none published, or it cannot be fetched.
    """
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:5] or timm.list_models("vit_*patch16_224")[:5]
        raise CheckpointError(f"timm:{name}: timm has no model of that name; near ones: {', '.join(near)}")
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # timm, the hub client and the network raise dozens of types here
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"timm:{name} cannot be had ({type(error).__name__}: {reason[:200]}). It is downloaded at its first use: "
            "check the name (timm.list_pretrained()) and the connection, or fetch the file elsewhere and give its path "
            "(model.weights=FILE)"
        ) from error


def settings(net: Any) -> dict[str, Any]:
    """timm's ``pretrained_cfg`` of a model."""
    return dict(vars(net).get("pretrained_cfg") or {})


def facts_of(model: Any, where: str) -> dict[str, Any]:
    """What a plain ViT of timm tells of itself that its tensors do not, as fields of ``ViTCheckpoint.arch``.

    Raises:
        CheckpointError: it is no plain ViT.
    """
    from torch import nn

    block: Any = model.blocks[0] if hasattr(model, "blocks") else None
    if not hasattr(getattr(block, "attn", None), "qkv") or not hasattr(model, "global_pool"):
        raise CheckpointError(f"{where} is a {type(model).__name__}, no plain ViT: use model=timm model.name=...")
    act, norm = block.mlp.act, block.norm1
    gelu = getattr(act, "approximate", None) if isinstance(act, nn.GELU) else None
    if type(act).__name__ == "GELUTanh":
        gelu = "tanh"
    if gelu is None or not isinstance(norm, nn.LayerNorm) or model.global_pool not in _POOL:
        raise CheckpointError(
            f"{where} has {type(act).__name__}, {type(norm).__name__} and pooling {model.global_pool!r}: "
            "a plain ViT has GELU, LayerNorm and one of token, avg, map. Use model=timm model.name=..."
        )
    if model.global_pool == "avg" and getattr(model, "pool_include_prefix", False):
        raise CheckpointError(f"{where} averages prefix tokens too: use model=timm model.name=...")
    scale = getattr(block, "ls1", None)
    return {
        "heads": block.attn.num_heads,
        "gelu": "tanh" if gelu == "tanh" else "exact",
        "norm_eps": norm.eps,
        "pool": _POOL[model.global_pool],
        "grid": tuple(model.patch_embed.grid_size),
        "layer_scale": None if isinstance(scale, nn.Identity | None) else 1e-5,
    }


def class_names(told: Any, count: Any) -> list[str] | None:
    """Names by index of a list, of index to name, or of name to index; None where they are not ``count`` in a row."""
    if isinstance(told, Mapping):
        pairs = [(str(k), v) for k, v in told.items()]
        if all(isinstance(value, int) for _, value in pairs):
            pairs = [(str(value), key) for key, value in pairs]
        if not all(key.isdigit() for key, _ in pairs):
            return None
        by_index = {int(key): str(value) for key, value in pairs}
        if sorted(by_index) != list(range(len(by_index))):
            return None
        told = [by_index[index] for index in range(len(by_index))]
    if not isinstance(told, list | tuple) or len(told) != count:
        return None
    return [str(name) for name in told]
