"""The run as a whole: what it writes, evaluates, shows and leaves as it was."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.toys import TASKS, LinearTask, RivalTask, build_toy, toy_config
from trainer.checkpoint.weights import network_tensors
from trainer.config.fields import Console, Precision, StageConfig
from trainer.errors import ConfigError
from trainer.loop import Trainer
from trainer.records.meter import Speed
from trainer.task import Segment, Stage, StepContext

TOYS = sorted(TASKS)


def build(run_dir: Path, name: str = "rival", **config: Any) -> Trainer:
    settings = toy_config(name, **config)
    return Trainer(settings, lambda: build_toy(settings), run_dir)


def records(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", TOYS)
def test_what_a_run_leaves(tmp_path: Path, name: str) -> None:
    trainer = build(tmp_path, name)
    metrics = trainer.fit()
    final = {**metrics, "step": trainer.step, "samples_seen": 24}
    assert json.loads((tmp_path / "eval.json").read_text()) == final
    assert json.loads((tmp_path / "done.json").read_text()) == final
    assert trainer.checkpoints.latest() == tmp_path / "checkpoints" / f"step-{trainer.step:08d}"
    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 2
    training = [r for r in records(tmp_path) if "losses" in r]
    assert [r["step"] for r in training] == list(range(3, trainer.step + 1, 3))
    for record in training:
        assert record.keys() >= {"samples_seen", "stage", "lr", "samples_per_s", "frames_per_s", "memory", "eta_s"}
        assert 0.0 <= record["data_wait"] <= 1.0 and record["memory"] > 0.01 and record["samples_per_s"] > 0
        ratio = record["frames_per_s"] / record["samples_per_s"]
        assert 2.0 - 1e-9 <= ratio <= 3.0 + 1e-9
    assert training[-1]["samples_seen"] == 24 and training[-1]["eta_s"] == 0.0
    assert "stage long" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize(("every", "steps"), [(None, [24]), (0, []), (10, [12, 21, 24]), (100, [24])])
def test_when_it_evaluates(tmp_path: Path, every: int | None, steps: list[int]) -> None:
    metrics = build(tmp_path, eval_every=every).fit()
    assert [r["step"] for r in records(tmp_path) if "eval" in r] == steps
    assert (tmp_path / "eval.json").exists() == bool(steps) == bool(metrics)
    assert (tmp_path / "done.json").exists()


def test_a_score_that_is_no_number_is_null_in_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no NaN: other readers stop at the word."""
    trainer = build(tmp_path)
    monkeypatch.setattr(trainer.task, "evaluate", lambda loader, ctx: {"score": (float("nan"), 1.0)})
    trainer.fit()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    for text in ((tmp_path / "eval.json").read_text(), (tmp_path / "done.json").read_text(), *lines):
        json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert json.loads((tmp_path / "eval.json").read_text())["score"] is None


