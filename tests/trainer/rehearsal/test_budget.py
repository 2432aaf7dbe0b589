"""``trainer.budget``: the whole schedule fits into a time, what was settled stays, and timing leaves no trace."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.exactness import outcome
from tests.helpers.toys import RivalTask, toy_config
from train import SCHEMAS
from trainer.cli import compose
from trainer.config.fields import StageConfig
from trainer.errors import ConfigError
from trainer.loop import Trainer
from trainer.rehearsal import budget
from trainer.schedule import durations
from trainer.task import Segment, StepContext
from vid2vid.validate import problems

SECONDS = {"short": 0.25, "long": 1.0}  # of a segment


class Clock:
    """A clock that only computing moves, so that a machine's pace is known."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(budget, "time", made)
    return made


class Timed(RivalTask):
    def __init__(self, clock: Clock, factor: float = 1.0, crash_at: int | None = None) -> None:
        super().__init__(noise=0.1)
        self.clock, self.factor, self.crash_at = clock, factor, crash_at
        self.steps: list[tuple[int, str, float]] = []

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        if phase == "make":
            self.clock.now += self.factor * SECONDS[ctx.stage.name]
            self.steps.append((ctx.samples_seen, ctx.stage.name, ctx.progress))
        if self.crash_at == len(self.steps):
            raise KeyboardInterrupt
        return super().losses(phase, segment, ctx)


def stages() -> dict[str, StageConfig]:
    return {"short": StageConfig(frames=2, batch_size=4), "long": StageConfig(start=0.5, frames=3, batch_size=2)}


def build(
    run_dir: Path, clock: Clock, text: str | None, factor: float = 1.0, crash_at: int | None = None, **settings: Any
) -> Trainer:
    quick = {"stages": stages(), "max_samples": None, "budget": text, "eval_every": None, **settings}
    return Trainer(toy_config("rival", **quick), lambda: Timed(clock, factor, crash_at), run_dir)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7m", 420), ("2h", 7200), ("90s", 90), ("1.5h", 5400), ("1h30m", 5400), ("1d", 86400), ("0.5m", 30)],
)
def test_times(text: str, expected: float) -> None:
    assert durations.budget_seconds(toy_config(budget=text)) == expected


@pytest.mark.parametrize("text", ["7", "m", "7 m", "0s", "-3m", "7min", ""])
def test_what_is_no_time(text: str) -> None:
    config = compose(["model=vid2vid", f"trainer.budget='{text}'"], SCHEMAS)
    found = [line for line in problems(config) if "trainer.budget" in line]
    assert found == [f"trainer.budget={text}: give a time with its unit, like 7m, 1.5h, 1h30m or 90s"]


def test_the_whole_schedule_fits(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of N samples at 2 * 0.25 s a batch of 4, half at 3 * 1 s a batch of 2: 0.8125 s a sample."""
    trainer = build(tmp_path, clock, "65s")
    trainer.fit()
    assert trainer.curriculum.total_samples == 80 and trainer.samples_seen == 80
    assert trainer.budget["seconds_per_sample"] == {"short": 0.125, "long": 1.5}
    trained = trainer.task.steps[-(40 // 4 * 2 + 40 // 2 * 3) :]
    assert [name for _, name, _ in trained] == ["short"] * 20 + ["long"] * 60
    assert sum(SECONDS[name] for _, name, _ in trained) == 65.0
    assert trained[0][2] == 0.0 and trained[-1][2] == 78 / 80  # the progress that rates follow runs to its end
    assert "trainer.budget=65s: 80 samples in 80 steps, at short 8, long 0.667 samples/s" in capsys.readouterr().out
    assert json.loads((tmp_path / "budget.json").read_text())["samples"] == 80


def test_timing_leaves_no_trace(tmp_path: Path, clock: Clock) -> None:
    build(tmp_path / "timed", clock, "65s").fit()
    build(tmp_path / "plain", clock, None, max_samples=80).fit()
    timed, plain = outcome(tmp_path / "timed"), outcome(tmp_path / "plain")
    for key, value in plain.items():
        same = torch.equal(value, timed[key]) if isinstance(value, Tensor) else value == timed[key]
        assert same or key.startswith("state/budget"), key


def test_what_is_drawn_for_a_batch_is_drawn_anew(tmp_path: Path, clock: Clock) -> None:
    """Work that few steps have, such as penalties, would be timed always or never."""
    trainer = build(tmp_path, clock, "400s")
    trainer.fit()
    assert [seen for seen, *_ in trainer.task.steps[:6]] == [0, 0, 4, 4, 8, 8], "timed before anything is trained"


@pytest.mark.parametrize("crash_at", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_resumed_run_keeps_its_length(
    tmp_path: Path, clock: Clock, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first checkpoint (from the file) and after it, on a machine that is another one by then."""
    build(tmp_path / "whole", clock, "65s").fit()
    trials = 8 + 3  # 2.5 % of the time each, beyond a first step: four batches of the first stage, one of the second
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "parts", clock, "65s", crash_at=trials + crash_at).fit()
    monkeypatch.setattr(budget, "_time_stages", lambda *args: pytest.fail("timed again"))
    if crash_at == 40:
        (tmp_path / "parts" / "budget.json").unlink()  # the checkpoint alone tells it too
    again = build(tmp_path / "parts", clock, "65s", factor=4 / 3)
    again.fit()
    assert again.samples_seen == 80 and again.curriculum.progress(again.samples_seen) == 1.0
    one, two = outcome(tmp_path / "whole"), outcome(tmp_path / "parts")
    for key in (key for key in one if key.startswith(("weights", "ema"))):
        assert torch.equal(one[key], two[key])
    finished = build(tmp_path / "parts", clock, "65s")
    finished.fit()
    assert finished.stage is None  # nothing was done


