"""A few pictures of a pass once more, to be drawn with what was found about them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vit.analysis.contact_sheet import BAD, GOOD
from vit.analysis.kept_answers import Answers
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


def misled(clean: Answers, after: Answers, count: int) -> list[int]:
    """Places of a few pictures to be shown, ascending: first those that were right and are so no longer, then those
    that still are, then others; none that cannot be judged."""
    order = sorted(range(len(clean.right)), key=lambda place: (clean.right[place] == 0, after.right[place] == 1, place))
    return sorted([place for place in order if clean.predicted[place] >= 0][:count])


def said(subject: Subject, logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Lines of a contact sheet: what a subject takes each picture for, how surely, in the colour of right and wrong.

    Args:
        logits: of its head, (B, K).
        labels: (B,), classes of the data, which ``classes`` names.
    """
    best, index = subject.classes(logits).float().softmax(dim=1).max(dim=1)
    return [
        (f"{classes[k]} {100 * p:.0f} %", GOOD if k == label else BAD)
        for p, k, label in zip(best.tolist(), index.tolist(), labels.tolist(), strict=True)
    ]
