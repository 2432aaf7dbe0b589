"""``scripts/evaluate.py`` for a classifier: a run, or weights alone; its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.config.arguments import number_or
from trainer.config.fields import Split
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from trainer.records.progress import followed


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
    from vit.evaluate.asked import load_asked
    from vit.evaluate.plots import format_scores
    from vit.evaluate.run import evaluate, parse_shots, write

    shots = parse_shots(arguments.fewshot)
    batch = number_or("auto", arguments.batch, "batch", "pictures")
    loaded = load_asked(arguments.run, arguments.weights, arguments.name, arguments.model, arguments.checkpoint,
                        arguments.overrides, schemas)  # fmt: skip
    called = arguments.model or arguments.name or Path(str(arguments.weights).removeprefix("timm:")).stem
    out = Path(arguments.out or arguments.run or f"runs/{called}-eval")
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
