"""``scripts/evaluate.py`` for a classifier: a run, or weights alone; its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.cli import compose
from trainer.config.arguments import number_or
from trainer.config.fields import Split
from trainer.config.schema import Schemas
from trainer.errors import ConfigError, UserError, refuse
from trainer.records.progress import followed
from vit.config import VitConfig


@dataclass
class Arguments:
    """a classifier"""

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


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Score a classifier as ``arguments`` ask for; writes ``eval.json``, a table per class and pictures.

    Args:
        schemas: of all tasks: a model of another one is told to be no classifier.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or data that cannot be used.
    """
    from vit.evaluate.loaded import load_file, load_published, load_trained
    from vit.evaluate.plots import format_scores
    from vit.evaluate.run import evaluate, parse_shots, write

    shots = parse_shots(arguments.fewshot)
    batch = number_or("auto", arguments.batch, "batch", "pictures")
    if arguments.run is not None:
        if arguments.model or arguments.weights:
            raise ConfigError("run= is given, so are model= or weights=: a run has both (checkpoint= picks another)")
        loaded = load_trained(arguments.run, arguments.checkpoint, arguments.overrides)
        out = Path(arguments.out or arguments.run)
    else:
        requested = [word.partition("=")[0] for word in arguments.overrides]
        weights, config = str(arguments.weights), _composed(arguments, schemas)
        if arguments.model is not None:
            loaded = load_published(config, requested)
        else:
            loaded = load_file(weights, config, requested, arguments.name)
        called = arguments.model or arguments.name or Path(weights.removeprefix("timm:")).stem
        out = Path(arguments.out or f"runs/{called}-eval")
    for line in (loaded.weights_line, *loaded.notes, *loaded.info.notes):
        say(line)
    result = evaluate(
        loaded,
        split=arguments.split.value,
        samples=arguments.samples,
        shots=shots,
        neighbours=arguments.knn,
        probe=arguments.probe,
        batch=batch,
        wrap=lambda loader, what: followed(loader, unit="batch", what=what),
    )
    for line in result.lines:
        say(line)
    say(f"{arguments.split.value}: {result.samples} pictures, {loaded.transform_line}")
    say(format_scores(result.values))
    if arguments.raw:
        raw = _raw_scores(arguments)
        say(f"the weights as trained\n{format_scores(raw)}")
        result.values |= {f"raw_{name}": value for name, value in raw.items()}
    say("written: " + ", ".join(str(path) for path in write(out, result, loaded)))


def _raw_scores(arguments: Arguments) -> dict[str, float]:
    from vit.evaluate.loaded import load_trained
    from vit.evaluate.run import evaluate

    if arguments.run is None:
        raise ConfigError("raw=true is for run=: a weights file has one kind of weights")
    loaded = load_trained(arguments.run, arguments.checkpoint, arguments.overrides, averaged=False)
    return evaluate(loaded, arguments.split.value, arguments.samples).values


def _composed(arguments: Arguments, schemas: Schemas) -> VitConfig:
    if arguments.weights is None:
        raise UserError("give run=runs/NAME, or weights=PATH|timm:NAME (see --help)")
    if arguments.model is not None and arguments.name is not None:
        raise ConfigError("model= and name= are given: name= is for weights without model= (there: model.name=)")
    odd = [word for word in arguments.overrides if word.startswith("model.") and arguments.model is None]
    if odd:
        raise ConfigError(f"{odd[0]}: the weights tell the model; to say otherwise give model=NAME too, like vit_b16")
    config = compose([f"model={arguments.model or 'vit_b16'}", *arguments.overrides], schemas)
    if not isinstance(config, VitConfig):
        raise ConfigError(f"model={arguments.model} is no classifier; it is evaluated from its run: run=runs/NAME")
    from vit.validate import checkpoint_problems, problems

    refuse(checkpoint_problems("weights", arguments.weights))
    if arguments.model is not None:
        config.model.weights = arguments.weights  # not as a word of Hydra's: a file's name may have = and , in it
        refuse(problems(config))
    return config
