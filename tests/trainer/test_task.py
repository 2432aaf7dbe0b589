"""The interface's promises, for every toy: isolation of phases, accumulation, shared forward passes, frozen parts."""

import itertools
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.toys import TASKS, LinearTask, RivalTask, ToyTask, build_toy, toy_config
from trainer.checkpoint.weights import network_tensors
from trainer.config.fields import OptimizerConfig, OptimizerKind, ScheduleConfig, ScheduleKind, StageConfig
from trainer.data.splitting import split_batch
from trainer.errors import ConfigError
from trainer.loop import Trainer
from trainer.task import Segment, StepContext

TOYS = sorted(TASKS)


def trained(run_dir: Path, name: str, task: dict[str, Any] | None = None, **config: Any) -> Trainer:
    settings = toy_config(name, **config)
    trainer = Trainer(settings, lambda: build_toy(settings, **(task or {})), run_dir)
    trainer.fit()
    return trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network_tensors(trainer.networks).items()}


@pytest.mark.parametrize("name", TOYS)
def test_a_phase_touches_only_its_own(tmp_path: Path, name: str) -> None:
    """Gradients while it is at work, weights when all step."""
    config = toy_config(name)
    task = build_toy(config)
    trainer = Trainer(config, task, tmp_path)
    original = task.losses
    seen: list[tuple[int, str, dict[str, Tensor], dict[str, Tensor]]] = []

    def observed(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        grads = {n: p.grad.clone() for own in trainer.parameters.values() for n, p in own.items() if p.grad is not None}
        seen.append((ctx.step, phase, weights(trainer), grads))
        losses = original(phase, segment, ctx)
        assert all(value.shape == () and bool(torch.isfinite(value)) for value in losses.values())
        return losses

    task.losses = observed  # type: ignore[method-assign]
    trainer.fit()
    assert all(p.grad is None for module in trainer.networks.values() for p in module.parameters())
    phases = list(trainer.phases)
    # Micro-batches outer (two in the first stage), phases inner, one step of all after the last of them.
    assert [phase for step, phase, _, _ in seen if step < 2] == phases * 4
    for (step, phase, before, grads), (later, _, after, more) in itertools.pairwise(seen):
        own = trainer.parameters[phase]
        moved = {n for n in before if n != "maker.mean" and not torch.equal(before[n], after[n])}
        if later == step:
            assert not moved
            assert {n for n in more if n not in grads or not torch.equal(grads[n], more[n])} == own.keys()
        else:
            assert all(moved & trainer.parameters[name].keys() for name in phases)
            assert not more


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_equals_one_big_batch(tmp_path: Path, name: str, parts: int) -> None:
    runs = [
        trained(tmp_path / str(k), name, stages={"s": StageConfig(frames=2, batch_size=4, accumulate=k)}, ema=None)
        for k in (1, parts)
    ]
    one, many = map(weights, runs)
    one.pop("maker.mean", None)  # a running mean over batches does depend on how they are cut
    for key in one:
        torch.testing.assert_close(one[key], many[key], rtol=1e-9, atol=1e-11)


def test_a_shared_forward_pass_gives_the_same_weights(tmp_path: Path) -> None:
    """No phase steps before all have their gradients, so it makes no difference who makes the pass."""
    shared = trained(tmp_path / "a", "rival", {"share": True})
    apart = trained(tmp_path / "b", "rival", {"share": False})
    assert isinstance(shared.task, RivalTask) and isinstance(apart.task, RivalTask)
    assert shared.task.forwards < apart.task.forwards
    one, two = weights(shared), weights(apart)
    one.pop("maker.mean"), two.pop("maker.mean")  # updated by every pass
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_what_phases_share_lives_for_one_micro_batch(tmp_path: Path) -> None:
    alive: list[int] = []
    made: list[weakref.ref[Tensor]] = []

    class Watching(RivalTask):
        def make(self, segment: Segment, ctx: StepContext) -> Tensor:
            out = super().make(segment, ctx)
            made.append(weakref.ref(out))
            return out

        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            found = super().losses(phase, segment, ctx)
            alive.append(len({id(ref()) for ref in made if ref() is not None}))
            return found

    stages = {"s": StageConfig(frames=1, batch_size=8, accumulate=8)}
    trained_with = Trainer(toy_config("rival", stages=stages, max_samples=16), Watching, tmp_path)
    trained_with.fit()
    assert set(alive) == {1}


def test_once_computes_once() -> None:
    segment, calls = Segment(), []
    assert segment.once("a", lambda: calls.append(1) or len(calls)) == 1
    assert segment.once("a", lambda: calls.append(1) or len(calls)) == 1
    assert len(calls) == 1


def test_after_a_time_of_being_fixed_the_coarse_part_moves_and_every_rate_decays(tmp_path: Path) -> None:
    """Both went wrong in the original: its optimiser was built anew, and the schedule kept the old one."""
    stages = {
        "fine": StageConfig(frames=1, batch_size=2, trainable=["maker.fine", "judge"]),
        "all": StageConfig(start=0.5, frames=1, batch_size=2),
    }
    config = toy_config("rival", stages=stages, max_samples=40)
    config.schedule = ScheduleConfig(kind=ScheduleKind.linear, decay_start=0.5)
    config.optim = {name: OptimizerConfig(kind=OptimizerKind.adamw, lr=0.01, weight_decay=0.1) for name in config.optim}
    task = build_toy(config)
    trainer = Trainer(config, task, tmp_path)
    optimizers = dict(trainer.optimizers)
    coarse: list[Tensor] = []
    rates: list[dict[str, float]] = []
    original = task.losses

    def observed(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        if phase == "make":
            coarse.append(task.maker.coarse.weight.detach().clone())
            rates.append({name: o.param_groups[0]["lr"] for name, o in trainer.optimizers.items()})
        return original(phase, segment, ctx)

    task.losses = observed  # type: ignore[method-assign]
    trainer.fit()
    assert trainer.optimizers == optimizers
    fixed, moving = coarse[:11], coarse[10:]
    assert all(torch.equal(fixed[0], w) for w in fixed)  # neither gradients nor weight decay reach it
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(moving))
    for name in ("make", "judge"):
        course = [rate[name] for rate in rates]
        assert course[:11] == [0.01] * 11
        assert all(a > b for a, b in itertools.pairwise(course[10:]))
        assert course[-1] == pytest.approx(0.01 * 2 * 2 / 40)


def test_a_phase_with_nothing_to_train_is_left_out(tmp_path: Path) -> None:
    trainer = trained(tmp_path, "rival", stages={"s": StageConfig(frames=1, trainable=["judge"])}, max_samples=4)
    assert [phase.name for phase in trainer.active] == ["judge"]
    log = (tmp_path / "metrics.jsonl").read_text()
    assert "judge/tell" in log and "make/" not in log


def test_every_leaves_out_steps(tmp_path: Path) -> None:
    config = toy_config("rival", stages={"s": StageConfig(frames=1)}, max_samples=9)
    config.optim["judge"].every = 3
    task = build_toy(config)
    calls: list[tuple[int, str]] = []
    original = task.losses

    def observed(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        calls.append((ctx.step, phase))
        return original(phase, segment, ctx)

    task.losses = observed  # type: ignore[method-assign]
    Trainer(config, task, tmp_path).fit()
    assert [step for step, phase in calls if phase == "judge"] == [0, 3, 6]
    assert [step for step, phase in calls if phase == "make"] == list(range(9))


@pytest.mark.parametrize("words", ["constants", "nothing"])
def test_a_loss_without_graph_teaches_nothing(tmp_path: Path, words: str) -> None:
    """A clip may be too short for a phase; it then returns constants, or an empty dict."""

    class Silent(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if words == "nothing":
                return {}
            return {name: value.detach() for name, value in super().losses(phase, segment, ctx).items()}

    config = toy_config("linear", max_samples=8)
    trainer = Trainer(config, Silent(), tmp_path)
    before = weights(trainer)
    trainer.fit()
    assert all(torch.equal(before[key], value) for key, value in weights(trainer).items())


def test_segments_must_be_as_many_as_announced(tmp_path: Path) -> None:
    class Miscounting(RivalTask):
        def segments_per_batch(self, stage: Any) -> int:
            return 7

    with pytest.raises(RuntimeError, match=r"segments\(\) yielded 2, segments_per_batch\(\) says 7"):
        Trainer(toy_config("rival"), Miscounting(), tmp_path).fit()


def test_configuration_problems_come_together(tmp_path: Path) -> None:
    config = toy_config("rival", stages={"s": StageConfig(trainable=["makr", "judge"])})
    del config.optim["judge"]
    with pytest.raises(ConfigError) as caught:
        Trainer(config, lambda: build_toy(config), tmp_path)
    assert "optim.judge is missing" in str(caught.value)
    assert "'makr' names no parameter" in str(caught.value)


def test_splitting() -> None:
    batch = {"x": torch.arange(4), "name": ["a", "b", "c", "d"], "deep": {"y": torch.ones(4, 2)}, "fps": 10}
    first, second = split_batch(batch, 2)
    assert second["x"].tolist() == [2, 3] and second["name"] == ["c", "d"] and second["fps"] == 10
    assert first["deep"]["y"].shape == (2, 2)
    with pytest.raises(ValueError, match="3 samples cannot be split into 2"):
        split_batch({"x": torch.arange(3)}, 2)


@pytest.mark.parametrize("name", TOYS)
def test_the_builder_is_seeded(tmp_path: Path, name: str) -> None:
    def built(seed: int) -> dict[str, Tensor]:
        config = toy_config(name)
        config.seed = seed
        task: list[ToyTask] = []
        trainer = Trainer(config, lambda: task.append(build_toy(config)) or task[0], tmp_path)
        assert len(task) == 1
        return weights(trainer)

    first, again, other = built(1), built(1), built(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
