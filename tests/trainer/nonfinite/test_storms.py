"""fp16 overflows without end, numbers of one process, averages, and replays of both models in another folder."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.forking import side_by_side
from tests.helpers.small_runs import configured
from tests.helpers.toys import LinearTask, RivalTask, toy_config
from trainer.checkpoint.weights import network_tensors
from trainer.config.fields import OnNonFinite, Precision, StageConfig
from trainer.errors import NonFiniteError
from trainer.loop import Trainer
from trainer.task import Segment, StepContext


class Storm(LinearTask):
    """Gradients that overflow in fp16 at any scale, from a step on, ``length`` steps long."""

    def __init__(self, first: int, length: int = 10**6) -> None:
        super().__init__()
        self.model.float()
        self.first, self.length = first, length
        self.scales: list[float] = []
        self.before: dict[str, Tensor] = {}

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        self.scales.append(float(ctx.loss_scale))
        if ctx.step == self.first:
            self.before = {name: value.clone() for name, value in self.model.state_dict().items()}
        segment.data["x"] = segment.data["x"].float()
        found = {name: 0.1 * value.float() for name, value in super().losses(phase, segment, ctx).items()}
        if self.first <= ctx.step < self.first + self.length:
            found["slope"] = (self.model.weight * 0.0).sum().sqrt()  # finite, of infinite slope
        return found

    def score(self, x: Tensor) -> Tensor:
        return super().score(x.float())


def storm(folder: Path, task: Storm, **settings: Any) -> Trainer:
    config = toy_config("linear", precision=Precision.fp16, stages={"s": StageConfig()}, max_samples=60, **settings)
    return Trainer(config, lambda: task, folder)


@pytest.mark.parametrize(("skips", "more"), [(False, 0), (True, 4)])
def test_an_overflow_storm_ends_the_run(tmp_path: Path, skips: bool, more: int) -> None:
    """The scale is halved from 2^16 to 1, a step each; from there on it is no overflow any more."""
    task = Storm(first=5)
    kind = OnNonFinite["skip" if skips else "raise"]
    trainer = storm(tmp_path, task, on_nonfinite=kind, nonfinite_budget=4)
    with pytest.raises(NonFiniteError, match=f"step {5 + 16 + more} "):
        trainer.fit()
    assert task.scales[5:22] == [2.0**16 / 2**k for k in range(17)]
    before = torch.load(tmp_path / "nonfinite" / f"step-{21 + more}" / "rank0.pt", weights_only=True)["weights"]
    assert task.before and all(torch.equal(value, before[f"model.{name}"]) for name, value in task.before.items())


def test_a_short_storm_is_borne_with(tmp_path: Path) -> None:
    trainer = storm(tmp_path, Storm(first=5, length=8))
    trainer.fit()
    assert trainer.finished and trainer.guard.skipped == 0
    assert trainer.precision.scalers["main"].get_scale() == 2.0**8


def test_the_scale_is_kept_over_a_resume(tmp_path: Path) -> None:
    """Begun anew at 2^16, it would skip steps that an undisturbed run takes."""
    storm(tmp_path, Storm(first=5, length=8), max_steps=14).fit()
    task = Storm(first=5, length=8)
    storm(tmp_path, task).fit()
    assert set(task.scales) == {2.0**8}


class OneRank(RivalTask):
    """The loss of rank 1 alone is no number, at one step."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        found = super().losses(phase, segment, ctx)
        if ctx.rank == 1 and ctx.step == 4 and phase == "judge":
            found["tell"] = found["tell"] * self.value
        return found


def one_rank(rank: int, folder: Path, value: float, skips: bool) -> dict[str, Any]:
    stages = {"s": StageConfig(frames=2, batch_size=4)}
    config = toy_config("rival", stages=stages, on_nonfinite=OnNonFinite["skip" if skips else "raise"])
    trainer = Trainer(config, lambda: OneRank(value), folder)
    error = ""
    try:
        trainer.fit()
    except NonFiniteError as found:
        error = str(found)
    weights = {name: value.tolist() for name, value in network_tensors(trainer.networks).items()}
    averages = {} if trainer.ema is None else {name: value.tolist() for name, value in trainer.ema.state_dict().items()}
    return {"step": trainer.step, "skipped": trainer.guard.skipped, "error": error, "all": [weights, averages]}


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_of_one_process_skips_the_step_of_all(tmp_path: Path, value: float) -> None:
    first, second = side_by_side(one_rank, tmp_path, value, True)
    assert (first["step"], first["skipped"]) == (second["step"], second["skipped"]) == (12, 1)
    assert {**first["all"][0], "maker.mean": 0} == {**second["all"][0], "maker.mean": 0}  # each has statistics
    assert "nan" not in str(first["all"]) + str(second["all"]) and "inf" not in str(first["all"]) + str(second["all"])


@pytest.mark.slow
def test_a_number_of_one_process_ends_all(tmp_path: Path) -> None:
    first, second = side_by_side(one_rank, tmp_path, float("nan"), False)
    for found in (first, second):
        assert "step 4 " in found["error"] and "phase 'judge'" in found["error"]
    assert sorted(path.name for path in (tmp_path / "nonfinite" / "step-4").iterdir()) == [
        "config.json",
        "rank0.pt",
        "rank1.pt",
    ]


class Spoiler:
    """Makes the last loss of a task's step no number, and keeps all of the losses of that step."""

    def __init__(self, trainer: Trainer, step: int) -> None:
        self.seen: list[tuple[str, dict[str, Tensor]]] = []
        original = trainer.task.losses

        def losses(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            found = original(phase, segment, ctx)
            if ctx.step == step:
                self.seen.append((phase, {name: value.detach().clone() for name, value in found.items()}))
                found = {name: value * float("nan") for name, value in found.items()}
            return found

        trainer.task.losses = losses  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "step"), [("vit_mu", 3), ("vit_mu", 6), ("vid2vid_tiny", 3), ("vid2vid_tiny", 8)])
def test_a_replay_reproduces_every_loss_of_both_models(tmp_path: Path, model: str, step: int) -> None:
    """With augmentation, mixing, dropout, micro-batches, a carried past; out of a dump that was moved."""
    from train import build_task

    def spoiled(folder: Path, **settings: Any) -> Spoiler:
        config = configured(model)
        for name, value in settings.items():
            setattr(config.trainer, name, value)
        trainer = Trainer(config, lambda: build_task(config), folder)
        spoiler = Spoiler(trainer, step)
        with pytest.raises(NonFiniteError):
            trainer.fit()
        return spoiler

    first = spoiled(tmp_path / "run")
    shutil.move(tmp_path / "run" / "nonfinite" / f"step-{step}", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "run")
    again = spoiled(tmp_path / "another", replay=str(tmp_path / "elsewhere"))
    assert [phase for phase, _ in again.seen] == [phase for phase, _ in first.seen]
    for (phase, one), (_, two) in zip(first.seen, again.seen, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            assert torch.equal(one[name], two[name]), (phase, name, one[name], two[name])
