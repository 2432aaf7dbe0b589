"""Pictures of a pass that are drawn with what was found about them: which ones, and what is said below them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vit.analysis.contact_sheet import BAD, GOOD
from vit.analysis.kept_answers import Answers
from vit.analysis.subjects import Subject


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
