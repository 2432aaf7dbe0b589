"""Measure a trained run on held-out data; writes runs/NAME/eval.json (and, of a classifier, tables and pictures).

Of a video model, anything but the run's own validation clips goes to a file of its own: eval-SPLIT-....json.

A classifier: accuracy, calibration and a table per class; on request what its frozen features are worth.
python scripts/evaluate.py run=runs/first
python scripts/evaluate.py run=runs/first data=digits fewshot=1,5,10,25 knn=20 probe=true
python scripts/evaluate.py weights=timm:vit_base_patch16_224 data=imagenet data.root=PATH
python scripts/evaluate.py weights=FILE|FOLDER data=imagefolder data.root=PATH   # name=resnet50: of timm, not told

A video model: clips generated freely, beside the real video.
python scripts/evaluate.py run=runs/demo
python scripts/evaluate.py run=runs/demo data=folders data.root=data/cityscapes split=test clips=20
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import compose, guarded, load_run, parse_args
from trainer.config.arguments import usage
from trainer.errors import ConfigError, UserError
from vid2vid.config import FirstFrame, Vid2VidConfig
from vit.config import VitConfig

SCHEMAS = {"vid2vid": Vid2VidConfig, "vit": VitConfig}


class Split(Enum):
    val = "val"
    test = "test"
    train = "train"


@dataclass
class Arguments:
    run: str  # run directory, such as runs/demo
    split: Split = Split.val  # which part of the data
    clips: int | None = None  # at most so many; null: all
    frames: int | None = None  # length of a clip; null: data.val_frames
    first_frame: FirstFrame | None = None  # what stands before the first frame; null: as the run was trained
    checkpoint: str | None = None  # name of one of the run's checkpoints, or a path; null: the newest
    inception_weights: str | None = None  # file for FID: pt_inception-2015-12-05-6726825d.pth
    lpips_weights: str | None = None  # file for LPIPS: torchvision's alexnet-owt-7be5be79.pth
    overrides: list[str] = field(default_factory=list)


@dataclass
class ClassifierArguments:
    run: str | None = None  # run directory, such as runs/first; or model= and weights=
    weights: str | None = None  # without a run: a file, a folder, a checkpoint or timm:NAME
    name: str | None = None  # timm's name of the model in the weights file; null: as it tells, or a plain ViT
    model: str | None = None  # instead of what the weights tell: as train.py's model=, with model.*
    batch: str = "auto"  # pictures at a time; auto: what the device takes
    split: Split = Split.val  # which part of the data
    samples: int | None = None  # at most so many pictures; null: all
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    raw: bool = False  # of a run: evaluate the weights as trained beside the averaged ones
    fewshot: str | None = None  # least squares on so many pictures per class, like 1,5,10,25
    knn: int = 0  # nearest neighbours that vote, like 20; 0: not measured
    probe: bool = False  # train a linear probe on frozen features
    out: str | None = None  # folder to write to; null: the run's, or runs/MODEL-eval without one
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    words = sys.argv[1:]
    run = next((word.partition("=")[2] for word in words if word.startswith("run=")), None)
    if {"-h", "--help"} & set(words) and run is None:
        videos = usage(Arguments).partition("\n\narguments")[2]
        print(f"{usage(ClassifierArguments)}\n\narguments of a video model{videos}")
    elif run is not None and load_run(run, SCHEMAS).task == "vid2vid":
        evaluate_videos(parse_args(Arguments))
    else:
        evaluate_classifier(parse_args(ClassifierArguments, run=VitConfig))


def evaluate_classifier(arguments: ClassifierArguments) -> None:
    from vit.evaluate.loaded import load_file, load_foreign, load_trained
    from vit.evaluate.pictures import format_scores
    from vit.evaluate.run import evaluate, parse_shots, write

    shots = parse_shots(arguments.fewshot)
    batch = None if arguments.batch == "auto" else int(arguments.batch) if arguments.batch.isdigit() else 0
    if batch == 0:
        raise ConfigError(f"batch={arguments.batch}: must be a number of pictures of at least 1, or auto")
    if arguments.run is not None:
        if arguments.model or arguments.weights:
            raise ConfigError("run= is given, so are model= or weights=: a run has both (checkpoint= picks another)")
        loaded = load_trained(arguments.run, arguments.checkpoint, arguments.overrides)
        out = Path(arguments.out or arguments.run)
    else:
        asked = [word.partition("=")[0] for word in arguments.overrides]
        weights, config = str(arguments.weights), _composed(arguments)
        if arguments.model is not None:
            loaded = load_foreign(config, asked)
        else:
            loaded = load_file(weights, config, asked, arguments.name)
        called = arguments.model or arguments.name or Path(weights.removeprefix("timm:")).stem
        out = Path(arguments.out or f"runs/{called}-eval")
    for line in (loaded.weights_line, *loaded.notes, *loaded.info.notes):
        print(line)
    result = evaluate(
        loaded,
        split=arguments.split.value,
        samples=arguments.samples,
        shots=shots,
        neighbours=arguments.knn,
        probe=arguments.probe,
        batch=batch,
        wrap=lambda loader, what: progress(loader, "batch", what),
    )
    for line in result.lines:
        print(line)
    print(f"{arguments.split.value}: {result.samples} pictures, {loaded.transform_line}")
    print(format_scores(result.values))
    if arguments.raw:
        raw = _raw_scores(arguments)
        print(f"the weights as trained\n{format_scores(raw)}")
        result.values |= {f"raw_{name}": value for name, value in raw.items()}
    print("written: " + ", ".join(str(path) for path in write(out, result, loaded)))


def _raw_scores(arguments: ClassifierArguments) -> dict[str, float]:
    from vit.evaluate.loaded import load_trained
    from vit.evaluate.run import evaluate

    if arguments.run is None:
        raise ConfigError("raw=true is for run=: a weights file has one kind of weights")
    loaded = load_trained(arguments.run, arguments.checkpoint, arguments.overrides, averaged=False)
    return evaluate(loaded, arguments.split.value, arguments.samples).values


def _composed(arguments: ClassifierArguments) -> VitConfig:
    if arguments.weights is None:
        raise UserError("give run=runs/NAME, or weights=PATH|timm:NAME (see --help)")
    if arguments.model is not None and arguments.name is not None:
        raise ConfigError("model= and name= are given: name= is for weights without model= (there: model.name=)")
    odd = [word for word in arguments.overrides if word.startswith("model.") and arguments.model is None]
    if odd:
        raise ConfigError(f"{odd[0]}: the weights tell the model; to say otherwise give model=NAME too, like vit_b16")
    config = compose([f"model={arguments.model or 'vit_b16'}", *arguments.overrides], SCHEMAS)
    if not isinstance(config, VitConfig):
        raise ConfigError(f"model={arguments.model} is no classifier; it is evaluated from its run: run=runs/NAME")
    from vit.validate import checkpoint_problems, validate

    problems = checkpoint_problems("weights", arguments.weights)
    if problems:
        raise ConfigError(problems)
    if arguments.model is not None:
        config.model.weights = arguments.weights  # not as a word of Hydra's: a file's name may have = and , in it
        validate(config)
    return config


def evaluate_videos(arguments: Arguments) -> None:
    config: Vid2VidConfig = load_run(arguments.run, {"vid2vid": Vid2VidConfig}, arguments.overrides)

    from vid2vid.evaluate.image_metrics import build_image_metrics
    from vid2vid.evaluate.run import evaluate_run, format_table, write_eval
    from vid2vid.trained import load_generator

    asked = config.resolution if any(word.startswith("resolution=") for word in arguments.overrides) else None
    own: Vid2VidConfig = load_run(arguments.run, {"vid2vid": Vid2VidConfig})
    if config.model.first_frame is not own.model.first_frame:  # model.first_frame=... means first_frame=...
        arguments.first_frame = arguments.first_frame or config.model.first_frame
        config.model.first_frame = own.model.first_frame
    run = load_generator(config, Path(arguments.run), arguments.checkpoint, asked)
    print(run.weights_line)
    image_metrics, absent = build_image_metrics(
        arguments.inception_weights, arguments.lpips_weights, run.compute.device
    )
    result = evaluate_run(
        run,
        split=arguments.split.value,
        clips=arguments.clips,
        frames=arguments.frames,
        first_frame=arguments.first_frame,
        own=own.data,
        image_metrics=image_metrics,
        wrap=lambda loader: progress(loader, "clip"),
    )
    path = write_eval(Path(arguments.run), result, run)
    print(format_table(result))
    for line in absent:
        print(line)
    print(f"written to {path}" + ("" if path.name == "eval.json" else "; eval.json is the run's own evaluation"))


def progress(loader: Any, unit: str, what: str | None = None) -> Any:
    """A bar around a loader, where somebody is looking."""
    from tqdm import tqdm

    return tqdm(loader, desc=what, unit=unit, disable=not sys.stderr.isatty())


if __name__ == "__main__":
    main()
