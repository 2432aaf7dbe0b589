"""``scripts/evaluate.py`` for a video model: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.cli import load_run
from trainer.config.fields import Split
from trainer.config.schema import Schemas
from trainer.errors import ConfigError, refuse
from trainer.files import check_folder
from trainer.records.progress import followed
from trainer.validate import at_least
from vid2vid.config import EvaluatedStyle, FirstFrame, Vid2VidConfig
from vid2vid.styles.request import require_encoder

if TYPE_CHECKING:
    from vid2vid.evaluate.image_metrics import ImageMetric
    from vid2vid.trained import LoadedRun


class FlowEstimator(Enum):
    """Of tOF."""

    off = "off"
    run = "run"  # the run's own; dis where its flow is not estimated
    dis = "dis"
    farneback = "farneback"
    raft = "raft"  # weights: data.flow_weights


@dataclass
class Arguments:
    """a video model"""

    run: str  # run directory, such as runs/demo
    split: Split = Split.val  # which part of the data
    clips: int | None = None  # at most so many; null: all
    frames: int | None = None  # length of a clip; null: data.val_frames
    first_frame: FirstFrame | None = None  # what stands before the first frame; null: as the run was trained
    checkpoint: str | None = None  # name of one of the run's checkpoints, or a path; null: the newest
    predictor: str | None = None  # run directory of a label predictor: measures t+1, t+2, ... and not as without
    predict: int | None = None  # so many frames behind the real ones; with the last frame and its motion as rivals
    inception_weights: str | None = None  # file for FID and KID: pt_inception-2015-12-05-6726825d.pth
    lpips_weights: str | None = None  # file for LPIPS and tLP: torchvision's alexnet-owt-7be5be79.pth
    segmenter: str | None = None  # for mIoU: file of train_segmenter.py; torchvision:FILE, transformers:FOLDER
    segmenter_classes: str | None = None  # CLASS:ID,... of another's segmenter; null: classes of the same name
    video_features: str | None = None  # for VFD, FVD, JEDi: NETWORK:FILE,... (r2plus1d_18, mvit_v2_s, fvd, vjepa2, ...)
    tof: FlowEstimator = FlowEstimator.off  # do things move as in the real video? with which estimator of flow
    style: EvaluatedStyle = EvaluatedStyle.own  # of a run with a feature encoder: whose looks the instances have
    seed: int = 0  # of style=sample; seed+1 is compared with it
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Measure a run's generated clips as ``arguments`` ask for; writes ``eval.json``, or a file beside it.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or data that cannot be used.
    """
    _refuse_mixed(arguments)
    own: Vid2VidConfig = load_run(arguments.run, schemas)
    config: Vid2VidConfig = load_run(arguments.run, schemas, arguments.overrides)

    if arguments.style is not EvaluatedStyle.own:
        require_encoder(config.model, f"style={arguments.style.value}")
    if arguments.seed and arguments.style is not EvaluatedStyle.sample:
        raise ConfigError(f"seed={arguments.seed} is for style=sample: give that too, or leave seed out")
    refuse(at_least("seed", arguments.seed, 0))

    from vid2vid.evaluate.chosen import build_clip_metrics
    from vid2vid.evaluate.image_metrics import build_image_metrics
    from vid2vid.evaluate.run import evaluate_run, format_table, write_eval
    from vid2vid.evaluate.styling import styled
    from vid2vid.trained import load_asked

    if config.model.first_frame is not own.model.first_frame:  # model.first_frame=... means first_frame=...
        arguments.first_frame = arguments.first_frame or config.model.first_frame
        config.model.first_frame = own.model.first_frame
    check_folder("run", arguments.run, Path(arguments.run))
    loaded = load_asked(config, arguments.run, arguments.checkpoint, arguments.overrides, say)
    image_metrics, absent = build_image_metrics(
        arguments.inception_weights, arguments.lpips_weights, loaded.compute.device
    )
    if arguments.predictor is not None and arguments.predict is not None:
        _compare_future(arguments, arguments.predictor, arguments.predict, schemas, loaded, own, image_metrics, say)
        return
    clip_metrics = build_clip_metrics(
        tof=arguments.tof.value,
        segmenter=arguments.segmenter,
        segmenter_classes=arguments.segmenter_classes,
        video_features=arguments.video_features,
        config=config,
        image_metrics=image_metrics,
        device=loaded.compute.device,
    )
    result = evaluate_run(
        loaded,
        split=arguments.split.value,
        clips=arguments.clips,
        frames=arguments.frames,
        first_frame=arguments.first_frame,
        own=own.data,
        image_metrics=image_metrics,
        clip_metrics=clip_metrics,
        style=styled(loaded, arguments.style, Path(arguments.run), arguments.seed),
        wrap=lambda loader: followed(loader, unit="clip"),
    )
    path = write_eval(Path(arguments.run), result, loaded)
    say(format_table(result))
    for line in [*absent, *_left_out(arguments)]:
        say(line)
    say(f"written to {path}" + ("" if path.name == "eval.json" else "; eval.json is the run's own evaluation"))


