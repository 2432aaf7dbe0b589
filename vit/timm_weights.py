"""Weights into a classifier of timm: published ones and files, read safely, fitted by timm, reported as of a ViT."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError
from vit.adapting import adapt_channels, adapt_statistics
from vit.config import HeadPolicy, ModelConfig
from vit.interchange.files import arguments, input_size, open_content, unwrapped
from vit.interchange.timm_hub import parse
from vit.interchange.towers import clip_for_timm
from vit.interchange.wrapped import without_prefix
from vit.loading import LoadReport, grouped
from vit.preprocessing import Preprocessing, from_hf, from_open_clip, from_plain, from_timm

TIMM = "timm:"


@dataclass
class TimmFile:
    """Weights of a timm model, wherever they were.

    Attributes:
        state: tensors under timm's names. cfg: timm's ``pretrained_cfg`` of the model.
        preprocessing: as the file tells it, else as timm does of the model.
        classes: names of the head's, where the file tells. notes: lines for the report.
    """

    state: dict[str, Tensor]
    cfg: dict[str, Any]
    preprocessing: Preprocessing
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def read_state(weights: str, name: str) -> TimmFile:
    """The weights of the timm model ``name``: ``timm:NAME``, or any file or folder that ``vit.interchange`` opens.

    Raises:
        CheckpointError: they cannot be had or read, or are of another architecture.
    """
    if weights.startswith(TIMM):
        other = weights.removeprefix(TIMM)
        _check_architecture(weights, other, name)
        net = pretrained(other)
        return TimmFile(dict(net.state_dict()), settings(net), from_timm(settings(net)))
    import timm
    from timm.models import get_pretrained_cfg

    content = open_content(Path(weights).expanduser())
    entry = get_pretrained_cfg(name)
    cfg = entry.to_dict() if entry else {}
    with torch.device("meta"):
        names = timm.create_model(name).state_dict()
    tensors = clip_for_timm(content.tensors) or content.tensors
    last = cfg.get("classifier")
    head = (last, names[f"{last}.weight"].shape[1]) if isinstance(last, str) and f"{last}.weight" in names else None
    found = TimmFile(without_prefix(tensors, names, head), cfg, from_timm(cfg), notes=unwrapped(content))
    own = content.header or content.meta.get("task", {})
    if own:
        found.preprocessing = from_plain(own, content.meta.get("config", {}).get("augment"))
        found.classes = own.get("classes")
    elif "architecture" in content.config:
        hub = parse(content.config)
        _check_architecture(weights, hub.architecture, name)
        found.preprocessing, found.classes = from_timm(hub.cfg), hub.classes
        found.cfg = {**cfg, **{k: v for k, v in hub.cfg.items() if k in ("input_size", "fixed_input_size")}}
    elif content.preprocessor or content.open_clip:
        found.preprocessing = (
            from_hf(content.preprocessor) if content.preprocessor else from_open_clip(content.open_clip)
        )
    else:
        told = {key: value for key, value in arguments(content).items() if value is not None}
        kept = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
        size = input_size(told)
        if size is not None:
            found.cfg = {**cfg, "input_size": (*(cfg.get("input_size") or (3,))[:1], *size)}
        found.preprocessing = from_timm({**found.cfg, **{key: told[key] for key in kept if key in told}})
    found.notes += found.preprocessing.notes
    return found


def _check_architecture(weights: str, theirs: str, name: str) -> None:
    if theirs.split(".")[0] != name.split(".")[0]:
        raise CheckpointError(
            f"model.weights={weights} is of another architecture than model.name={name}: "
            f"set model.name={theirs.split('.')[0]}"
        )


def settings(net: nn.Module) -> dict[str, Any]:
    """timm's ``pretrained_cfg`` of a model."""
    return dict(vars(net).get("pretrained_cfg") or {})


def pretrained(name: str) -> nn.Module:
    """A model of timm with its published weights, by timm's own download (kept in its cache).

    Raises:
        CheckpointError: no such model, none published, or it cannot be fetched.
    """
    import timm

    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # timm, the hub client and the network raise dozens of types here
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"timm:{name} cannot be had ({type(error).__name__}: {reason[:200]}). It is downloaded at its first use: "
            "check the name (timm.list_pretrained()) and the connection, or fetch the file elsewhere and give its path"
        ) from error


def rows(state: Mapping[str, Tensor], modules: Any, axis: int) -> int | None:
    """A dimension of the weight of the first module named that the file has."""
    return next((state[f"{m}.weight"].shape[axis] for m in _tuple(modules) if f"{m}.weight" in state), None)


