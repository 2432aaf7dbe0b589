"""What guard and log cost: each variant leaves out what it says, and the run is whole again afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.small_runs import configured
from train import build_task
from trainer.benchmark import overhead
from trainer.loop import Trainer


def test_every_variant_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Trainer] = []

    class Kept(Trainer):
        def __init__(self, *given, **named) -> None:
            super().__init__(*given, **named)
            made.append(self)

    monkeypatch.setattr(overhead, "Trainer", Kept)
    config = configured("vit_mu")
    lines = list(overhead.suite("small", config, lambda: build_task(config), 2, "python benchmark.py"))
    assert lines[2].endswith("windows of 2 steps and one record.")
    assert [line.split(" |")[0] for line in lines[6:9]] == ["| watched", "| without guard", "| without log"]
    assert lines[7].count("%") == 1 and "inside the log's" in lines[-1]
    trainer = made[0]
    assert not {"begin", "watch", "judge", "end"} & set(vars(trainer.guard)) and "log" not in vars(trainer)


def test_what_is_left_out_is_not_called(tmp_path: Path) -> None:
    config = configured("vit_mu")
    trainer = Trainer(config, lambda: build_task(config), tmp_path / "run")
    spent = {"guard": 0.0, "log": 0.0}
    with overhead._without(trainer, "without log", spent):
        trainer.log(3)  # without a stage it fails
        trainer.guard.settle()
    with overhead._without(trainer, "watched", spent), pytest.raises(AssertionError):
        trainer.log(3)
    assert spent["log"] > 0
