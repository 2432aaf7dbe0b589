"""Figures of every head of plain ViTs under study, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vit.analysis.attention.look import FIGURES, figures
from vit.analysis.attention.taps import Taps
from vit.analysis.kept_answers import Answers
from vit.analysis.passes import Condition, Pictures, Response
from vit.analysis.study import Study
from vit.analysis.subjects import Subject

_CLEAN = Condition({"shown": "clean"})


def head_figures(study: Study, taps: Mapping[str, Taps]) -> dict[str, dict[str, np.ndarray]]:
    """``FIGURES`` over the pictures of the study; what is known already is read.

    Args:
        taps: of every subject, by its label.

    Returns:
        By the subject's label and the figure's name: (pictures, blocks, heads) float32.

    Raises:
        UserError: no picture can be read.
    """

    def respond(subject: Subject, pictures: Pictures, condition: Condition) -> Response:
        found = figures(taps[subject.label], subject.size, lambda: subject.logits(pictures.pixels))
        extra = {
            f"{name}/{block}/{head}": values[:, block, head]
            for name, values in found.items()
            for block in range(values.shape[1])
            for head in range(values.shape[2])
        }
        return Response(None, extra)

    tables = {}
    for label, found in study.answers([_CLEAN], respond, "attention").items():
        tables[label] = {name: _table(found[_CLEAN.key], name, taps[label].depth) for name in FIGURES}
    return tables


def _table(answers: Answers, name: str, depth: int) -> np.ndarray:
    heads = sum(key.startswith(f"{name}/0/") for key in answers.extra)
    rows = [[answers.extra[f"{name}/{block}/{head}"] for head in range(heads)] for block in range(depth)]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=1)[answers.predicted >= 0]
