"""A few pictures of a pass once more, to be drawn with what was found about them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vit.analysis.passes import Pictures
from vit.analysis.study import Study
from vit.analysis.subjects import Subject


def shown(study: Study, subject: Subject, places: Sequence[int]) -> Pictures:
    """The pictures at ``places`` of the pass, as the subject is shown them; those beside them are not read.

    Args:
        places: ascending, at least one.
    """
    wanted = torch.tensor(places)
    parts = []
    for where, batch in study.pictures.batches(
        subject, lambda span: not ((wanted >= span.start) & (wanted < span.stop)).any()
    ):
        inside = wanted[(wanted >= where.start) & (wanted < where.stop)] - where.start
        parts.append([batch[name][inside.to(batch[name].device)] for name in ("image", "index", "label")])
    return Pictures(*(torch.cat(column) for column in zip(*parts, strict=True)), number=0)
