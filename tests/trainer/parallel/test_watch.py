"""The first error of several processes is shown once, and ends all of them; what differs between them is named."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.ranks import LAST_LINE, Ended, Ranks, config_of, train
from trainer.config.fields import TrainerConfig
from trainer.errors import ConfigError
from trainer.parallel import failure
from trainer.parallel.meeting import LEFT, Sign
from trainer.schedule import cadence

SOON_S = 60.0  # on a machine that is busy with other things; 5 s and a second of each process's own are promised


def ended(folder: Path, mishap: str, whose: int, model: str = "vit_mu", **settings: Any) -> list[Ended]:
    return Ranks(folder / "logs", 2, train, (str(folder / "run"), model, mishap, whose, settings)).start().wait()


@pytest.mark.slow
def test_an_error_of_one_is_shown_once_and_ends_all(tmp_path: Path) -> None:
    ends = ended(tmp_path, "loss raises", 1)
    assert [end.code for end in ends] == [1, 1]
    assert ends[1].complained.count(f"ZeroDivisionError: {LAST_LINE}") == 1 and "Traceback" in ends[1].complained
    assert ends[0].complained == "" and all(end.seconds < SOON_S for end in ends)


def test_times_of_hanging() -> None:
    assert [cadence.seconds("hang_after", value) for value in ("0", "90s", "1h 30min")] == [None, 90.0, 5400.0]
    for value in ("250", "5%", "soon"):
        with pytest.raises(ConfigError, match=rf"trainer\.hang_after={value}: give a time"):
            cadence.seconds("hang_after", value)
    assert "hang_after" in cadence.problems(TrainerConfig(hang_after="soon"))[0]


def test_what_only_follows_anothers_end() -> None:
    gone = RuntimeError("[pair.cc:526] Connection closed by peer [127.0.0.1]:1234")
    wrapped = ValueError("cannot")
    wrapped.__cause__ = gone
    assert failure.follows(gone) and failure.follows(wrapped)
    assert not failure.follows(RuntimeError("shapes differ")) and not failure.follows(ValueError("Broken pipe"))


def test_signs_of_life() -> None:
    sign = Sign(heard=1.0, got_on=1.0)
    sign.hear("1 0 0 0", 2.0)
    sign.hear("2 0 0 0", 3.0)  # alive, but nothing done
    assert (sign.heard, sign.got_on) == (3.0, 2.0)
    sign.hear("2 0 0 0", 9.0)  # heard before
    assert sign.heard == 3.0
    sign.hear("3 4 5 1", 10.0)
    assert (sign.got_on, sign.entered, sign.waits, sign.left) == (10.0, 5, True, False)
    sign.hear(LEFT, 11.0)
    assert sign.left and sign.got_on == 10.0


def differing(rank: int, folder: str, what: str) -> None:
    from train import build_task
    from trainer.loop import Trainer
    from trainer.parallel import agreement

    config = config_of("vit_mu")
    if rank == 1 and what == "seed":
        config.seed = 7
    if rank == 1 and what == "rows":
        config.curriculum.stages["large"].start = 0.7
    if rank == 1 and what == "code":
        agreement.code_digest = lambda package: "another"  # type: ignore[assignment]
    trainer = Trainer(config, lambda: build_task(config), Path(folder) / "run")
    if rank == 1 and what == "files":
        trainer.data_facts = {**trainer.task.data_facts(), "pictures": 7}
    if rank == 1 and what == "length":
        found = trainer.task.dataset

        def shorter(split: str, stage: Any) -> Any:
            dataset = found(split, stage)
            return _Shorter(dataset) if split == "val" else dataset

        trainer.task.dataset = shorter  # type: ignore[method-assign]
    trainer.fit()


class _Shorter:
    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset) - 2

    def sample(self, *words: Any) -> Any:
        return self._dataset.sample(*words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("seed", "the same configuration: seed: 0 for rank 0, 7 for rank 1"),
        ("rows", "curriculum.stages.large.start: 0.6 for rank 0, 0.7 for rank 1"),
        ("code", "the same versions: code of trainer: "),
        ("files", "the same training data: pictures: 9 for rank 0, 7 for rank 1"),
        ("length", "the same validation data: samples: 6 for rank 0, 4 for rank 1"),
    ],
)
def test_processes_that_do_not_run_the_same_are_refused(tmp_path: Path, what: str, named: str) -> None:
    ends = Ranks(tmp_path / "logs", 2, differing, (str(tmp_path), what)).start().wait()
    assert [end.code for end in ends] == [2, 2]
    said = "".join(end.complained for end in ends)
    assert said.count("error: ") == 1 and "Traceback" not in said
    assert named in said and "rank 1 on" in said
