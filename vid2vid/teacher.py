"""A trained generator that another one learns from.

The teacher makes the video that it would make by itself: each of its frames comes after its own past ones, never after
the student's. So the student's rollout is held against one target for each clip, a frame that it drifts away counts as
drift, and the teacher never sees frames that it was not trained on, whose errors it would warp into the target.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from trainer.checkpoint.digest import add_weights
from trainer.config.schema import show
from trainer.data.labels.label_map import ignored_ids
from trainer.errors import CheckpointError, ConfigError, refuse
from trainer.frozen import Frozen
from trainer.schedule.stage_table import stage_size
from trainer.text import few
from vid2vid.config import Vid2VidConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.loading import load_folder
from vid2vid.model import Generator
from vid2vid.trained import LoadedRun
from vid2vid.validate.untrained_parts import stages_of
from vid2vid.weights.source_channels import SourceChannels, channel_titles


class Teacher(Frozen):
    """A frozen generator with what makes its input.

    Args:
        loaded: as it was found.

    Attributes:
        scales: generator scales in use, coarsest first.
        width: channels of the features that its heads read.
        line: which weights these are, in words.
    """

    def __init__(self, loaded: LoadedRun) -> None:
        super().__init__()
        self.generator: Generator = loaded.generator
        self.generator.checkpointing = False  # it has no backward pass, and checkpointed frames come without features
        self.encoder: SourceEncoder = loaded.encoder
        self.scales = loaded.scales or loaded.generator.scales
        self.width = loaded.config.model.ngf // 2 ** (self.scales - 1)
        self.line = f"learns from {loaded.weights_line}"
        self._step, digest = loaded.step, hashlib.blake2b(digest_size=8)
        add_weights(digest, self.generator)
        self._digest = digest.hexdigest()
        self.freeze()

    def identity(self) -> dict[str, Any]:
        """What tells its weights from others: plain data for a checkpoint."""
        return {"step": self._step, "weights": self._digest}

    def check_same(self, before: dict[str, Any], given: str | None) -> None:
        """Raises CheckpointError where a run that goes on had other weights as its teacher.

        Args:
            before: ``identity`` of the teacher that the run had.
            given: ``model.teacher``.
        """
        if before and before != self.identity():
            raise CheckpointError(
                f"model.teacher={given} has other weights (step {self._step}) than this run has learnt from so far ("
                f"step {before.get('step')}): give a checkpoint with those, a folder step-... of the teacher's "
                "checkpoints, or go on under another name with this run as model.weights"
            )


def build_teacher(config: Vid2VidConfig) -> Teacher | None:
    """What ``model.teacher`` names, on the CPU, with its averaged (EMA) weights where it has them; None without any.

    Its files are read as plain data, and torch's random stream stays as it was.

    Raises:
        UserError: there is none, or it is damaged.
        ConfigError: it sees, makes or remembers something else than the student; says which setting to change.
    """
    given = config.model.teacher
    if given is None:
        return None
    with torch.random.fork_rng(devices=[]):
        try:
            loaded, _ = load_folder(Path(given).expanduser(), overrides=["trainer.device=cpu"])
        except CheckpointError as error:
            raise CheckpointError(f"model.teacher={given}: {error}") from error
        except ConfigError as error:
            raise ConfigError([f"model.teacher={given}: {problem}" for problem in error.problems]) from error
    refuse(_misfits(config, loaded))
    return Teacher(loaded)


def _misfits(config: Vid2VidConfig, loaded: LoadedRun) -> list[str]:
    """One line for each thing in which a teacher does not fit its student."""
    model, theirs, given = config.model, loaded.config.model, f"model.teacher={config.model.teacher}"
    here, there = (SourceChannels.of(each.model, each.data) for each in (config, loaded.config))
    found = []
    if loaded.style is not None:
        found.append(f"{given} has a feature encoder (model.style_channels), whose styles a student cannot follow")
    elif (here.ids, here.edges, here.pictures, here.kind) != (there.ids, there.edges, there.pictures, there.kind):
        own, other = (", ".join(channel_titles(each)) for each in (here, there))
        ids = f"model.label_ids={show(list(there.ids))}" if there.ids else f"model.source={show(there.kind)}"
        found.append(
            f"{given} sees {other}; this model sees {own}: set {ids} model.instance_edges={show(there.edges)}, or "
            "choose a teacher that was trained on the same"
        )
    elif only_one := _ignored(config) ^ _ignored(loaded.config):
        other, own = (show(each.data.ignore_label) for each in (loaded.config, config))
        found.append(
            f"{given} has data.ignore_label={other}, this run {own}: class {few(sorted(only_one))} is seen by one of "
            "them only: set the same"
        )
    elif here.drawn and there.drawn and here.drawn != there.drawn:
        own, other = (show(list(each.data.sources)) for each in (config, loaded.config))
        found.append(f"{given} sees data.sources={other}, this model {own}: give the same kinds in the same order")
    for name in ("past_frames", "first_frame", "flow"):
        if getattr(model, name) != getattr(theirs, name):
            value = show(getattr(theirs, name))
            found.append(f"{given} has model.{name}={value}, this model {show(getattr(model, name))}: set {value} too")
    size = list(loaded.config.resolution)
    for name, stage in stages_of(config).items():
        own = list(stage_size(config, stage))
        if own != size:
            found.append(
                f"{given} makes frames of {size[0]}x{size[1]}, stage {name} those of {own[0]}x{own[1]}: set "
                f"resolution=[{size[0]},{size[1]}] and stages of that size (curriculum=single has one)"
            )
        if stage.scales is not None and stage.scales < model.scales and model.lambda_teacher_features > 0:
            found.append(
                f"curriculum.stages.{name}.scales={stage.scales}: features of the teacher are followed at the finest "
                f"of model.scales={model.scales} only: set model.lambda_teacher_features=0, or scales={model.scales}"
            )
    return found


def _ignored(config: Vid2VidConfig) -> set[int]:
    """Classes with a channel whose pixels are of no class all the same."""
    return set(SourceChannels.of(config.model, config.data).ids or ()) & set(ignored_ids(config.data.ignore_label))
