"""What conditions share is computed once a batch."""

from types import SimpleNamespace

import torch

from vit.analysis.once import OncePerBatch
from vit.analysis.passes import Pictures


def test_once_for_each_subject_and_batch():
    calls = []

    def compute(subject, pictures):
        calls.append((subject.label, pictures.number))
        return len(calls)

    def batch(number: int) -> Pictures:
        return Pictures(torch.zeros(1, 3, 2, 2), torch.zeros(1), torch.zeros(1), number)

    shared, (a, b) = OncePerBatch(compute), (SimpleNamespace(label=name) for name in "ab")
    first, second = batch(0), batch(1)
    assert [shared(who, first) for who in (a, b, a, b)] == [1, 2, 1, 2]  # type: ignore[arg-type]
    assert [shared(who, second) for who in (a, a, b)] == [3, 3, 4]  # type: ignore[arg-type]
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
