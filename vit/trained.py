"""A trained classifier out of a run, or out of a weights file alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.checkpoint.contents import META, read_meta
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import find_checkpoint, read_trained
from trainer.cli import load_run
from trainer.config.resolve import resolve
from trainer.errors import CheckpointError, ConfigError
from trainer.untrusted import plain_json
from vit.build import Size, construct, resolutions
from vit.config import ModelConfig, VitConfig
from vit.model.transformer import VisionTransformer
from vit.model.video import network
from vit.preprocessing import from_checkpoint, numbers
from vit.weights.files import HEADER
from vit.weights.load import fit, grouped

NETWORK = "model"  # the classifier's name in ``VitTask.networks``


def load_run_model(
    path: str | Path, checkpoint: str | None = None, averaged: bool = True
) -> tuple[nn.Module, VitConfig, dict[str, Any]]:
    """A trained classifier, with all its weights: the averaged (EMA) ones where the run has them.

    Torch's global random stream is left as it was.

    Args:
        path: a run directory, or a checkpoint directory (whose configuration is in its ``meta.json``).
        checkpoint: one of the run's checkpoints by name, or the path of one or of a weights file; None: the newest.
        averaged: prefer the averaged weights where a checkpoint has them.

    Returns:
        The model in eval mode on the CPU, its parameters without gradients; the run's configuration; and meta data: of
        the checkpoint (``step``, ``samples_seen``, ``stage``, ``resolution``, ...), of the task (``mean``, ``std``,
        ``classes``, ...), ``weights``, where the weights came from, and ``weights_line``, which they are.

    Raises:
        UserError: no such run. CheckpointError: no checkpoint, or a damaged one, or of another network.
    """
    path = Path(path).expanduser()
    schemas = {"vit": VitConfig}
    if (path / META).is_file():
        source = path
        config = resolve(read_meta(path)["config"], schemas)
    else:
        config = load_run(path, schemas)
        source = find_checkpoint(path, checkpoint)
    trained = read_trained(source, NETWORK, averaged)
    if not trained.meta and source.is_file():  # a bare weights file: its meta data are in the run's checkpoints
        latest = Checkpoints(path).latest()
        trained = replace(trained, meta=read_meta(latest) if latest is not None else {})
    meta, task = trained.meta, trained.meta.get("task", {})
    if not all(task.get(key) for key in ("mean", "std", "classes")):
        raise CheckpointError(
            f"{source} lacks class names and input normalisation: it is no checkpoint of a classifier"
        )
    classes = config.model.num_classes or len(task["classes"])
    with torch.random.fork_rng(devices=[]):
        options = task.get("name_options", config.model.name_options)
        bare = replace(config, model=replace(config.model, weights=None, name_options=options))
        model, _ = construct(bare, classes, len(task["mean"]), resolutions(config))
    trained.into(model, "network")
    whole = from_checkpoint(task, meta.get("config", {})).plain()
    return model, config, {**meta, **task, **whole, "weights": str(source), "weights_line": trained.line}


def load_weights_model(
    source: str,
    name: str | None = None,
    resolution: Size | None = None,
    headless: bool = False,
    attention: int | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A trained classifier out of a weights file alone, at the resolution that the file tells (224 where it does not).

    Args:
        source: what ``vit.weights.reading.read`` takes, or ``timm:NAME`` of any classifier of timm.
        name: timm's name of the model whose weights the file holds; None: as a hub folder tells, or a plain ViT.
        resolution: (height, width) of the pictures of a plain ViT's position table, where the file does not tell; of
            those that a model of timm is to see.
        headless: a head that cannot be read may be left out.
        attention: heads of attention of a plain ViT, where the file does not tell; None: as usual at its width.

    Returns:
        As ``load_run_model`` without a configuration; meta has ``mean``, ``std``, ``classes`` (None: not told),
        ``resolution``, ``weights``, ``notes`` (lines for the user), and how pictures are prepared
        (``vit.preprocessing.Preprocessing.plain``).

    Raises:
        CheckpointError: the file cannot be read or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        if name is None and not source.startswith("timm:"):
            name = timm_name(source)
        if name is not None or source.startswith("timm:"):
            from vit.weights.timm_models.build import load_timm

            model, meta = load_timm(source, name, resolution)
        else:
            model, meta = _load_plain(source, resolution, headless, attention)
    model.eval().requires_grad_(False)
    return model, {**meta, "weights": source}


def timm_name(source: str) -> str | None:
    """timm's name of the model that a folder in its hub format holds, where that is no plain ViT, or was trained as
    timm's own."""
    path = Path(source).expanduser()
    config = (path if path.is_dir() else path.parent) / "config.json"
    if not config.is_file():
        return None
    try:
        facts = plain_json.loads(config.read_text())
        told, own = facts.get("architecture"), facts.get(HEADER)
    except (OSError, ValueError, AttributeError):
        return None  # whoever reads the folder says what is wrong with it
    if not isinstance(told, str):
        return None
    if isinstance(own, dict) and own.get("network") == "timm":  # exported out of a run of model.name
        return told
    from timm.models import is_model, is_model_in_modules

    return told if is_model(told) and not is_model_in_modules(told, {"vision_transformer", "deit"}) else None


def _load_plain(
    source: str, resolution: Size | None, headless: bool, attention: int | None
) -> tuple[VisionTransformer, dict[str, Any]]:
    from vit.weights.reading import read

    checkpoint = read(source, resolution)
    if checkpoint.lost_head and not headless:
        raise CheckpointError(
            f"{source}: {checkpoint.lost_head}, so it cannot classify as it did; "
            "model.head=reset trains a new one, predict.py features=true does without"
        )
    if attention is not None and not checkpoint.heads_known:
        if checkpoint.arch["width"] % attention:
            raise ConfigError(
                f"model.heads={attention} does not divide the width of {source}, {checkpoint.arch['width']}"
            )
        checkpoint.arch["heads"] = attention
        checkpoint.notes = [note for note in checkpoint.notes if not note.startswith("attention heads not in the file")]
    model = network(checkpoint.architecture())
    arch = model.arch
    state, report = fit(checkpoint, model.state_dict(), arch, ModelConfig(weights=source))
    if report.new:
        raise CheckpointError(f"{source} lacks {', '.join(grouped(report.new))}")
    model.load_state_dict(state, strict=False)
    from vit.weights.timm_models.build import told

    notes = {"notes": report.lines()}
    found = replace(report.preprocessing, mean=numbers(report.mean), std=numbers(report.std))
    return model, {**told(found, arch.in_channels, arch.image_size, report.classes), **notes}
