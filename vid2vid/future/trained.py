"""A trained label predictor out of a run directory, for a renderer of the same classes and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoint.trained import find_checkpoint, read_trained
from trainer.cli import load_run
from trainer.config.schema import Schemas, show
from trainer.device.compute import Compute
from trainer.errors import ConfigError, refuse
from vid2vid.config import SourceKind
from vid2vid.encoding import SourceEncoder
from vid2vid.future.config import LabelPredictorConfig, as_vid2vid
from vid2vid.future.predictor import LabelPredictor
from vid2vid.trained import LoadedRun

NETWORK = "predictor"  # its name in ``LabelPredictorTask.networks``


@dataclass
class LoadedPredictor:
    """A predictor with everything that it must be used with.

    Attributes:
        predictor: in eval mode, on its device, its parameters without gradients.
        encoder: makes its input of label ids.
        compute: the renderer's device and precision.
        past_frames: L, how many label maps it must have seen.
        weights_line: one line for the user: which weights these are.
        colours: what the colours of its label maps meant; None: not known, or none.
    """

    predictor: LabelPredictor
    encoder: SourceEncoder
    compute: Compute
    past_frames: int
    weights_line: str
    colours: dict[str, Any] | None = None


def load_predictor(run_dir: str | Path, schemas: Schemas, renderer: LoadedRun) -> LoadedPredictor:
    """The newest weights of a run of task label_predictor.

    Args:
        run_dir: such as ``runs/labels``.
        schemas: of all tasks.
        renderer: that will draw what it predicts.

    Raises:
        UserError: no such run. CheckpointError: it has no checkpoint, or a damaged one.
        ConfigError: it is no predictor, or one of other classes or another size than the renderer's.
    """
    config = load_run(run_dir, schemas, key="predictor")
    if not isinstance(config, LabelPredictorConfig):
        raise ConfigError(
            f"predictor={run_dir} is a run of task {config.task}, which predicts no label maps: "
            "train one with model=label_predictor and give its folder"
        )
    trained = read_trained(find_checkpoint(Path(run_dir), None), NETWORK)
    footage = as_vid2vid(config)
    encoder = SourceEncoder(footage.model, footage.data)
    size = list(trained.meta.get("resolution") or config.resolution)
    refuse(_mismatches(run_dir, encoder.ids, size, renderer))
    network = trained.into(LabelPredictor(config.model, encoder.channels), "predictor")
    compute, known = renderer.compute, trained.meta.get("task") or {}
    return LoadedPredictor(
        network.to(compute.device),
        encoder,
        compute,
        config.model.past_frames,
        trained.line,
        known.get("label_colours"),
    )


def _mismatches(run_dir: str | Path, ids: list[int], size: list[int], renderer: LoadedRun) -> list[str]:
    """Why what a predictor makes cannot be rendered: one line each."""
    model = renderer.config.model
    if model.source is not SourceKind.labels:
        return [
            f"predictor={run_dir} predicts label maps, but run= was trained with model.source={show(model.source)}: "
            "give a renderer of label maps (model.source=labels)"
        ]
    found = []
    theirs = renderer.encoder.ids
    if set(ids) != set(theirs):
        found.append(
            f"predictor={run_dir} has the classes {show(sorted(ids))}, the renderer {show(sorted(theirs))}: train a "
            f"predictor with model.label_ids={show(theirs)}"
        )
    if size != renderer.config.resolution:
        found.append(
            f"predictor={run_dir} was trained at resolution={show(size)}, the renderer works at "
            f"{show(renderer.config.resolution)}: train a predictor with resolution={show(renderer.config.resolution)}"
        )
    return found
