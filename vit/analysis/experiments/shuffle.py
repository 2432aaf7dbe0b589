"""Does it need to know where things are? Cells of the pictures change places (section 3.3)

Naseer et al., "Intriguing Properties of Vision Transformers", 2021. The pictures are cut into a grid of cells that are
put together anew in a random order; the finer the grid, the less is left of the scene's layout. A grid of 1x1 is the
picture itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from trainer.errors import ConfigError
from trainer.records.intervals import t_interval
from vit.analysis.chance import permutation, run_seed
from vit.analysis.charts import Chart, Curve
from vit.analysis.occlusion.cells import check_grid, parse_grid, rearranged
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pictures
from vit.analysis.scope import Scope, drawn_for, told
from vit.analysis.study import Study
from vit.analysis.subjects import Subject


@dataclass
class Settings:
    grids: list[str] = field(
        default_factory=lambda: ["1x1", "2x2", "2x4", "4x4", "4x8", "8x8"]
    )  # rows x columns of cells
    runs: int = 5  # other orders of the cells; 1x1 is done once
    scope: Scope = Scope.image  # what shares an order: image: nothing; batch: a batch, as the paper's code has it


def run(study: Study, settings: Settings) -> Outcome:
    """Top-1 accuracy for every grid: records, and a curve for each subject over the number of cells."""
    grids = list(dict.fromkeys(_grid(text, study) for text in settings.grids))
    if not grids:
        raise ConfigError("grids=[]: give at least one, like [1x1,2x2]")
    if settings.runs < 1:
        raise ConfigError(f"runs={settings.runs}: must be at least 1")
    conditions = [
        Condition({"grid": f"{rows}x{columns}", "run": run, **told(settings.scope, study.pictures.batch)})
        for rows, columns in grids
        for run in range(1 if rows * columns == 1 else settings.runs)
    ]

    def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Tensor:
        rows, columns = parse_grid(str(condition.values["grid"]), "grids")
        seed = run_seed(study.seed, int(condition.values["run"]))
        order = permutation(seed, drawn_for(settings.scope, pictures), rows * columns)
        return subject.logits(rearranged(pictures.pixels, (rows, columns), order))

    answers = study.answers(conditions, respond, "shuffle")
    outcome, curves = Outcome(), []
    for label, found in answers.items():
        means, halves = [], []
        for rows, columns in grids:
            name = f"{rows}x{columns}"
            kept = [(c, found[c.key]) for c in conditions if c.values["grid"] == name]
            mean, half = t_interval([each.accuracy for _, each in kept])
            means.append(mean)
            halves.append(half)
            outcome.values[f"{label}/top1_{name}"] = mean
            outcome.records += [
                {"model": label, **c.values, "cells": rows * columns, "top1": each.accuracy, "pictures": each.judged}
                for c, each in kept
            ]
        curves.append(Curve(label, [rows * columns for rows, columns in grids], means, halves))
    outcome.charts["shuffle"] = Chart(
        "Cells in random order", "cells", "top-1 accuracy", curves, 1 / len(study.classes)
    )
    return outcome


def _grid(text: str, study: Study) -> tuple[int, int]:
    rows, columns = parse_grid(text, "grids")
    for subject in study.subjects:
        check_grid((rows, columns), subject.size)
    return rows, columns
