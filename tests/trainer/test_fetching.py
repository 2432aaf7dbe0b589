"""A batch that cannot be had: the run is saved first, ends everywhere, and goes on exactly once it can be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.forking import side_by_side
from tests.helpers.toys import LinearTask, ToyData64, toy_config
from trainer.config.fields import StageConfig
from trainer.data.sampler import GlobalOrder
from trainer.errors import DataError
from trainer.loop import Trainer
from trainer.task import SampleDataset, Stage

CONFIG: dict[str, Any] = {"stages": {"s": StageConfig(batch_size=2)}, "checkpoint_every": 100}


class Damaged(ToyData64):
    """One sample cannot be read."""

    def __init__(self, n: int, broken: int | None, error: type[Exception]) -> None:
        super().__init__(n, 1)
        self.broken, self.error = broken, error

    def name(self, index: int) -> str:
        return f"{index}.png"

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        if index == self.broken:
            raise self.error(f"{index}.png: cannot be read")
        return super().sample(index, rng)


class DamagedTask(LinearTask):
    def __init__(self, broken: int | None, error: type[Exception] = DataError) -> None:
        super().__init__()
        self.broken, self.error = broken, error

    def dataset(self, split: str, stage: Stage) -> SampleDataset:
        return Damaged(self.samples, self.broken, self.error) if split == "train" else super().dataset(split, stage)


def sample_at(position: int) -> int:
    return GlobalOrder(10, seed=3)[position][1]


@pytest.mark.parametrize("error", [DataError, ZeroDivisionError])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_nothing_is_lost_by_a_sample_that_cannot_be_read(
    tmp_path: Path, workers: int, error: type[Exception], capsys: Any
) -> None:
    Trainer(toy_config("linear", **CONFIG), lambda: DamagedTask(None), tmp_path / "whole").fit()
    run = tmp_path / "run"
    config = toy_config("linear", workers=workers, **CONFIG)
    with pytest.raises(error, match="cannot be read"):
        Trainer(config, lambda: DamagedTask(sample_at(7), error), run).fit()
    assert "saved at step 3: the next batch cannot be had" in capsys.readouterr().out
    assert (run / "checkpoints" / "step-00000003").is_dir() and not (run / "done.json").exists()
    resumed = Trainer(config, lambda: DamagedTask(None), run)
    resumed.fit()
    assert resumed.resumed_from == run / "checkpoints" / "step-00000003"
    same = [outcome(folder) for folder in (tmp_path / "whole", run)]
    assert_same(*same)


def test_a_first_sample_that_cannot_be_read_leaves_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        Trainer(toy_config("linear", **CONFIG), lambda: DamagedTask(sample_at(0)), tmp_path).fit()
    assert not list((tmp_path / "checkpoints").glob("*"))


def in_processes(rank: int, folder: Path, broken: int | None) -> int:
    config = toy_config("linear", **{**CONFIG, "stages": {"s": StageConfig(batch_size=4)}, "max_samples": 24})
    trainer = Trainer(config, lambda: DamagedTask(broken), folder)
    trainer.fit()
    return trainer.step


@pytest.mark.parametrize(
    ("position", "step"),
    [(6, 1), pytest.param(2, 0, marks=pytest.mark.slow), pytest.param(3, 0, marks=pytest.mark.slow)],
)
def test_all_processes_end_at_the_same_boundary(tmp_path: Path, position: int, step: int) -> None:
    """A sample of rank 1 alone; the first batch of all; of rank 1's first batch."""
    failed = side_by_side(in_processes, tmp_path, sample_at(position))
    assert all(isinstance(error, DataError) for error in failed), failed
    assert "process 1 has no next batch" in str(failed[0]) and "cannot be read" in str(failed[0])
    assert str(failed[1]).startswith(f"{sample_at(position)}.png: cannot be read")
    saved = [path.name for path in (tmp_path / "checkpoints").glob("step-*")]
    assert saved == ([f"step-{step:08d}"] if step else [])
    assert side_by_side(in_processes, tmp_path, None) == [6, 6]


@pytest.mark.slow
def test_a_batch_that_is_not_wanted_may_fail(tmp_path: Path) -> None:
    """Processes ask for one more than the run has."""
    assert side_by_side(one_step, tmp_path, sample_at(6)) == [1, 1]


def one_step(rank: int, folder: Path, broken: int) -> int:
    config = toy_config("linear", **{**CONFIG, "stages": {"s": StageConfig(batch_size=4)}, "max_samples": 4})
    trainer = Trainer(config, lambda: DamagedTask(broken), folder)
    trainer.fit()
    return trainer.step
