"""A trained generator out of a run directory, ready to generate with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import TrainedWeights, find_checkpoint, read_trained
from trainer.device.compute import Compute, choose_compute
from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import DataKind, LabelFormat, Vid2VidConfig, Vid2VidStage
from vid2vid.data.ranges.settings import with_ranges
from vid2vid.encoding import IDS, SourceEncoder
from vid2vid.model import Generator, StyleEncoder

_FILES = (DataKind.folders, DataKind.cityscapes)
NETWORK, STYLE = "generator", "style"  # their names in ``Vid2VidTask.networks``


@dataclass
class LoadedRun:
    """A generator with everything that it must be used with.

    Attributes:
        config: of the run; its ``resolution`` is that of the stage the checkpoint was written in.
        generator: in eval mode, on its device, its parameters without gradients.
        encoder: makes its input.
        compute: where and in which precision, as the run asks.
        scales: generator scales in use at that stage, coarsest first; None: all.
        checkpoint: where the weights came from.
        weights_line: one line for the user: which weights these are.
        averaged: whether they are the averaged (EMA) ones.
        step, samples_seen: the checkpoint's counters; 0 for a bare weights file.
        instances: whether it was trained with instance ids; None: not known.
        ranges: what data.range=auto found in the training data, by key (`vid2vid.data.ranges`).
        colours: what the colours of its label maps meant (`vid2vid.data.labels.trained_colours`); None: not
            known, or none.
        style: E, as the generator; None for a run without.
        proportions: of the people it was trained on (`vid2vid.data.retarget`); None: not known, or none.
        requested: what was asked for in place of the newest checkpoint and its stage's resolution.
    """

    config: Vid2VidConfig
    generator: Generator
    encoder: SourceEncoder
    compute: Compute
    scales: int | None
    checkpoint: Path
    weights_line: str
    averaged: bool
    step: int
    samples_seen: int
    instances: bool | None = None
    ranges: dict[str, list[float]] = field(default_factory=dict)
    colours: dict[str, Any] | None = None
    style: StyleEncoder | None = None
    requested: dict[str, str] = field(default_factory=dict)
    proportions: dict[str, Any] | None = None


def load_generator(
    config: Vid2VidConfig, run_dir: Path, checkpoint: str | None = None, resolution: list[int] | None = None
) -> LoadedRun:
    """Build the generator of a run and load its weights, every one of them.

    Args:
        config: of the run (``trainer.cli.load_run``). Left unchanged.
        run_dir: such as ``runs/demo``.
        checkpoint: one of the run's checkpoints by name, or the path of a checkpoint or weights file; None: the newest.
        resolution: [height, width] to work at; None: that of the stage the checkpoint was written in.

    Raises:
        CheckpointError: there is none, it is damaged, or its generator is another one (says what differs).
        ConfigError: the device cannot be used, the network cannot halve the resolution as often as it must, or a run
            that learnt from edges would get pictures.
    """
    path = find_checkpoint(run_dir, checkpoint)
    trained = read_trained(path, NETWORK)
    style = read_trained(path, STYLE) if config.model.style_channels else None
    loaded = assemble(config, trained, style, resolution)
    own = list(trained.meta.get("resolution") or config.resolution)
    loaded.requested = _requested(run_dir, path, checkpoint, loaded.config.resolution, own)
    return loaded


def assemble(
    config: Vid2VidConfig, trained: TrainedWeights, style: TrainedWeights | None, resolution: list[int] | None = None
) -> LoadedRun:
    """The generator of weights that were read, wherever they were.

    Args:
        config: that they were trained with. Left unchanged.
        trained: of the generator, with the meta data of their checkpoint.
        style: of the feature encoder, where the configuration has one.
        resolution: as in `load_generator`.

    Raises:
        CheckpointError, ConfigError: as `load_generator`.
    """
    meta = trained.meta
    _check_edges(config, meta)
    _check_counts(config, trained)
    encoder = SourceEncoder(config.model, config.data)
    _check_claims(config, trained, style, encoder)
    generator = trained.into(Generator(config.model, encoder.generator_channels), NETWORK)
    looks = None if style is None else style.into(StyleEncoder(config.model), "feature encoder")
    row = _stage(config, meta)
    compute = choose_compute(config.trainer)
    known = meta.get("task") or {}  # what the run's data were found to have; bare weights do not tell
    ranges = dict(known.get("data_range", {}))
    height, width = resolution or list(meta.get("resolution") or config.resolution)
    _check_resolution(config, row, height, width)
    return LoadedRun(
        config=replace(config, resolution=[height, width], data=with_ranges(config.data, ranges)),
        generator=generator.to(compute.device),
        encoder=encoder,
        compute=compute,
        scales=row.scales if row else None,
        checkpoint=trained.source,
        weights_line=trained.line,
        averaged=trained.averaged,
        step=int(meta.get("step", 0)),
        samples_seen=int(meta.get("samples_seen", 0)),
        instances=known.get("instances"),
        ranges=ranges,
        colours=known.get("label_colours"),
        style=None if looks is None else looks.to(compute.device),
        proportions=known.get("proportions"),
    )


def load_asked(
    config: Vid2VidConfig,
    run_dir: str,
    checkpoint: str | None,
    overrides: Sequence[str],
    say: Callable[[str], None],
) -> LoadedRun:
    """The generator that a command line asks for; says which weights it has.

    Args:
        config: of the run, with the overrides.
        run_dir, checkpoint: see `load_generator`.
        overrides: words of the command line; a resolution among them is the one to work at.
        say: takes a line for the user.

    Raises:
        CheckpointError, ConfigError: see `load_generator`.
    """
    loaded = load_generator(config, Path(run_dir), checkpoint, requested_resolution(config, overrides))
    say(loaded.weights_line)
    return loaded


def requested_resolution(config: Vid2VidConfig, overrides: Sequence[str]) -> list[int] | None:
    """[height, width] where a command line names it; None: it is left to the stage that a checkpoint is of."""
    return config.resolution if any(word.startswith("resolution=") for word in overrides) else None


def _check_counts(config: Vid2VidConfig, trained: TrainedWeights) -> None:
    """Raises CheckpointError where a network of so many parts, which take time to make, cannot be the weights'."""
    parts = max(len(trained.state), 64)
    most = {**dict.fromkeys(("blocks", "local_blocks", "downsamplings", "scales"), parts), "num_labels": IDS}
    for name, limit in most.items():
        if (value := getattr(config.model, name)) > limit:
            raise CheckpointError(
                f"{trained.source}: model.{name}={value} fits no network of {len(trained.state)} tensors; "
                "get settings and weights anew, from one place"
            )


