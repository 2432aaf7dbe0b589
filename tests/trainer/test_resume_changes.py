"""Resuming when something is not as it was: memory format, optimiser, data; what a run that cannot go on leaves."""

import json
import os
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.toys import LinearTask, RivalTask, toy_config
from trainer.checkpoint import directory
from trainer.config.fields import DataChanged, OptimizerConfig, OptimizerKind, RunConfig, ScheduleKind, StageConfig
from trainer.errors import CheckpointError, ConfigError, NonFiniteError
from trainer.loop import Trainer
from trainer.optim.optimizers import build_optimizer, load_optimizer_state, optimizer_state
from trainer.task import Segment, StepContext

STAGES = {"s": StageConfig(frames=2, batch_size=4)}


class Convolutions(LinearTask):
    def __init__(self) -> None:
        super().__init__()
        layers = nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1)
        self.model = nn.Sequential(*layers).double()  # type: ignore[assignment]

    def scores(self, x: Tensor) -> Tensor:
        return self.model(x.mean(dim=1).reshape(-1, 2, 2, 1).expand(-1, 2, 2, 3).contiguous()).mean(dim=(2, 3))

    def score(self, x: Tensor) -> Tensor:
        return self.scores(x).square().mean(dim=1)

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        return {"class": nn.functional.cross_entropy(self.scores(segment["x"]), segment["y"])}


def config(samples: int, name: str = "linear", kind: OptimizerKind = OptimizerKind.adam, **settings: Any) -> RunConfig:
    made = toy_config(name, stages=STAGES, max_samples=samples, **{"eval_every": 0, **settings})
    made.schedule.kind = ScheduleKind.constant
    for row in made.optim.values():
        row.kind = kind
    return made


