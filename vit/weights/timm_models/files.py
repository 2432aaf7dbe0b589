"""Weights for a classifier of timm: published ones and files, read safely, with what files tell beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.config.schema import show
from trainer.errors import CheckpointError, ConfigError
from vit.preprocessing import Preprocessing, from_checkpoint
from vit.weights.files import arguments, input_size, known_names, open_content, unwrapped
from vit.weights.names.heads import settle
from vit.weights.names.of_clip import clip_for_timm
from vit.weights.names.prefixes import without_prefix
from vit.weights.preprocessors import from_hf, from_open_clip, from_timm
from vit.weights.reading import built_with, read
from vit.weights.timm_models.hub import class_names, parse, pretrained, settings

TIMM = "timm:"


@dataclass
class TimmFile:
    """Weights of a timm model, wherever they were.

    Attributes:
        state: tensors under timm's names. cfg: timm's ``pretrained_cfg`` of the model.
        preprocessing: as the file tells it, else as timm does of the model.
        size: (height, width) in pixels of the pictures that it is for, where the file itself tells.
        options: for ``timm.create_model``, as the file tells how its model was built; without what the data decide.
        classes: names of the head's, where the file tells. notes: lines for the report.
        lost_head: why the classifier in the file cannot be read; empty where it can, or there is none.
    """

    state: dict[str, Tensor]
    cfg: dict[str, Any]
    preprocessing: Preprocessing
    classes: list[str] | None = None
    size: tuple[int, int] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    lost_head: str = ""
    notes: list[str] = field(default_factory=list)


def read_state(weights: str, name: str, options: Mapping[str, Any] | None = None) -> TimmFile:
    """The weights of the timm model ``name``: ``timm:NAME``, or any file or folder that ``vit.weights`` opens.

    Args:
        options: of ``model.name_options``; they go before what the file tells.

    Raises:
        CheckpointError: they cannot be had or read, or are of another architecture.
    """
    if weights.startswith(TIMM):
        other = weights.removeprefix(TIMM)
        _check_architecture(weights, other, name)
        net = pretrained(other)
        own = settings(net)
        named = class_names(own.get("label_names"), own.get("num_classes"))
        return TimmFile(dict(net.state_dict()), own, from_timm(own), named)
    from timm.models import get_pretrained_cfg

    content = open_content(Path(weights).expanduser())
    entry = get_pretrained_cfg(name)
    cfg = entry.to_dict() if entry else {}
    found = TimmFile({}, cfg, from_timm(cfg), notes=unwrapped(content))
    own, told = content.header or content.meta.get("task", {}), dict[str, Any]()
    if own:
        found.preprocessing = from_checkpoint(own, content.meta.get("config", {}))
        found.classes, found.options = own.get("classes"), built_with(own, content.meta)
        trained = own.get("size") or content.meta.get("config", {}).get("resolution")
        found.size = None if trained is None else (trained[0], trained[1])
        if found.size is not None:
            found.cfg = {**cfg, "input_size": (*(cfg.get("input_size") or (3,))[:1], *found.size)}
    elif "architecture" in content.config:
        hub = parse(content.config)
        _check_architecture(weights, hub.architecture, name)
        found.options = hub.options
        found.preprocessing, found.classes = from_timm(hub.cfg), hub.classes
        found.cfg = {**cfg, **{k: v for k, v in hub.cfg.items() if k in ("input_size", "fixed_input_size")}}
        found.size = found.preprocessing.size if "input_size" in hub.cfg else None
    elif content.preprocessor or content.open_clip:
        found.preprocessing = (
            from_hf(content.preprocessor) if content.preprocessor else from_open_clip(content.open_clip)
        )
        found.size = found.preprocessing.size
    else:
        told = {key: value for key, value in arguments(content).items() if value is not None}
        kept = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
        found.size = input_size(told)
        if found.size is not None:
            found.cfg = {**cfg, "input_size": (*(cfg.get("input_size") or (3,))[:1], *found.size)}
        found.preprocessing = from_timm({**found.cfg, **{key: told[key] for key in kept if key in told}})
    found.classes = found.classes or known_names(content)
    found.notes += found.preprocessing.notes
    if found.options:
        found.notes.append(f"built as its {'run' if own else 'config.json'} says: {_written(found.options)}")
    tensors = clip_for_timm(content.tensors) or content.tensors
    names = _names(weights, name, {**found.options, **(options or {})})
    last = found.cfg.get("classifier")
    head = (last, names[f"{last}.weight"].shape[1]) if isinstance(last, str) and f"{last}.weight" in names else None
    found.state = without_prefix(tensors, names, head)
    if not own and "architecture" not in content.config:
        _as_plain(found, weights, names, told=bool(content.preprocessor or content.open_clip or "mean" in told))
    _settle_heads(found)
    return found


def _as_plain(found: TimmFile, weights: str, names: Mapping[str, Tensor], told: bool) -> None:
    """What the reader of plain ViTs knows of a file for one of timm's: other libraries' names, and its makers' ways.

    Args:
        names: of the model's tensors. told: input normalisation is in the file.
    """
    try:
        checkpoint = read(weights)
    except CheckpointError:  # of no plain ViT
        return
    if 2 * len(set(checkpoint.state) & set(names)) < len(names):
        return
    if 2 * len(set(found.state) & set(names)) < len(names):
        found.state, found.classes, found.size = (
            dict(checkpoint.state),
            checkpoint.classes,
            checkpoint.preprocessing.size,
        )
        found.lost_head = checkpoint.lost_head
        found.notes.append(f"names of {checkpoint.origin} are read as timm's")
    if (
        not told and checkpoint.mean is not None and not checkpoint.origin.startswith("timm ")
    ):  # timm's own: by its name
        known = {key: value for key, value in checkpoint.preprocessing.told().items() if value is not None}
        found.preprocessing = replace(found.preprocessing, **known)
        found.notes.append(
            f"input normalisation not in the file: as usual for {checkpoint.origin}; data.mean and data.std say "
            "otherwise"
        )


def _settle_heads(found: TimmFile) -> None:
    """A linear layer that stands deeper than the model's (``head.1``) in its place; others are lost."""
    for head in modules(found.cfg.get("classifier")):
        inside = [name for name in found.state if name.startswith(f"{head}.")]
        if f"{head}.weight" in found.state or not inside:
            continue
        parts = {name: found.state.pop(name) for name in inside}
        width = next((tensor.shape[1] for tensor in parts.values() if tensor.ndim == 2), 0)
        notes, found.lost_head = settle(parts, inside, width)
        found.notes += notes
        found.state |= {f"{head}{name.removeprefix('head')}": tensor for name, tensor in parts.items()}


def _names(weights: str, name: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors of the timm model ``name``, without values."""
    import timm

    try:
        with torch.device("meta"):
            return dict(timm.create_model(name, **options).state_dict())
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"model.weights={weights}: timm {timm.__version__} does not build {name} with {_written(options)}, of its "
            f"config.json or model.name_options ({error}): take out of there what this timm does not know"
        ) from error


def _written(options: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={show(value)}" for key, value in sorted(options.items())) or "no options"


def _check_architecture(weights: str, theirs: str, name: str) -> None:
    if theirs.split(".")[0] != name.split(".")[0]:
        raise CheckpointError(
            f"model.weights={weights} is of another architecture than model.name={name}: "
            f"set model.name={theirs.split('.')[0]}"
        )


def rows(state: Mapping[str, Tensor], names: Any, axis: int) -> int | None:
    """A dimension of the weight of the first module named that the file has."""
    return next((state[f"{m}.weight"].shape[axis] for m in modules(names) if f"{m}.weight" in state), None)


def modules(value: Any) -> tuple[str, ...]:
    """Names of modules as a ``pretrained_cfg`` gives them: none, one, or several."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
