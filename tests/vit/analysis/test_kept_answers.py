"""Answers on their way from the device into files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import UserError
from vit.analysis.kept_answers import MISSING, Pending, Store

YES = torch.ones(2, dtype=torch.bool)


def test_kept_at_once_and_in_their_places(tmp_path: Path) -> None:
    store, pending = Store(tmp_path, "drop-run", "weights seed=0", 3), Pending()
    one, two = store.open("one"), store.open("two")
    right = torch.tensor([True, False])
    pending.add(one, slice(1, 3), torch.tensor([70000, -1]), right, YES, {}, "run: no number")
    pending.add(
        two, slice(0, 2), torch.tensor([2, 3]), ~right, YES, {"r": torch.tensor([0.5, -0.25])}, "run: no number"
    )
    assert (one.predicted == MISSING).all(), "not before they are asked for"
    pending.keep()
    assert one.predicted.tolist() == [MISSING, 70000, -1] and one.right.tolist() == [0, 1, 0]
    assert two.predicted.tolist() == [2, 3, MISSING] and two.right.tolist() == [0, 1, 0]
    assert two.extra["r"].tolist() == [0.5, -0.25, 0] and two.judged == 2 and two.mean("r") == 0.125
    store.save()
    read = Store(tmp_path, "drop-run", "weights seed=0", 3)
    assert np.array_equal(read.open("two").predicted, two.predicted) and read.open("two").extra["r"][1] == -0.25


def test_other_settings_lie_beside(tmp_path: Path) -> None:
    first, second = (Store(tmp_path, "drop-run", f"seed={seed}", 3) for seed in (0, 1))
    first.open("one").predicted[:] = 5
    first.save()
    assert (second.open("one").predicted == MISSING).all()
    second.save()
    assert (Store(tmp_path, "drop-run", "seed=0", 3).open("one").predicted == 5).all()
    first.path.rename(second.path)
    with pytest.raises(UserError, match=f"{second.path.name}: .*delete it"):
        Store(tmp_path, "drop-run", "seed=1", 3)


def test_no_numbers_end_it_and_those_before_are_kept(tmp_path: Path) -> None:
    store, pending = Store(tmp_path, "drop-run", "", 2), Pending()
    one, two = store.open("one"), store.open("two")
    for answers, numbers in ((one, YES), (two, torch.tensor([True, False]))):
        pending.add(answers, slice(0, 2), torch.tensor([1, 1]), YES, numbers, {}, "run: no number")
    with pytest.raises(UserError, match="run: no number"):
        pending.keep()
    assert (one.predicted == 1).all() and (two.predicted == MISSING).all()
    pending.keep()