@pytest.mark.parametrize("kind", [kind for kind in OptimizerKind if kind is not OptimizerKind.muon])  # has no kernels
@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_format_is_part_of_the_state(tmp_path: Path, channels_last: bool, kind: OptimizerKind) -> None:
    """Fused kernels walk weights and moments side by side: contiguous moments met other weights, silently."""
    settings = {"channels_last": channels_last, "kind": kind}
    Trainer(config(40, **settings), Convolutions, tmp_path / "whole").fit()
    Trainer(config(20, **settings), Convolutions, tmp_path / "parts").fit()
    resumed = Trainer(config(40, **settings), Convolutions, tmp_path / "parts")
    resumed.fit()
    weight = resumed.networks["model"].get_parameter("0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last) is channels_last
    for value in resumed.optimizers["main"].state[weight].values():
        assert value.ndim == 0 or value.stride() == weight.stride()
    one, two = outcome_weights(tmp_path / "whole"), outcome_weights(tmp_path / "parts")
    assert all(torch.equal(one[name], two[name]) for name in one)


def outcome_weights(run_dir: Path) -> dict[str, Tensor]:
    from trainer.checkpoint.trained import load_weights

    return load_weights(run_dir, ema=False)[0]


@pytest.mark.parametrize("before", list(OptimizerKind))
@pytest.mark.parametrize("after", list(OptimizerKind))
def test_another_optimiser_starts_anew_and_says_so(
    tmp_path: Path, before: OptimizerKind, after: OptimizerKind, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(config(12, "rival", before), RivalTask, tmp_path).fit()
    capsys.readouterr()
    resumed = Trainer(config(24, "rival", after), RivalTask, tmp_path)
    resumed.fit()
    assert resumed.samples_seen == 24
    said = f"optim.make.kind: {before.name} -> {after.name}: what {before.name} had gathered" in capsys.readouterr().out
    alike = {before, after} <= {OptimizerKind.adam, OptimizerKind.adamw}
    assert said is (before is not after and not alike)
    steps = [float(s["step"]) for s in resumed.optimizers["make"].state.values() if "step" in s]
    uncounted = {OptimizerKind.sgd, OptimizerKind.lars, OptimizerKind.lion}
    assert set(steps) == (set() if after in uncounted else {12.0 if before is after or alike else 6.0})


def test_momentum_that_begins_on_resume_begins_with_zeros() -> None:
    """The fused kernel leaves it unfilled when its first step is skipped."""
    parameters = {"p": nn.Parameter(torch.ones(64))}
    still = build_optimizer(parameters, OptimizerConfig(kind=OptimizerKind.sgd, momentum=0.0))
    moving = build_optimizer(parameters, OptimizerConfig(kind=OptimizerKind.sgd, momentum=0.9))
    load_optimizer_state(moving, parameters, optimizer_state(still, parameters))
    assert torch.equal(moving.state[parameters["p"]]["momentum_buffer"], torch.zeros(64))


class WithData(LinearTask):
    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__()
        self.facts = facts

    def data_facts(self) -> dict[str, Any]:
        return self.facts


FACTS = {"classes": ["cat", "dog"], "pictures": 10, "files": "abc"}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"classes": ["cat", "dog", "emu"]}, "  - classes: 2 -> 3 (new: emu)"),
        ({"classes": ["cat", "emu"]}, "  - classes: 2 -> 2 (gone: dog; new: emu)"),
        ({"classes": ["dog", "cat"]}, "  - classes: 2 -> 2 (in another order)"),
        ({"pictures": 11, "files": "abd"}, "  - pictures: 10 -> 11\n  - files: abc -> abd"),
    ],
)
def test_other_data_stop_a_resumed_run(
    tmp_path: Path, now: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(config(12), lambda: WithData(FACTS), tmp_path).fit()
    before = outcome_files(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        Trainer(config(24), lambda: WithData({**FACTS, **now}), tmp_path).fit()
    assert told in str(caught.value) and "trainer.data_changed=accept" in str(caught.value)
    assert outcome_files(tmp_path) == before
    accepting = Trainer(config(24, data_changed=DataChanged.accept), lambda: WithData({**FACTS, **now}), tmp_path)
    accepting.fit()
    assert accepting.samples_seen == 24
    assert told.splitlines()[0].removeprefix("  - ") in capsys.readouterr().out
    Trainer(config(28), lambda: WithData({**FACTS, **now}), tmp_path).fit()  # accepted once is enough


def test_data_are_what_they_were_when_the_run_began(tmp_path: Path) -> None:
    """Pictures that came while it trained are new to it, also before its first checkpoint."""

    class Growing(WithData):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            self.facts = {**FACTS, "pictures": 11}
            return super().losses(phase, segment, ctx)

    Trainer(config(12), lambda: Growing(FACTS), tmp_path).fit()
    with pytest.raises(CheckpointError, match=r"pictures: 10 -> 11"):
        Trainer(config(24), lambda: WithData({**FACTS, "pictures": 11}), tmp_path).fit()


def test_the_same_data_and_older_checkpoints_go_on(tmp_path: Path) -> None:
    Trainer(config(12), lambda: WithData(FACTS), tmp_path).fit()
    Trainer(config(16), lambda: WithData(dict(FACTS)), tmp_path).fit()
    for meta in tmp_path.glob("checkpoints/*/meta.json"):
        content = json.loads(meta.read_text())
        del content["digests"], content["digest"]  # older still
        del content["data"]
        meta.write_text(json.dumps(content))
    trainer = Trainer(config(24), lambda: WithData({"classes": ["x"]}), tmp_path)
    trainer.fit()
    assert trainer.samples_seen == 24


def outcome_files(run_dir: Path) -> dict[str, str]:
    return {name: (run_dir / name).read_text() for name in ("config.yaml", "metrics.jsonl", "done.json")}


def test_a_run_that_cannot_go_on_leaves_its_records(tmp_path: Path) -> None:
    """The message says: use the settings of config.yaml. They had just been overwritten."""

    class Wide(LinearTask):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(4, 5).double()

    Trainer(config(12), LinearTask, tmp_path).fit()
    before = outcome_files(tmp_path)
    other = config(24)
    other.optim["main"].lr = 0.77
    with pytest.raises(CheckpointError, match=r"model\.weight \(here 5x4, there 3x4\)"):
        Trainer(other, Wide, tmp_path).fit()
    assert outcome_files(tmp_path) == before


def test_another_runs_checkpoint_is_compared_with_its_own_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What differed was told of the run that was in the folder before, and nothing of the one that goes on."""
    Trainer(config(12), LinearTask, tmp_path / "one").fit()
    other = config(24, resume=str(tmp_path / "one"))
    other.optim["main"].lr = 0.77
    capsys.readouterr()
    Trainer(other, LinearTask, tmp_path / "two", changed=["seed: 5 -> 3"]).fit()
    told = capsys.readouterr().out
    assert "changed since that checkpoint: optim.main.lr: 0.01 -> 0.77" in told
    assert "changed since that checkpoint: trainer.max_samples: 12 -> 24" in told
    assert told.count("changed since ") == 2


def test_a_finished_run_keeps_its_configuration(tmp_path: Path) -> None:
    Trainer(config(12), LinearTask, tmp_path).fit()
    before = outcome_files(tmp_path)
    other = config(12)
    other.seed = 99
    Trainer(other, LinearTask, tmp_path).fit()
    assert outcome_files(tmp_path) == before


def test_what_cannot_start_anew_leaves_what_was_there(tmp_path: Path) -> None:
    class Large(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            raise torch.OutOfMemoryError("pretended")

    Trainer(config(12), LinearTask, tmp_path).fit()
    before = outcome_files(tmp_path)
    with pytest.raises(ConfigError, match="needs more memory"):
        Trainer(config(12, resume="never", preflight=True), Large, tmp_path).fit()
    assert outcome_files(tmp_path) == before


def test_a_replay_leaves_the_records_of_its_run(tmp_path: Path) -> None:
    settings = {"max_samples": 24, "eval_every": 0}
    with pytest.raises(NonFiniteError):
        Trainer(toy_config("rival", **settings), lambda: RivalTask(spoil=("make", 14)), tmp_path).fit()
    records, stored = ((tmp_path / name).read_text() for name in ("metrics.jsonl", "config.yaml"))
    assert records
    replay = toy_config("rival", replay=str(tmp_path / "nonfinite" / "step-14"), **settings)
    with pytest.raises(NonFiniteError, match="not finite again"):
        Trainer(replay, lambda: RivalTask(spoil=("make", 14)), tmp_path).fit()
    assert (tmp_path / "metrics.jsonl").read_text() == records and (tmp_path / "config.yaml").read_text() == stored


@pytest.mark.parametrize(
    ("resume", "told"),
    [
        ("auto", "stopped at step 8; the same command goes on from here"),
        ("never", "the same command starts anew, for trainer.resume=never: leave that out to go on from here"),
    ],
)
def test_a_stop_says_how_to_go_on(tmp_path: Path, resume: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Signalled(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if ctx.step == 7:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().losses(phase, segment, ctx)

    trainer = Trainer(config(24, "rival", resume=resume), Signalled, tmp_path)
    trainer.fit()
    assert trainer.step == 8 and told in capsys.readouterr().out
    note = json.loads((tmp_path / "stopped.json").read_text())
    assert abs(datetime.fromisoformat(note.pop("at")).timestamp() - time.time()) < 600
    assert note == {"reason": "SIGTERM", "step": 8, "samples_seen": trainer.samples_seen} and trainer.stopped
    if resume == "auto":
        again = Trainer(config(24, "rival"), RivalTask, tmp_path)
        again.fit()
        assert (tmp_path / "done.json").is_file() and not (tmp_path / "stopped.json").exists() and not again.stopped


def test_what_is_no_checkpoint_is_told_at_once(tmp_path: Path) -> None:
    """It waited 30 s, and then told of other processes and NFS."""
    first = tmp_path / "first"
    Trainer(config(12), LinearTask, first).fit()
    newest = first / "checkpoints" / "step-00000003"
    begin = time.monotonic()
    folder = first / "checkpoints"
    with pytest.raises(CheckpointError) as caught:
        Trainer(config(24, resume=str(folder)), LinearTask, tmp_path / "second").fit()
    assert str(caught.value) == (
        f"cannot resume from {folder}: meta.json is missing or damaged (FileNotFoundError). "
        f"Its run has trainer.resume={newest}"
    )
    assert time.monotonic() - begin < 10
    resumed = Trainer(config(24, resume=str(newest)), LinearTask, tmp_path / "second")
    resumed.fit()
    assert resumed.samples_seen == 24 and resumed.step == 6


@pytest.mark.parametrize("gone", [False, True])
def test_damaged_checkpoints_do_not_start_a_run_anew(
    tmp_path: Path, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records would be emptied, and what is left of its checkpoints removed."""
    monkeypatch.setattr(directory, "LATE_S", 0.0)
    Trainer(config(12), LinearTask, tmp_path).fit()
    before = outcome_files(tmp_path)
    (tmp_path / "checkpoints" / "step-00000003" / "ema.safetensors").unlink()
    if gone:
        shutil.rmtree(tmp_path / "checkpoints" / "step-00000003")
    with pytest.raises(CheckpointError) as caught:
        Trainer(config(24), LinearTask, tmp_path).fit()
    why = "nothing but latest" if gone else "step-00000003: ema.safetensors is missing"
    told = f"has no whole checkpoint left ({why}). Put one back, or start anew"
    assert told in str(caught.value)
    assert outcome_files(tmp_path) == before
    anew = Trainer(config(24, resume="never"), LinearTask, tmp_path)
    anew.fit()
    assert anew.step == 6


def test_a_resume_reads_the_state_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.checkpoint import directory as checkpoint

    Trainer(config(24, "rival", eval_every=4), RivalTask, tmp_path).fit()
    expected = outcome(tmp_path)
    reads: list[Path] = []
    original = checkpoint.load_state
    monkeypatch.setattr(checkpoint, "load_state", lambda folder, *args: reads.append(folder) or original(folder, *args))
    Trainer(config(24, "rival", eval_every=4), RivalTask, tmp_path).fit()
    assert len(reads) == 1
    assert_same(expected, outcome(tmp_path))
