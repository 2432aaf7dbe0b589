"""``scripts/evaluate.py`` for a line: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.cli import load_run


@dataclass
class Arguments:
    """a line"""

    run: str  # run directory, such as runs/line
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Any, say: Callable[[str], None]) -> None:
    config = load_run(arguments.run, schemas, arguments.overrides)

    from slope.task import Points, SlopeTask, measure
    from trainer.checkpoint.trained import find_checkpoint, read_trained
    from trainer.data.loader import make_eval_loader
    from trainer.files import write_json

    weights = read_trained(find_checkpoint(Path(arguments.run), None), "line")
    line = weights.into(SlopeTask(config).line, "line")
    total, count = measure(line, make_eval_loader(Points(config.data, "val"), batch_size=16, workers=0, seed=0))
    values = {name: value.item() for name, value in line.named_parameters()} | {"square": total / count}
    write_json(Path(arguments.run, "eval.json"), values)
    say(weights.line)
    say(f"y = {values['weight']:.3f} x + {values['bias']:.3f} over {count:.0f} points")
