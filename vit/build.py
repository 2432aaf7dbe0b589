"""A classifier out of a configuration, ready to train."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from trainer.checkpoint.contents import META
from trainer.config.fields import RunConfig
from trainer.errors import CheckpointError, ConfigError, refuse
from trainer.schedule import stage_table
from trainer.text import few
from vit.config import LossConfig, VitConfig
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer
from vit.model.video import network
from vit.weights.classes import match, reorder
from vit.weights.load import LoadReport, load_pretrained

if TYPE_CHECKING:
    from vit.data.info import DataInfo

DEFAULT = 0.5  # mean and std where nothing else tells: pixels 0..1 to -1..1, as Google's ViTs take them
Size = tuple[int, int]


@dataclass
class Built:
    """A classifier, ready to train.

    Attributes:
        model: ``VisionTransformer`` or ``TimmClassifier``, in training mode, on the CPU.
        report: of loading ``model.weights``; None where nothing was loaded.
        mean, std: input normalisation, one number per channel on a scale of 0..1: ``data.mean`` and ``data.std``, else
            those of the weights, else those of the data, else 0.5.
        num_classes, in_channels: what it was built for.
    """

    model: nn.Module
    report: LoadReport | None
    mean: list[float]
    std: list[float]
    num_classes: int
    in_channels: int


def build_model(config: VitConfig, info: DataInfo) -> Built:
    """The classifier of a run, for its data and its final resolution, with ``model.weights`` in it.

    Initial weights are drawn from torch's global generator.

    Args:
        config: of the run.
        info: of its data (``vit.data.describe``).

    Raises:
        ConfigError: ``model`` and the data do not fit each other, or it cannot be built.
        CheckpointError: the weights cannot be read or do not fit.
        UserError: the patch does not divide a resolution.
    """
    classes, channels = _numbers(config, info)
    sizes = resolutions(config)
    model, report = construct(config, classes, channels, sizes)
    if report is not None and config.data.class_map is None:
        _match_head(model, report, info, classes)
    mean = statistics(config.data.mean, report and report.mean, info.mean, channels, "mean")
    std = statistics(config.data.std, report and report.std, info.std, channels, "std")
    return Built(model, report, mean, std, classes, channels)


def resolutions(config: RunConfig) -> list[Size]:
    """(height, width) in pixels of every stage, by size, the run's own last. Sizes are those of the rows as given."""
    height, width = config.resolution
    found = set(stage_table.sizes(config).values()) - {(height, width)}
    return [*sorted(found, key=lambda size: (size[0] * size[1], size)), (height, width)]


def initial_bias(loss: LossConfig, classes: int) -> float:
    """Bias at which a new head predicts 1 / K for every class: -ln K for losses of sigmoids, 0 for softmax."""
    return -math.log(classes) if loss.kind.independent else 0.0


def construct(config: VitConfig, classes: int, channels: int, sizes: list[Size]) -> tuple[nn.Module, LoadReport | None]:
    """The network with ``model.weights`` in it, and what became of these.

    Args:
        classes, channels: of its head and its pictures.
        sizes: (height, width) in pixels of every stage, the run's own last.
    """
    if config.model.name is not None:
        from vit.weights.timm_models.build import build_timm

        return build_timm(config.model, classes, channels, sizes[-1], sizes[:-1])
    model = config.model
    if model.head_bias is None:
        model = replace(model, head_bias=initial_bias(config.loss, classes))
    built = network(architecture(model, classes, channels, sizes[-1], sizes[0]))
    return built, None if model.weights is None else load_pretrained(built, model)


def _numbers(config: VitConfig, info: DataInfo) -> tuple[int, int]:
    """Classes and channels of the model, checked against those of the data."""
    model, problems = config.model, []
    classes, channels = model.num_classes or len(info.classes), model.in_channels or info.channels
    if classes != len(info.classes) and config.data.class_map is None:
        problems.append(
            f"model.num_classes={classes}, but the data have {len(info.classes)} classes "
            f"({few(info.classes, 4)}): leave it out (with "
            "weights of other classes: model.head=reset), or give data.class_map, which maps the model's to the data's"
        )
    if channels != info.channels:
        remedy = f"data.channels={channels} reads them so, or leave model.in_channels out"
        problems.append(f"model.in_channels={channels}, but the data have {info.channels} channels: {remedy}")
    for name in ("mean", "std"):
        values = getattr(config.data, name)
        if values is not None and len(values) not in (1, channels):
            problems.append(
                f"data.{name} has {len(values)} numbers, the pictures {channels} channels: give one each, or one"
            )
    if model.channel_map and len(model.channel_map) != channels:
        problems.append(
            f"model.channel_map has {len(model.channel_map)} entries, the pictures {channels} channels: one for each"
        )
    refuse(problems)
    return classes, channels


def statistics(
    given: list[float] | None, weights: list[float] | None, data: list[float] | None, channels: int, name: str
) -> list[float]:
    """A mean or standard deviation per channel: the first that is told; one number stands for all channels.

    Raises:
        ConfigError: another number of them.
    """
    values = next((list(found) for found in (given, weights, data) if found), [DEFAULT])
    values = values * channels if len(values) == 1 else values
    if len(values) != channels:
        raise ConfigError(f"the input {name} {values} is not for {channels} channels: set data.{name}")
    return values


def _match_head(model: nn.Module, report: LoadReport, info: DataInfo, classes: int) -> None:
    """Compare a head that was kept with the data by the names of its classes, and put it into their order.

    Raises:
        CheckpointError: names that only one of both has.
    """
    names = head_parameters(model, classes)
    if not names or not set(names) <= set(report.loaded):
        return
    found = match(report.classes, info, _own(report))
    if found.problem:
        raise CheckpointError(
            f"{report.source}: {found.problem}. model.head=reset starts a new head for the data; "
            "in an evaluation data.class_map tells which is which"
        )
    if found.order is not None:
        reorder(model, names, found.order)
        report.classes = list(info.classes)
    if found.note:
        report.notes.append(found.note)


def _own(report: LoadReport) -> bool:
    """Whether weights are of one of our runs, whose names of classes are those of its data."""
    path = Path(report.source).expanduser()
    return report.origin == "vivid" or (path / META).is_file() or (path / "checkpoints").is_dir()


def head_parameters(model: nn.Module, classes: int) -> list[str]:
    """Names of a classifier's last layers' weights and biases, one row per class; none where they are not plain."""
    if isinstance(model, VisionTransformer):
        modules = ["head", "head_dist"]
    else:
        told = (getattr(model.net, "pretrained_cfg", None) or {}).get("classifier") or ()  # type: ignore[union-attr]
        modules = [told] if isinstance(told, str) else list(told)
    own = dict(model.named_parameters())
    found = [name for module in modules for name in (f"{module}.weight", f"{module}.bias") if name in own]
    return found if all(own[name].shape[0] == classes for name in found) else []
