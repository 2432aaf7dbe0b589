"""Equal CPU time, laid out beforehand."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.helpers.made_classifier import make_run as make_classifier
from tests.helpers.made_classifier import mu_config
from train import SCHEMAS, TASKS
from trainer.cli import compose
from trainer.errors import CheckpointError, ConfigError
from trainer.loop import Trainer
from vid2vid.ablations import pace
from vid2vid.ablations.pace import cpu_seconds, laid_out, read_pace, samples_within, timed, turns
from vid2vid.config import Vid2VidConfig

SMALL = ["model=vid2vid_tiny", "curriculum=single", "resolution=[16,32]", "data.workers=0", "trainer.device=cpu"]
SMALL += ["model.gan=lsgan", "model.r1_gamma=0", "model.r2_gamma=0"]


def config(*words: str) -> Vid2VidConfig:
    return compose([*SMALL, "trainer.precision=fp32", "trainer.micro_batch=null", *words], SCHEMAS)


def test_twice_the_frames_take_about_twice_as_long(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    configs = {str(n): config(f"curriculum.stages.all.frames={n}") for n in (6, 24)}
    found = cpu_seconds(configs, rounds=2, progress=calls.append)
    assert 2 < found["24"] / found["6"] < 7, "four times as many frames"
    assert calls == [1, 2, 3, 4, 5, 6] and capsys.readouterr().out == ""


def test_penalties_count_as_often_as_they_are_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the draws of a dozen clips are: for seed 0 three segments in 96 have D_I's, not seven."""
    clock = [0.0]

    def train(trainer: Trainer, batch: dict[str, object]) -> None:
        model = trainer.config.model  # pyright: ignore[reportAttributeAccessIssue]
        clock[0] += 10 + (26 if model.r1_gamma > 0 and model.penalty_every == 1 else 0)

    monkeypatch.setattr(Trainer, "train_batch", train)
    monkeypatch.setattr("time.process_time", lambda: clock[0])
    penalised = config("model.r1_gamma=0.1", "model.penalty_every=13")
    configs = {"plain": config(), "seldom": penalised, "each": config("model.r1_gamma=0.1", "model.penalty_every=1")}
    shown: list[int] = []
    found = cpu_seconds(configs, rounds=5, progress=shown.append)
    assert found == {"plain": 10, "seldom": pytest.approx(10 + 26 / 13), "each": 36}
    assert shown[-1] == len(turns(configs, 5)) == 4 + 3 * 5 + 2
    assert (penalised.model.r1_gamma, penalised.model.penalty_every) == (0.1, 13)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_to_stop_is_heard(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    calls: list[int] = []

    def train(trainer: Trainer, batch: dict[str, object]) -> None:
        calls.append(1)
        signal.raise_signal(number)

    monkeypatch.setattr(Trainer, "train_batch", train)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        cpu_seconds({"a": config(), "b": config()}, rounds=2)
    assert len(calls) == 1 and signal.getsignal(number) is before


def test_a_row_may_compare_by_a_classifier_of_this_project(tmp_path: Path) -> None:
    """Timed as it is trained, by the task that ``train.py`` builds."""
    make_classifier(tmp_path / "vit", mu_config())
    judged = config(
        "model.loss_perceptual=dino", f"model.perceptual_weights={tmp_path / 'vit'}", "model.lambda_perceptual=1"
    )
    assert cpu_seconds({"judged": judged}, rounds=1, build=TASKS["vid2vid"].build)["judged"] > 0
    with pytest.raises(CheckpointError, match="is no run of a classifier"):
        cpu_seconds({"judged": judged}, rounds=1)


def test_several_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match="a curriculum of 2 stages: budget_cpu_s times one"):
        cpu_seconds({"a": config("++curriculum.stages={all:{frames:3},more:{start:0.5,frames:3}}")})


def test_whole_batches() -> None:
    assert samples_within(10, "a", 3.0, 2) == 6
    with pytest.raises(ConfigError, match=r"budget_cpu_s=2: a single batch of a takes 3 s of CPU time; raise it"):
        samples_within(2, "a", 3.0, 2)


def test_a_row_that_comes_later_is_timed_beside_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is half as fast by then, for both alike."""
    asked: list[list[str]] = []

    def measured(given: dict[str, float]):
        def answer(configs: dict[str, Vid2VidConfig], **_: object) -> dict[str, float]:
            asked.append(list(configs))
            return {name: given[name] for name in configs}

        return answer

    configs = {name: config() for name in ("base", "fast", "slow")}
    first = {name: configs[name] for name in ("base", "fast")}
    monkeypatch.setattr(pace, "cpu_seconds", measured({"base": 4.0, "fast": 2.0}))
    assert laid_out(12, first, timed(first, "base", tmp_path, print), print) == {"base": 3, "fast": 6}
    monkeypatch.setattr(pace, "cpu_seconds", measured({"base": 8.0, "slow": 12.0}))
    for _ in range(2):
        paces = timed(configs, "base", tmp_path, print)
        assert laid_out(12, configs, paces, print) == {"base": 3, "fast": 6, "slow": 2}
    assert asked == [["base", "fast"], ["base", "slow"]], "once"
    assert json.loads((tmp_path / "pace.json").read_text()) == {"base": 4.0, "fast": 2.0, "slow": 6.0}
    for text in ('{"base": "4", "fast": 2, "slow": 6}', '{"base": 0}'):
        (tmp_path / "pace.json").write_text(text)
        with pytest.raises(ConfigError, match=r"pace\.json is damaged \(no table of variants and seconds\): delete it"):
            timed(configs, "base", tmp_path, print)


def test_a_pace_of_another_machine(tmp_path: Path) -> None:
    path = tmp_path / "pace.json"
    path.write_text('{"base": 4, "fast": 2.0}')
    assert read_pace(path, ["base"]) == {"base": 4.0, "fast": 2.0}
    with pytest.raises(ConfigError, match=r"pace.json: has no row slow; it has base, fast\."):
        read_pace(path, ["base", "slow"])
    with pytest.raises(ConfigError, match=r"pace=nowhere: no such file; a table in CPU time writes pace.json"):
        read_pace(Path("nowhere"), [])
    for text in ("[1]", '{"base": 0}', '{"base": "4"}', '{"base": true}', "{", '{"base": Infinity}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"pace\.json: .*give the pace\.json of a table in CPU time"):
            read_pace(path, [])
