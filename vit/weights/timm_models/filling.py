"""Weights into a classifier of timm: fitted and loaded by timm itself, reported as of a ViT."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError
from vit.config import HeadPolicy, ModelConfig, PosInterp
from vit.model.positions import resample
from vit.weights.fit import adapt_channels, adapt_statistics
from vit.weights.load import LoadReport, grouped
from vit.weights.position_tables import fitting_grid
from vit.weights.timm_models.files import TimmFile, modules, rows
from vit.weights.timm_models.hub import settings


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
    heads = modules(own.get("classifier"))
    classes = rows(state, heads, 0) or 0
    keep = config.head is HeadPolicy.keep and classes > 0
    if keep and classes != num_classes:
        raise CheckpointError(
            f"model.weights={where}: its head has {classes} classes, this model {num_classes}: model.head=reset starts "
            f"a new head, model.num_classes={classes} keeps it"
        )
    if file.lost_head and config.head is HeadPolicy.keep:
        raise CheckpointError(
            f"model.weights={where}: {file.lost_head}, so it cannot be kept: model.head=reset starts a new one"
        )
    source, state = state, {k: v for k, v in state.items() if keep or not k.startswith(tuple(f"{h}." for h in heads))}
    known = set(fresh) & set(source)
    if not known and not _convertible(state, fresh):
        raise CheckpointError(
            f"model.weights={where}: nothing in it fits model.name={config.name}; it holds "
            f"{', '.join(grouped(source)) or 'no tensors'}"
        )
    channels = _fit_first(state, net, own, config, in_channels)
    _fit_oblong(state, net, file)
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
    for conv in modules(cfg.get("first_conv")):
        name = f"{conv}.weight"
        if name in state and state[name].ndim == 4:
            ours = net.state_dict()[name]
            theirs = state[name]
            if (ours.shape[1] == channels and theirs.shape[1] != channels) or config.channel_map:
                found = theirs.shape[1]
                state[name] = adapt_channels(theirs, channels, config.channel_adapt, config.channel_map)
    return found


def _fit_oblong(state: dict[str, Tensor], net: nn.Module, file: TimmFile) -> None:
    """An oblong table of positions to the model's grid: timm takes every table for a square one."""
    told = None if file.size is None else fitting_grid(state, file.size)
    grid = getattr(getattr(net, "patch_embed", None), "grid_size", None)
    if told is None or told[0] == told[1] or grid is None or "pos_embed" not in net.state_dict():
        return
    table, prefix = state["pos_embed"], state["pos_embed"].shape[1] - told[0] * told[1]
    if net.state_dict()["pos_embed"].shape[1] == prefix + grid[0] * grid[1]:
        state["pos_embed"] = resample(table, told, (grid[0], grid[1]), prefix, PosInterp.bicubic)
        if state["pos_embed"] is not table:
            file.notes.append(f"its positions are resized from {told[0]}x{told[1]} patches to {grid[0]}x{grid[1]}")


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