def filled(
    create: Any,
    fresh: Mapping[str, Tensor],
    net: nn.Module,
    file: TimmFile,
    config: ModelConfig,
    num_classes: int,
    in_channels: int,
) -> tuple[nn.Module, LoadReport]:
    """The model once more, through timm's own loading: it converts names and resizes tables as this model needs it."""
    where, own, state = str(config.weights), settings(net), file.state
    heads = _tuple(own.get("classifier"))
    classes = rows(state, heads, 0) or 0
    keep = config.head is HeadPolicy.keep and classes > 0
    if keep and classes != num_classes:
        raise CheckpointError(
            f"model.weights={where}: its head has {classes} classes, this model {num_classes}: model.head=reset starts "
            f"a new head, model.num_classes={classes} keeps it"
        )
    source, state = state, {k: v for k, v in state.items() if keep or not k.startswith(tuple(f"{h}." for h in heads))}
    known = set(fresh) & set(source)
    if not known and not _convertible(state, fresh):
        raise CheckpointError(
            f"model.weights={where}: nothing in it fits model.name={config.name}; it holds "
            f"{', '.join(grouped(source)) or 'no tensors'}"
        )
    channels = _fit_first(state, net, own, config, in_channels)
    overlay = {
        "state_dict": dict(state),
        "num_classes": num_classes if keep else -1,  # another number: timm then asks for no head
        "input_size": (in_channels, *(own.get("input_size") or (3, 224, 224))[1:]),
        "first_conv": None,  # fitted above; older timms would take any other number of channels for a new convolution
    }
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="timm")  # of how it resizes tables; no user could mend that
            result = create(pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError, AttributeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise CheckpointError(f"model.weights={where} does not fit model.name={config.name}: {reason[:400]}") from error
    result.pretrained_cfg = own  # without the tensors
    report = _report(result, fresh, source, where, heads if not keep else ())
    parameters = {name for name, _ in result.named_parameters()}
    allowed = tuple(f"{head}." for head in heads)
    missing = [name for name in report.new if name in parameters and not name.startswith(allowed)]
    if missing:
        raise CheckpointError(
            f"model.weights={where} lacks parts of model.name={config.name}: {', '.join(grouped(missing))}"
        )
    report.notes += file.notes
    told = file.preprocessing
    mean, std = told.mean, told.std
    if mean is not None and std is not None:
        rule = config.channel_adapt, config.channel_map if len(mean) == channels else ()
        report.mean, report.std = (adapt_statistics(list(v), in_channels, *rule) for v in (mean, std))
    report.preprocessing = told
    report.interpolation, report.crop_ratio = told.interpolation, told.crop_ratio
    report.classes = list(file.classes) if keep and file.classes and len(file.classes) == classes else None
    return result, report


def _fit_first(
    state: dict[str, Tensor], net: nn.Module, cfg: Mapping[str, Any], config: ModelConfig, channels: int
) -> int:
    """The first convolution's kernels to the number of channels, by our rules; returns the file's number."""
    found = channels
    for conv in _tuple(cfg.get("first_conv")):
        name = f"{conv}.weight"
        if name in state and state[name].ndim == 4:
            ours = net.state_dict()[name]
            theirs = state[name]
            if (ours.shape[1] == channels and theirs.shape[1] != channels) or config.channel_map:
                found = theirs.shape[1]
                state[name] = adapt_channels(theirs, channels, config.channel_adapt, config.channel_map)
    return found


def _convertible(state: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> bool:
    """Whether timm's conversion may turn other names into this model's: as many tensors of the same shapes."""
    shapes = {tuple(value.shape) for value in fresh.values() if value.ndim > 1}
    large = [tuple(value.shape) for value in state.values() if value.ndim > 1]
    return bool(large) and sum(shape in shapes for shape in large) > len(large) / 2


def _report(
    net: nn.Module, fresh: Mapping[str, Tensor], source: Mapping[str, Tensor], where: str, dropped: Sequence[str]
) -> LoadReport:
    """What was loaded: a tensor of the file's name, or one that no longer has its initial value."""
    report = LoadReport(where, "timm")
    renamed = False
    for name, value in net.state_dict().items():
        theirs = None if name.startswith(tuple(f"{head}." for head in dropped)) else source.get(name)
        changed = not torch.equal(value, fresh[name])
        if theirs is None and not changed:
            report.new.append(name)
            continue
        renamed |= theirs is None
        report.loaded.append(name)
        if theirs is not None and theirs.shape != value.shape:
            report.resized.append((name, tuple(theirs.shape), tuple(value.shape)))
    report.dropped = [name for name in source if name not in report.loaded]
    if renamed:
        report.notes.append("timm converted names of the original release; those left out above may be among them")
    return report


def _tuple(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
