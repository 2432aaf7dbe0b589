"""``scripts/analyze.py``: its arguments, those of the experiment that is asked for, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from trainer.config.arguments import number_or
from trainer.config.fields import Split
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from vit.analysis.found import experiment, questions

REPORT = "report"


@dataclass
class Arguments:
    """a classifier"""

    analysis: str = "???"  # the experiment
    run: str | None = None  # run directory, such as runs/first; or weights=, or model= and weights=
    weights: str | None = None  # without a run: a file, a folder, a checkpoint or timm:NAME
    name: str | None = None  # timm's name of the model in the weights file; null: as it tells, or a plain ViT
    model: str | None = None  # instead of what the weights tell: as train.py's model=, with model.*
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    compare: list[str] = field(default_factory=list)  # further runs or weights, on the same data; LABEL=PATH names one
    names: list[str] = field(default_factory=list)  # LABEL=NAME for weights in compare: as name=
    batch: str = "auto"  # pictures at a time; auto: what the device takes
    split: Split = Split.val  # which part of the data
    samples: int | None = None  # at most so many pictures; null: all
    analysis_seed: int = 0  # of masks, orders and whatever else is drawn; a run's own seed is another
    out: str | None = None  # folder to write to; null: analysis/NAME of the run (report: analysis), or runs/MODEL-NAME
    overrides: list[str] = field(default_factory=list)


def arguments(words: Sequence[str]) -> type:
    """The arguments where ``analysis=NAME`` is among the words: those of the experiment besides."""
    name = next((word.partition("=")[2] for word in words if word.startswith("analysis=")), None)
    if name is None or name not in questions():
        return Arguments
    own = experiment(name).Settings
    return make_dataclass("ExperimentArguments", [], bases=(own, Arguments), namespace={"__doc__": f"{name}"})


def about(text: str) -> str:
    """What ``--help`` says first, with the experiments that there are."""
    width = max(len(name) for name in questions())
    return "\n".join([text.rstrip(), "", *(f"  {name:<{width}}  {asks}" for name, asks in questions().items()), ""])


def run(arguments: Any, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Do the experiment that ``arguments`` ask for; writes ``analysis.json``, a table and pictures.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or data that cannot be used.
    """
    chosen = experiment(arguments.analysis)
    from vit.analysis.alone import alone
    from vit.analysis.outcome import write
    from vit.analysis.study import Study, judged_by
    from vit.analysis.subjects import load_subjects

    batch = number_or("auto", arguments.batch, "batch", "pictures")
    if arguments.samples is not None and arguments.samples < 1:
        raise ConfigError(f"samples={arguments.samples}: must be at least 1")
    settings = chosen.Settings(**{item.name: getattr(arguments, item.name) for item in fields(chosen.Settings)})
    subjects = load_subjects(
        arguments.run, arguments.weights, arguments.name, arguments.model, arguments.checkpoint, arguments.compare,
        arguments.overrides, schemas, judged_by(chosen), arguments.names,
    )  # fmt: skip
    for subject in subjects:
        for line in (subject.loaded.weights_line, *subject.loaded.notes, *subject.loaded.info.notes, *subject.notes):
            say(f"{subject.label}: {line}" if len(subjects) > 1 else line)
    out = _folder(arguments, subjects[0].label)
    study = Study(subjects, arguments.split.value, arguments.samples, batch, arguments.analysis_seed, out, say)
    with alone(out):
        outcome = chosen.run(study, settings)
        for line in outcome.lines:
            say(line)
        facts = study.facts(settings)
        say("written: " + ", ".join(str(path) for path in write(out, arguments.analysis, outcome, facts)))


def _folder(arguments: Any, label: str) -> Path:
    if arguments.out is not None:
        return Path(arguments.out)
    if arguments.run is not None:  # a report goes on from what was asked for alone, whose folders lie in its own
        folder = Path(arguments.run) / "analysis"
        return folder if arguments.analysis == REPORT else folder / arguments.analysis
    return Path("runs") / f"{label}-{arguments.analysis}"
