"""A trained segmentation network out of a run, with everything that it must be used with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainer.checkpoint.trained import find_checkpoint, read_trained
from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.device.compute import choose_compute
from trainer.errors import CheckpointError, ConfigError, refuse
from vit.segmentation.classes import Classes
from vit.segmentation.config import MaskKind, Mode, SegmentationConfig
from vit.segmentation.inference import Segmenter
from vit.segmentation.network import build_network
from vit.segmentation.task import DECODERS, ENCODER
from vit.segmentation.transforms import EvalTransform
from vit.segmentation.validate import data_problems, inference_problems

_READ = ("data", "inference", "trainer", "resolution", "model")  # of a configuration; the rest shapes training


@dataclass
class Loaded:
    """A network of a run.

    Attributes:
        segmenter: on its device, in eval mode.
        config: of the run, with the data and the inference to use now.
        classes: that it tells apart.
        weights_line: which weights these are.
        step, samples_seen: how far they were trained.
    """

    segmenter: Segmenter
    config: SegmentationConfig
    classes: Classes
    weights_line: str
    step: int
    samples_seen: int

    @property
    def transform(self) -> EvalTransform:
        """How pictures are prepared."""
        patch = self.segmenter.encoder.arch.patch
        return EvalTransform(self.config.inference.mode, patch, self.config.data.short_side)


def load_trained(
    run: str | Path,
    schemas: Schemas,
    checkpoint: str | None = None,
    overrides: Sequence[str] = (),
    averaged: bool = True,
) -> Loaded:
    """The network of a run.

    Args:
        run: run directory.
        schemas: of all tasks.
        checkpoint: one of the run's checkpoints by name, or a path; None: the newest.
        overrides: changes to the run's configuration: ``data...``, ``inference...``, ``trainer.device``; ``resolution``
            is the size of windows (and of the street).
        averaged: its averaged weights, where it has them.

    Raises:
        UserError: no such run. CheckpointError: no weights. ConfigError: overrides that would be another network.
    """
    stored: SegmentationConfig = load_run(run, schemas)
    config: SegmentationConfig = load_run(run, schemas, overrides)
    if config.model != stored.model:
        words = [word for word in overrides if word.startswith("model")]
        raise ConfigError(f"{' '.join(words)}: the network is the run's; leave it out (data. and inference. may be)")
    requested = {word.partition("=")[0].lstrip("+") for word in overrides}
    _check_read(config, requested)
    source = find_checkpoint(Path(run), checkpoint)
    encoder, decoders = (read_trained(source, network, averaged) for network in (ENCODER, DECODERS))
    told = encoder.meta.get("task") or {}
    if not all(told.get(key) for key in ("mean", "std", "classes", "colours")):
        raise CheckpointError(f"{source} lacks class names and normalisation: it is no checkpoint of a segmentation")
    classes = Classes(tuple(told["classes"]), tuple((r, g, b) for r, g, b in told["colours"]))
    with torch.random.fork_rng(devices=[]):
        bare = replace(stored, model=replace(stored.model, weights=None, frozen=False))
        built = build_network(bare, len(classes))
    compute = choose_compute(config.trainer)
    trained = encoder.meta.get("resolution") or stored.resolution
    height, width = config.resolution if "resolution" in requested else trained
    segmenter = Segmenter(
        encoder.into(built.encoder, "encoder").to(compute.device),
        decoders.into(built.decoders, "decoder").to(compute.device),
        list(config.data.mean or told["mean"]),
        list(config.data.std or told["std"]),
        (height, width),
        config.inference,
        compute,
    )
    meta = encoder.meta
    return Loaded(
        segmenter, config, classes, encoder.line, int(meta.get("step", 0)), int(meta.get("samples_seen", 0))
    )  # fmt: skip


def _check_read(config: SegmentationConfig, requested: set[str]) -> None:
    """Raises ConfigError where an override would change nothing, or is wrong."""
    unread = sorted(key for key in requested if key.split(".")[0] not in _READ)
    if unread:
        has = "data.*, inference.*, trainer.* and resolution have"
        raise ConfigError([f"{key}: has no part in what a trained segmentation sees; {has}" for key in unread])
    wrong = [*inference_problems(config.inference), *data_problems(config.data)]
    refuse([line for line in wrong if not line.startswith(("data.root", "data.val_root"))])  # told on opening
    if "resolution" in requested and config.data.kind is MaskKind.masks and config.inference.mode is Mode.whole:
        raise ConfigError(
            f"resolution={config.resolution}: in one pass pictures are seen whole, at their own size or at "
            "data.short_side=N; inference.mode=slide sees windows of resolution"
        )