def test_evaluation_disturbs_nothing(tmp_path: Path) -> None:
    class Noisy(RivalTask):
        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            assert not self.maker.training and not self.judge[0].training and not torch.is_grad_enabled()
            assert torch.rand(3, generator=ctx.generator).shape == torch.rand(3).shape
            ctx.log("made/near", torch.tensor(1e9))
            return super().evaluate(loader, ctx)

    ends = []
    for every in (0, 2):
        config = toy_config("rival", eval_every=every)
        trainer = Trainer(config, lambda: Noisy(noise=0.1), tmp_path / str(every))
        trainer.fit()
        assert trainer.task.maker.training  # type: ignore[attr-defined]
        assert "made/near" not in (tmp_path / str(every) / "metrics.jsonl").read_text()
        ends.append(network_tensors(trainer.networks))
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_evaluation_sees_the_averaged_weights(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Looking(LinearTask):
        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            seen.append(self.model.weight.detach().clone())
            return super().evaluate(loader, ctx)

    trainer = Trainer(toy_config("linear", eval_every=None), Looking, tmp_path)
    trainer.fit()
    assert trainer.ema is not None
    assert torch.equal(seen[0], trainer.ema.state_dict()["model.weight"])
    assert not torch.equal(seen[0], trainer.networks["model"].weight)


def test_visuals(tmp_path: Path) -> None:
    class Seeing(LinearTask):
        def visuals(self, loader: Any, ctx: StepContext) -> dict[str, Tensor]:
            assert next(iter(loader))["x"].ndim == 3
            return {"picture": torch.zeros(8, 8, 3, dtype=torch.uint8)}

    def shown(every: int | None) -> list[str]:
        folder = tmp_path / str(every)
        Trainer(toy_config("linear", eval_every=2, visuals_every=every), Seeing, folder).fit()
        return sorted(p.name for p in (folder / "samples").iterdir())

    assert shown(0) == []
    assert shown(6) == ["picture-00000006.png", "picture-00000009.png"]
    assert len(shown(None)) == 5


@pytest.mark.parametrize("name", TOYS)
def test_preflight_leaves_everything_as_it_was(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stepped: list[str] = []
    original = Trainer.train_step

    def train_step(self: Trainer, segments: Any, ctx: StepContext) -> None:
        stepped.append(ctx.stage.name)
        original(self, segments, ctx)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    ends = []
    for preflight in (False, True):
        stepped.clear()
        trainer = build(tmp_path / str(preflight), name, preflight=preflight)
        with trainer.session():
            before = {k: v.clone() for k, v in network_tensors(trainer.networks).items()}
            if preflight:
                trainer.preflight()
                assert set(stepped) == {"long"}
                assert all(torch.equal(before[k], v) for k, v in network_tensors(trainer.networks).items())
                assert (trainer.step, trainer.samples_seen, trainer.stage) == (0, 0, None)
        whole = build(tmp_path / f"whole-{preflight}", name, preflight=preflight)
        whole.fit()
        ends.append({**network_tensors(whole.networks), **(whole.ema.state_dict() if whole.ema else {})})
        log = (tmp_path / f"whole-{preflight}" / "train.log").read_text()
        assert ("preflight: a step of the largest stage (long)" in log) == preflight
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    times = [[r["step"] for r in records(tmp_path / f"whole-{p}")] for p in (False, True)]
    assert times[0] == times[1]


def test_preflight_names_the_stage_that_needs_too_much_memory(tmp_path: Path) -> None:
    class Large(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            raise torch.OutOfMemoryError("pretended")

    with pytest.raises(ConfigError, match=r"stages\.long \(4x8, 3 frames, batch_size=2.*lower batch_size, frames"):
        Trainer(toy_config("rival", preflight=True), Large, tmp_path).fit()


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "run"
    text = build(run_dir, precision=Precision.auto).dry_run()
    assert not run_dir.exists()
    assert capsys.readouterr().out == text
    lines = [line.split() for line in text.splitlines()]
    assert ["maker", "40"] in lines and ["maker.coarse", "20"] in lines and ["judge", "49"] in lines
    assert ["short", "0", "0%", "2x4", "2", "4", "2", "*"] in lines
    assert ["long", "12", "50%", "4x8", "3", "2", "1", "*"] in lines
    assert ["make", "adam", "0.01", "1", "5", "40"] in lines
    assert "24 samples in 24 steps" in text and "precision" in text and "auto: the CPU" in text and "device cpu" in text


def test_dry_run_shows_the_tasks_tables_and_the_rates_by_layer(tmp_path: Path) -> None:
    class Telling(LinearTask):
        def tables(self, stage: Stage) -> list[tuple[str, list[list[str]]]]:
            return [(f"flow at {stage.resolution[0]}", [["step", "shape"], ["in", "4"], ["scores", "3"]])]

        def layers(self, phase: str) -> dict[str, int]:
            return {"model.weight": 1, "model.bias": 0}

    config = toy_config("linear")
    config.optim["main"].layer_decay, config.optim["main"].weight_decay = 0.5, 0.1
    text = Trainer(config, Telling, tmp_path).dry_run()
    assert "\nflow at 4\n  step    shape\n  in          4\n  scores      3\n" in text
    assert "rates by layer: main" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["0.005", "0", "1", "3"] in lines and ["0.01", "0.1", "1", "12"] in lines


def test_layer_decay_needs_layers(tmp_path: Path) -> None:
    config = toy_config("linear")
    config.optim["main"].layer_decay = 0.5
    with pytest.raises(
        ConfigError, match=r"optim\.main\.layer_decay=0\.5: the task knows no layer of model\.weight, mo"
    ):
        Trainer(config, LinearTask, tmp_path)


def test_rates_in_every_step_are_the_layers_own(tmp_path: Path) -> None:
    """Neither the schedule nor resuming applies the decay twice."""
    seen: list[tuple[float, list[float]]] = []

    class Deep(RivalTask):
        def layers(self, phase: str) -> dict[str, int]:
            parts = {"maker.coarse": 0, "maker.fine": 1, "judge.0": 0, "judge.2": 2}
            return {f"{p}.{w}": layer for p, layer in parts.items() for w in ("weight", "bias")}

        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            rates = {group["scale"]: group["lr"] for group in trainer.optimizers[phase].param_groups}
            seen.append((ctx.progress, [rates[scale] / scale for scale in sorted(rates)]))
            assert sorted(rates) == ([0.5, 1.0] if phase == "make" else [0.25, 1.0])
            return super().losses(phase, segment, ctx)

    for samples in (12, 24):
        config = toy_config("rival", max_samples=samples)
        config.schedule.decay_start = 0.25
        for row in config.optim.values():
            row.layer_decay = 0.5
        trainer = Trainer(config, Deep, tmp_path)
        trainer.fit()
        for progress, rates in seen:
            expected = 0.01 * min(1.0, (1 - progress) / 0.75)
            assert rates == pytest.approx([expected, expected])
        seen.clear()
    training = [r for r in records(tmp_path) if "losses" in r]
    rate = pytest.approx(0.01 * (1 - 4 / 12) / 0.75)  # that of the last layer
    assert training[0]["lr"] == {"make": rate, "judge": rate}


def test_the_note_stands_with_every_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Noted(LinearTask):
        def evaluation_note(self, stage: Stage) -> str:
            return f"whole clips of {stage.frames}"

    Trainer(toy_config("linear", max_samples=16, eval_every=2), Noted, tmp_path).fit()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("evaluation")]
    assert lines and all("score " in line for line in lines)
    assert lines[0].endswith("(whole clips of 2)") and lines[-1].endswith("(whole clips of 3)")
    assert {r["note"] for r in records(tmp_path) if "eval" in r} == {"whole clips of 2", "whole clips of 3"}


def test_the_pace_is_told_after_the_first_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path, "linear", log_every=1000).fit()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert len(lines) == 1 and lines[0].startswith("step 1 | short | ")
    assert re.search(r"[\d.e+]+ samples/s \| ETA \d+ s \(one step's pace\)$", lines[0])
    assert [r for r in records(tmp_path) if "losses" in r] == []  # records come when they are due


def test_the_console_has_what_the_task_names_and_the_files_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Telling(RivalTask):
        def console(self) -> tuple[str, ...]:
            return "judge/tell", "make/near"

    for console in Console:
        config = toy_config("rival", eval_every=0)
        config.logger.console = console
        Trainer(config, Telling, tmp_path / console.name).fit()
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
        log = (tmp_path / console.name / "train.log").read_text()
        assert ("make/fool" in lines[-1]) is (console is Console.full)
        assert log.count("make/fool") == len(records(tmp_path / console.name)) == len(lines) - 1
    assert lines[-1].startswith("step 24 | long | ") and "lr " in lines[-1]
    short = [line for line in (tmp_path / "short" / "train.log").read_text().splitlines() if " step 24 " in line]
    assert "make/near" in short[0]


@pytest.mark.parametrize("pace", [1.0, 1e-9])
def test_a_long_run_on_a_cpu_is_told_what_takes_minutes(
    tmp_path: Path, pace: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quick(LinearTask):
        def quicker(self) -> str:
            return "model=toy learns in seconds"

    take, rate = Speed.take, Speed.rate
    monkeypatch.setattr(Speed, "take", lambda self: take(self) | {"samples_per_s": pace})
    monkeypatch.setattr(Speed, "rate", lambda self, waiting=True: pace if rate(self) else None)
    for every in (1, 1000):
        Trainer(toy_config("linear", log_every=every, eval_every=0), Quick, tmp_path / str(every)).fit()
        said = capsys.readouterr().out
        hint = "trainer.budget=10m lays the whole run into ten minutes; model=toy learns in seconds"
        assert said.count(hint) == (pace < 1)


def test_progress_goes_on_between_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.records.progress.PLAIN_S", 0.0)
    build(tmp_path, "linear", log_every=1000, eval_every=0).fit()
    shown = [line for line in capsys.readouterr().out.splitlines() if "samples/s, ETA" in line]
    assert len(shown) == 7 and shown[-1].startswith("100 % step 9, 24 samples")


@pytest.mark.parametrize("steps", [1, 5, 13])
def test_max_steps_ends_at_the_first_batch_that_reaches_it(tmp_path: Path, steps: int) -> None:
    trainer = build(tmp_path, max_steps=steps)
    trainer.fit()
    assert steps <= trainer.step <= steps + 2
    assert trainer.step == trainer.curriculum.total_steps
    assert trainer.curriculum.progress(trainer.samples_seen) == 1.0


def test_the_stage_is_entered_and_announced_once(tmp_path: Path) -> None:
    trainer = build(tmp_path)
    trainer.fit()
    assert trainer.task.stages_entered == ["short", "long"]  # type: ignore[attr-defined]
    log = (tmp_path / "train.log").read_text()
    assert log.count("stage long: resolution 2x4 -> 4x8, frames 2 -> 3, batch_size 4 -> 2") == 1


def test_batch_order_is_that_of_samples_seen(tmp_path: Path) -> None:
    """The stage change does not restart the epoch: every sample comes once in ten."""
    names: list[str] = []

    class Listing(RivalTask):
        def segments(self, batch: dict[str, Any], ctx: StepContext) -> Any:
            names.extend(batch["name"])
            return super().segments(batch, ctx)

    config = toy_config("rival", max_samples=20)
    Trainer(config, Listing, tmp_path).fit()
    assert sorted(names[:10]) == sorted(names[10:20]) and len(set(names[:10])) == 10


def test_threads_and_determinism(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        build(tmp_path, "linear", threads=1, deterministic=True).fit()
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)


def test_profile(tmp_path: Path) -> None:
    build(tmp_path, "linear", profile=True, max_samples=40).fit()
    assert (tmp_path / "profile").is_dir()


@pytest.mark.slow
def test_compiled_runs_keep_their_names(tmp_path: Path) -> None:
    trainer = build(tmp_path, "linear", compile=True, eval_every=0)
    trainer.fit()
    assert list(network_tensors(trainer.networks)) == ["model.weight", "model.bias"]
    plain = build(tmp_path / "plain", "linear", eval_every=0)
    plain.fit()
    for name, value in network_tensors(plain.networks).items():
        torch.testing.assert_close(network_tensors(trainer.networks)[name], value)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", list(Precision))
def test_on_cuda(tmp_path: Path, precision: Precision) -> None:
    from trainer.config.fields import DeviceKind

    trainer = build(tmp_path, device=DeviceKind.cuda, precision=precision)
    for module in trainer.networks.values():
        assert next(module.parameters()).is_cuda
    trainer.fit()
    assert all(bool(torch.isfinite(v).all()) for v in network_tensors(trainer.networks).values())


def test_largest_stage_counts_what_a_micro_batch_needs() -> None:
    config = toy_config(stages={"a": StageConfig(frames=4, batch_size=4), "b": StageConfig(start=0.5, batch_size=4)})
    from trainer.schedule import curriculum

    def segments(stage: Stage) -> int:
        return 1

    assert curriculum.resolve(config, 1, segments).largest().name == "a"