def _left_out(arguments: Arguments) -> list[str]:
    """What was not asked for, in a line."""
    figures = {
        "mIoU (segmenter=FILE)": arguments.segmenter,
        "tOF (tof=run)": arguments.tof is not FlowEstimator.off,
        "VFD, FVD, JEDi (video_features=NETWORK:FILE)": arguments.video_features,
    }
    missing = [name for name, given in figures.items() if not given]
    return [f"not asked for: {', '.join(missing)}; docs/metrics.md"] if missing else []


def _refuse_mixed(arguments: Arguments) -> None:
    """Raises ConfigError where predictor= and predict= do not stand together, or beside what they leave out."""
    if (arguments.predictor is None) != (arguments.predict is None):
        raise ConfigError("predictor=RUN and predict=N go together: which run predicts label maps, and how many")
    if arguments.predictor is None:
        return
    others = ("frames", "first_frame", "inception_weights", "segmenter", "segmenter_classes", "video_features", "tof")
    defaults = {item.name: item.default for item in fields(Arguments)}
    given = [name for name in others if getattr(arguments, name) != defaults[name]]
    if given:
        raise ConfigError(
            f"{given[0]}= does not go with predictor=: predicted frames are measured at t+1..t+N behind real ones, in "
            f"PSNR, SSIM, label mIoU and LPIPS; leave {' and '.join(f'{name}=' for name in given)} out"
        )


def _compare_future(
    arguments: Arguments,
    predictor: str,
    predict: int,
    schemas: Schemas,
    loaded: LoadedRun,
    own: Vid2VidConfig,
    image_metrics: Sequence[ImageMetric],
    say: Callable[[str], None],
) -> None:
    """What a predictor and the renderer make of the future, beside simple guesses."""
    from vid2vid.evaluate.image_metrics import PerceptualSimilarity
    from vid2vid.future.evaluate import evaluate_future
    from vid2vid.future.report import format_future, write_future
    from vid2vid.future.rollout import LabelRollout
    from vid2vid.future.trained import load_predictor

    trained = load_predictor(predictor, schemas, loaded)
    say(f"predictor: {trained.weights_line}")
    result = evaluate_future(
        loaded,
        LabelRollout(trained),
        predict=predict,
        split=arguments.split.value,
        clips=arguments.clips,
        own=own.data,
        lpips=next((metric for metric in image_metrics if isinstance(metric, PerceptualSimilarity)), None),
        wrap=lambda loader: followed(loader, unit="clip"),
    )
    facts = {"checkpoint": str(loaded.checkpoint), "predictor": predictor}
    path = write_future(Path(arguments.run), predictor, result, facts)
    say(format_future(result))
    say(f"written to {path}, with curves in {path.with_suffix('.png').name}")