@pytest.mark.slow
def test_another_run_of_the_name_is_timed_anew(tmp_path: Path, clock: Clock) -> None:
    """Killed before its first checkpoint, and replaced by one of half the size: it got the length of the other."""
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, clock, "65s", crash_at=12).fit()
    assert (tmp_path / "budget.json").is_file() and not list((tmp_path / "checkpoints").glob("step-*"))
    other = build(tmp_path, clock, "65s", factor=0.5, tf32=False)
    other.fit()
    assert other.samples_seen == 160


def test_another_time_is_for_what_is_left(tmp_path: Path, clock: Clock) -> None:
    build(tmp_path, clock, "65s").fit()
    longer = build(tmp_path, clock, "30s")
    longer.fit()
    assert longer.samples_seen == 80 + 20  # at 1.5 s a sample: all of it is in the second stage


def test_limits_stay_limits(tmp_path: Path, clock: Clock) -> None:
    trainer = build(tmp_path, clock, "65s", max_samples=24)
    trainer.fit()
    assert trainer.samples_seen == 24


def test_too_little_time(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(
        ConfigError, match=r"trainer\.budget=0\.4s: a single batch of stage short takes 0 s here; raise it"
    ):
        build(tmp_path, clock, "0.4s").fit()
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.slow
def test_with_micro_batches_that_fit(tmp_path: Path, clock: Clock) -> None:
    trainer = build(tmp_path, clock, "65s", micro_batch="auto")
    trainer.fit()
    assert trainer.samples_seen == 80 and trainer.curriculum.stages[0].accumulate == 1


def test_the_dry_run_says_that_it_is_not_known_yet(tmp_path: Path, clock: Clock) -> None:
    text = build(tmp_path, clock, "65s").dry_run()
    assert "what fits into 65s, 2 stage(s)" in text and "trainer.budget=65s: starts are shares" in text


def test_a_phase_that_is_seldom_due_takes_its_time_too(tmp_path: Path, clock: Clock) -> None:
    """The judge: 6 s every fourth step. 1 + 6 / 4 = 2.5 s a step; its first three steps would say 1 s."""

    class Seldom(Timed):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            self.clock.now += 6.0 if phase == "judge" else 0.0
            return super().losses(phase, segment, ctx)

    config = toy_config(
        "rival", stages={"long": StageConfig(batch_size=2)}, max_samples=None, budget="50s", eval_every=0
    )
    config.optim["judge"].every = 4
    trainer = Trainer(config, lambda: Seldom(clock), tmp_path)
    trainer.fit()
    assert trainer.budget["seconds_per_sample"] == {"long": 1.25} and trainer.samples_seen == 40


@pytest.mark.slow
def test_what_was_found_for_another_run_does_not_count(tmp_path: Path, clock: Clock) -> None:
    """One that was killed before its first checkpoint, and whose steps took a quarter of the time."""
    killed = build(tmp_path, clock, "65s", factor=0.25)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(killed, "begin", lambda: signal.raise_signal(signal.SIGINT) or signal.raise_signal(signal.SIGINT))
        killed.fit()
    assert json.loads((tmp_path / "budget.json").read_text())["samples"] == 320
    other = {"short": StageConfig(frames=2, batch_size=4), "long": StageConfig(start=0.5, frames=3, batch_size=4)}
    trainer = build(tmp_path, clock, "65s", stages=other)
    trainer.fit()
    assert trainer.budget["seconds_per_sample"] == {"short": 0.125, "long": 0.75}
    assert trainer.samples_seen in (144, 148)  # 148.57 fit


def test_a_limit_can_be_lifted(tmp_path: Path, clock: Clock) -> None:
    build(tmp_path, clock, "65s", max_samples=24).fit()
    trainer = build(tmp_path, clock, "65s")
    trainer.fit()
    assert trainer.samples_seen == 80


def test_starts_in_samples_and_in_shares(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 65 samples, which is tried, has them out of order; the one that fits has not."""
    mixed = {
        "short": StageConfig(frames=2, batch_size=4),
        "middle": StageConfig(start=35, frames=2, batch_size=2),
        "long": StageConfig(start=0.5, frames=3, batch_size=2),
    }
    monkeypatch.setitem(SECONDS, "middle", 0.25)
    trainer = build(tmp_path, clock, "65s", stages=mixed)
    trainer.fit()
    assert [stage.start for stage in trainer.curriculum.stages] == [0, 35, 38]
    assert trainer.samples_seen == 76  # 35 * 0.125 + 3 * 0.25 + 38 * 1.5 s
