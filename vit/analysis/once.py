"""What several conditions share of a batch is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from vit.analysis.passes import Pictures
from vit.analysis.subjects import Subject

T = TypeVar("T")


class OncePerBatch(Generic[T]):
    """Calls a function of a subject and a batch of pictures once for each of them, and keeps it for that batch.

    Args:
        compute: (subject, pictures) to anything.
    """

    def __init__(self, compute: Callable[[Subject, Pictures], T]) -> None:
        self._compute = compute
        self._batch: Pictures | None = None
        self._known: dict[str, T] = {}

    def __call__(self, subject: Subject, pictures: Pictures) -> T:
        if self._batch is not pictures:
            self._batch, self._known = pictures, {}
        if subject.label not in self._known:
            self._known[subject.label] = self._compute(subject, pictures)
        return self._known[subject.label]