def _check_claims(
    config: Vid2VidConfig, trained: TrainedWeights, style: TrainedWeights | None, encoder: SourceEncoder
) -> None:
    """Holds the network that a configuration claims against the weights, before memory is taken for it.

    Raises:
        CheckpointError: it is another one.
    """
    with torch.device("meta"):
        trained.check(Generator(config.model, encoder.generator_channels), NETWORK)
        if style is not None:
            style.check(StyleEncoder(config.model), "feature encoder")


def _requested(run_dir: Path, path: Path, checkpoint: str | None, size: list[int], own: list[int]) -> dict[str, str]:
    found = {} if size == own else {"resolution": f"{size[0]}x{size[1]}"}
    if checkpoint is not None and path != Checkpoints(run_dir).latest():
        found["checkpoint"] = checkpoint
    return found


def _check_edges(config: Vid2VidConfig, meta: dict[str, Any]) -> None:
    """A run on video files has learnt from edges of their frames, which `data=folders` does not make."""
    learnt = meta.get("config", {}).get("data", {}).get("kind")
    data = config.data
    if learnt == DataKind.video.name and data.kind in _FILES and data.labels is not LabelFormat.rgb:
        raise ConfigError(
            f"data={data.kind.name}: this run has learnt from edges of frames (data=video), and would be given "
            "pictures as they are. Leave data=... out: edges are made of the frames of a video. Where a folder holds "
            "edges already (white on black), say so: data.labels=rgb"
        )


def _stage(config: Vid2VidConfig, meta: dict[str, Any]) -> Vid2VidStage | None:
    """The row of the curriculum a checkpoint was written in; the last one for bare weights; None without a table."""
    table = config.curriculum.stages
    name = meta.get("stage")
    if name in table:
        return table[name]
    return list(table.values())[-1] if table else None


def _check_resolution(config: Vid2VidConfig, row: Vid2VidStage | None, height: int, width: int) -> None:
    scales = (row.scales if row else None) or config.model.scales
    model = config.model
    halvings = max(model.downsamplings + scales - 1, model.style_downsamplings if model.style_channels else 0)
    divisor = 2**halvings
    if height % divisor or width % divisor:
        near = [max(1, round(side / divisor)) * divisor for side in (height, width)]
        raise ConfigError(
            f"resolution=[{height},{width}]: this generator halves the picture {halvings} times, so height and width "
            f"must be divisible by {divisor}; try [{near[0]},{near[1]}]"
        )
