"""Durations in epochs, absolute rates, and how often a run evaluates and saves."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.toys import LinearTask, toy_config
from trainer.config.fields import OptimizerConfig, RunConfig, ScheduleConfig, ScheduleKind, TrainerConfig
from trainer.errors import ConfigError
from trainer.loop import Trainer
from trainer.rehearsal import budget
from trainer.schedule import cadence, durations, learning_rate
from trainer.schedule.cadence import Cadence, Position

EPOCH = 10  # samples of the toys


class Counted(LinearTask):
    def epoch_samples(self) -> int:
        return self.samples


def trainer(
    path: Path, task: type[LinearTask] = Counted, schedule: dict[str, Any] | None = None, **more: Any
) -> Trainer:
    config = toy_config("linear", **more)
    for name, value in (schedule or {}).items():
        setattr(config.schedule, name, value)
    return Trainer(config, task, path)


# Epochs


def test_epochs_are_passes_over_the_training_data(tmp_path: Path) -> None:
    made = trainer(tmp_path, max_samples=None, max_epochs=2.5, schedule={"warmup_epochs": 0.5})
    assert made.curriculum.total_samples == 26  # 25, and the batches of four that are needed for them
    assert made.in_samples.schedule.warmup == 5.0
    assert made.config.trainer.max_epochs == 2.5  # what is written down is what was asked for


def test_the_first_limit_that_is_reached_ends_the_run(tmp_path: Path) -> None:
    assert trainer(tmp_path, max_samples=12, max_epochs=3).curriculum.total_samples == 12
    assert trainer(tmp_path, max_samples=40, max_epochs=1).curriculum.total_samples == 10


def test_both_units_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = trainer(tmp_path, max_samples=None, max_epochs=3, schedule={"warmup_epochs": 1}).dry_run()
    assert "30 samples (3 epochs of 10) in " in text
    assert "warm-up 10 samples (1 epoch of 10)" in text


def test_epochs_where_there_are_none_name_the_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trainer(tmp_path, LinearTask, max_samples=None, max_epochs=3, schedule={"warmup_epochs": 1})
    assert "trainer.max_epochs=3: " in str(caught.value) and "schedule.warmup_epochs=1: " in str(caught.value)
    with pytest.raises(ConfigError, match=r"trainer\.eval_every=1epoch: "):
        trainer(tmp_path, LinearTask, eval_every="1epoch")


def test_a_budget_and_epochs_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        budget, "_time_stages", lambda trainer, seconds: {s.name: 1.0 for s in trainer.curriculum.stages}
    )
    found = {}
    for limit in (2, 20):
        run = trainer(
            tmp_path / str(limit), budget="60s", max_samples=None, max_epochs=limit, schedule={"warmup_epochs": 1}
        )
        run.fit()
        found[limit] = run.samples_seen
    assert found == {2: 20, 20: 60}  # what is reached first: the epochs, or the time at a sample a second


# Absolute rates


def test_absolute_rates_are_exact_whatever_the_phase() -> None:
    schedule = ScheduleConfig(ScheduleKind.cosine, warmup=0.1, warmup_lr=1e-6, decay_start=None, min_lr=1e-5)
    for lr in (3e-3, 4e-3, 1e-5):
        assert learning_rate.rate(schedule, 0.0, None, lr) == pytest.approx(1e-6, rel=1e-12)
        assert learning_rate.rate(schedule, 0.1, None, lr) == pytest.approx(lr, rel=1e-12)
        assert learning_rate.rate(schedule, 1.0, None, lr) == pytest.approx(1e-5, rel=1e-12)
    assert learning_rate.rate(schedule, 0.6, None, 1e-5) == pytest.approx(1e-5, rel=1e-12)  # constant after warm-up


def test_the_decay_may_count_from_the_start_as_timms_does() -> None:
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from torch import nn

    optimizer = create_optimizer_v2(nn.Linear(2, 2), "sgd", lr=1e-3)
    theirs = CosineLRScheduler(optimizer, t_initial=300, lr_min=1e-5, warmup_t=5, warmup_lr_init=1e-6)
    ours = ScheduleConfig(
        ScheduleKind.cosine, warmup=5 / 300, warmup_lr=1e-6, decay_start=0.0, decay_from_start=True, min_lr=1e-5
    )
    for epoch in (0, 1, 4, 5, 6, 150, 299):
        theirs.step(epoch)
        assert learning_rate.rate(ours, epoch / 300, None, 1e-3) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9
        )


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"min_lr": 0.1}, "schedule.min_lr=0.1 is above optim.main.lr=0.01"),
        ({"warmup_lr": 0.1}, "schedule.warmup_lr=0.1 is above optim.main.lr=0.01"),
        ({"min_lr": 1e-5, "kind": ScheduleKind.constant}, "schedule.kind=constant does not decay"),
        ({"warmup_epochs": -1}, "schedule.warmup_epochs=-1"),
        ({"decay_from_start": True, "kind": ScheduleKind.rsqrt}, "goes with linear and cosine"),
    ],
)
def test_what_cannot_be_meant_names_the_key(tmp_path: Path, schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trainer(tmp_path, schedule=schedule)
    assert message in str(caught.value)


def test_rates_below_other_rates_are_fine() -> None:
    assert not learning_rate.rate_problems(
        ScheduleConfig(ScheduleKind.cosine, min_lr=1e-5), {"main": OptimizerConfig(lr=1e-5)}
    )


# Cadence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250", Cadence("steps", 250)),
        (250, Cadence("steps", 250)),
        ("5%", Cadence("share", 0.05)),
        ("1epoch", Cadence("epochs", 1)),
        ("0.5 epochs", Cadence("epochs", 0.5)),
        ("10min", Cadence("seconds", 600)),
        ("1h30m", Cadence("seconds", 5400)),
        (None, None),
        ("0", None),
    ],
)
def test_forms_of_a_cadence(text: str | int | None, expected: Cadence | None) -> None:
    assert cadence.parse("eval_every", text) == expected


@pytest.mark.parametrize("text", ["-1", "0.05", "ten", "0%", "200%", "0epochs", "1epoch5", "10 min of"])
def test_what_is_no_cadence_is_told_with_the_forms(text: str) -> None:
    (problem,) = cadence.problems(TrainerConfig(eval_every=text))
    assert f"trainer.eval_every={text}" in problem and "10min" in problem
    assert cadence.problems(TrainerConfig(checkpoint_every="0"))


def test_shares_and_epochs_are_exact_at_their_multiples() -> None:
    """A tenth of a run of 70 samples is 7: the third is due at 21, however 0.1 rounds."""
    tenth = Cadence("share", 0.1)
    for k in range(1, 11):
        assert tenth.due(Position(samples=7 * k), Position(samples=7 * k - 1), 70, None)
        assert not tenth.due(Position(samples=7 * k + 6), Position(samples=7 * k), 70, None)
    third = Cadence("epochs", 0.1)
    assert all(third.due(Position(samples=3 * k), Position(samples=3 * k - 1), 99, 30) for k in range(1, 31))


def evaluated(path: Path) -> list[int]:
    records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [record["samples_seen"] for record in records if "eval" in record]


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ("1epoch", [12, 20, 24]),
        ("25%", [8, 12, 18, 24]),
        ("50%", [12, 24]),
        ("1d", [24]),
        ("0.0001s", None),
        (None, [24]),
    ],
)
def test_evaluations_come_at_the_first_batch_after_they_are_due(
    tmp_path: Path, every: str | None, expected: list[int] | None
) -> None:
    run = trainer(tmp_path, eval_every=every, checkpoint_every="1000")
    run.fit()
    if expected is None:  # with every batch
        expected = sorted(set(evaluated(tmp_path)))
        assert len(expected) > 5
    assert evaluated(tmp_path) == expected


def test_a_resumed_run_evaluates_when_the_whole_one_does(tmp_path: Path) -> None:
    options: dict[str, Any] = {"eval_every": "1epoch", "visuals_every": "50%", "checkpoint_every": "30%"}
    whole = trainer(tmp_path / "whole", **options)
    whole.fit()
    for stop_at in (6, 12, 18):
        part = trainer(tmp_path / f"part{stop_at}", **options)
        losses = part.task.losses

        def stopping(*args: Any, run: Trainer = part, at: int = stop_at, losses: Any = losses) -> Any:
            run.stop.requested = run.stop.requested or run.samples_seen >= at
            return losses(*args)

        part.task.losses = stopping  # type: ignore[method-assign]
        part.fit()
        assert not part.finished
        trainer(tmp_path / f"part{stop_at}", **options).fit()
        assert evaluated(tmp_path / f"part{stop_at}") == evaluated(tmp_path / "whole")
        assert_same(outcome(tmp_path / "whole"), outcome(tmp_path / f"part{stop_at}"))


def test_checkpoints_by_the_clock(tmp_path: Path) -> None:
    often = trainer(tmp_path / "often", checkpoint_every="0.0001s", keep=100)
    often.fit()
    seldom = trainer(tmp_path / "seldom", checkpoint_every="1h", keep=100)
    seldom.fit()
    assert len(list((tmp_path / "often" / "checkpoints").glob("step-*"))) == often.step
    assert len(list((tmp_path / "seldom" / "checkpoints").glob("step-*"))) == 1  # the last one


def test_costs_by_hand() -> None:
    """ImageNet, 300 epochs, everything trains: 50,000 forward passes for 1,281,167 pictures of three each."""
    settings = TrainerConfig(eval_every="1epoch", checkpoint_every="10min")
    found = cadence.costs(
        settings,
        total_samples=384_350_100,
        total_steps=375_342,
        epoch=1_281_167,
        evaluated_samples=50_000,
        trained=1.0,
        checkpoint_bytes=1.4e9,
    )
    assert found.evaluations == 300
    assert found.evaluating == pytest.approx(50_000 / 3 / 1_281_167)
    assert found.saving == pytest.approx(1.4e9 / 0.5e9 / 600)
    assert found.total == pytest.approx(0.01301 + 0.00467, abs=1e-5) and found.paces() == (0.0, float("inf"))
    assert cadence.forward_share(0.0) == 1.0  # a frozen backbone has no backward pass


def test_the_dry_run_shows_the_arithmetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = trainer(tmp_path, max_samples=1000, eval_every="10%", checkpoint_every="10min").dry_run()
    assert "evaluation: every 10%, 10 times 5 samples: 1.7 % of the time of training" in text
    assert "checkpoints: every 10min" in text and "at 0.5 GB/s" in text and "warning" not in text
    assert "together: 1.7 % of the time of training" in text
    text = trainer(tmp_path, max_samples=100, eval_every="2").dry_run()
    assert "warning: " in text and "trainer.eval_every" in text


KINDS = ["250", "2%", "0.5epoch", "10min"]


@pytest.mark.parametrize("evaluate", [*KINDS, None, 0])
@pytest.mark.parametrize("save", KINDS)
@pytest.mark.parametrize("more", [{}, {"keep_best": "top1"}, {"eval_raw": True, "ema": 0.9}])
def test_the_whole_cost_is_what_a_run_spends(evaluate: Any, save: str, more: dict[str, Any]) -> None:
    """Counted out at two paces, for every pair of cadences: 40 epochs of 100,000 samples, batches of 100."""
    total, steps, epoch, evaluated, size = 4_000_000, 40_000, 100_000, 5_000, 1e9
    settings = TrainerConfig(eval_every=evaluate, checkpoint_every=save, **more)
    found = cadence.costs(
        settings,
        total_samples=total,
        total_steps=steps,
        epoch=epoch,
        evaluated_samples=evaluated,
        trained=1.0,
        checkpoint_bytes=size,
    )
    for pace in (50.0, 4000.0):
        training = total / pace
        counts = {"250": 160, "2%": 50, "0.5epoch": 80, "10min": training / 600, None: 1, 0: 0}
        spent = counts[evaluate] * evaluated / (3 * pace) * (2 if "eval_raw" in more else 1)
        spent += counts[save] * size / cadence.WRITES
        if more.get("keep_best") and evaluate != "10min":
            spent += counts[evaluate] * size / cadence.WRITES  # at most: every evaluation may be the best so far
        assert found.at(pace) == pytest.approx(spent / training, rel=1e-9)
    paces = found.paces()
    known = evaluate != "10min" and save == "10min" and ("keep_best" not in more or evaluate == 0)
    assert (found.total is not None) == known
    (line,) = [x for x in cadence.told(settings, found, evaluated, size, total) if x.startswith("together: ")]
    if found.total is not None:
        assert line == f"together: {100 * found.total:.2g} % of the time of training"
    elif paces is None:
        assert line.endswith(" % of the time of training, whatever its pace") and found.at(1e3) > cadence.LIMIT
    else:
        for edge, outside in zip(paces, (0.9, 1.1), strict=True):
            if 0 < edge < float("inf"):
                assert found.at(edge) == pytest.approx(cadence.LIMIT) and found.at(outside * edge) > cadence.LIMIT
                assert f"{edge:.3g} samples/s" in line


def test_a_cost_beyond_all_paces_is_told() -> None:
    wild = cadence.Costs(1000, 0.2, 10, None, by_position=1e-4)
    assert wild.paces() is None
    lines = cadence.told(TrainerConfig(), wild, 10, 1e9, 1000)
    assert "together: over 20 % of the time of training, whatever its pace" in lines
    assert any(line.startswith("warning: 20 % of the time and more goes into these") for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.213, "0.21 s"), (34, "34 s"), (119, "119 s"), (720, "12 min"), (12600, "3.5 h"), (9e5, "10 d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert cadence.span(seconds) == text


def test_in_samples_leaves_the_configuration_alone() -> None:
    config = RunConfig(trainer=TrainerConfig(max_epochs=2.0))
    assert durations.in_samples(config, EPOCH).trainer.max_samples == 20
    assert (config.trainer.max_samples, config.trainer.max_epochs) == (None, 2.0)
