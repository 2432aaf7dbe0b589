"""Rehearsals: steps in full that move nothing, of the stages that need most, with what training keeps in memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.toys import LinearTask, RivalTask, build_toy, toy_config
from trainer import run_state
from trainer.checkpoint.weights import network_buffers, network_tensors
from trainer.config.fields import OnNonFinite, OptimizerKind, Precision, StageConfig
from trainer.device.free_memory import is_out_of_memory
from trainer.errors import ConfigError, NonFiniteError
from trainer.loop import Trainer
from trainer.nonfinite.guard import LAG
from trainer.rehearsal import micro_batch, preflight
from trainer.task import Segment, Stage, StepContext

STAGES = {"s": StageConfig(frames=3, batch_size=4)}


class Infinite(RivalTask):
    """A stage whose numbers run off with the first weights."""

    def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        factor = float("nan") if ctx.samples_seen == 0 or ctx.stage.name == "long" else 1.0
        return {name: value * factor for name, value in super().losses(phase, segment, ctx).items()}


def contents(trainer: Trainer) -> dict[str, Any]:
    tensors = {**network_tensors(trainer.networks), **network_buffers(trainer.networks)}
    tensors |= {f"ema/{k}": v for k, v in (trainer.ema.state_dict() if trainer.ema else {}).items()}
    for name, optimizer in trainer.optimizers.items():
        for key, parameter in trainer.parameters[name].items():
            tensors |= {f"{name}/{key}/{k}": v for k, v in optimizer.state.get(parameter, {}).items()}
    return {name: value.detach().clone() for name, value in tensors.items()}


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, dict | list | tuple | set):
        items = value.values() if isinstance(value, dict) else value
        return [found for item in items for found in tensors(item)]
    return [value] if isinstance(value, Tensor) else []


@pytest.mark.parametrize(
    "kind",
    [kind if kind.name in ("adamw", "muon") else pytest.param(kind, marks=pytest.mark.slow) for kind in OptimizerKind],
)
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16])
@pytest.mark.parametrize("steps", [0, 12])
def test_nothing_moves(tmp_path: Path, kind: OptimizerKind, precision: Precision, steps: int) -> None:
    """Neither on a new run, where optimisers have no state yet, nor on one that goes on."""
    config = toy_config("rival", stages=STAGES, precision=precision, eval_every=0, max_samples=40)
    for row in config.optim.values():
        row.kind, row.weight_decay = kind, 0.1
    trainer = Trainer(config, lambda: RivalTask(noise=0.1), tmp_path)
    with trainer.session():
        trainer.begin()
        while trainer.step < steps:
            trainer.enter(trainer.curriculum.stages[0])
            trainer.train_batch(trainer.next_batch())
        before, counters = contents(trainer), (trainer.step, trainer.samples_seen, trainer.task.state_dict())
        trainer.preflight()
        after = contents(trainer)
        assert counters == (trainer.step, trainer.samples_seen, trainer.task.state_dict())
    assert before.keys() == after.keys() and len(before) > (10 if steps else 5)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_put_back_holds_no_copy_of_weights(tmp_path: Path) -> None:
    """A copy on the card would be measured as if training needed it."""
    trainer = Trainer(toy_config("rival"), RivalTask, tmp_path)
    with trainer.session():
        snapshot = run_state.Snapshot(trainer)
    assert [t.numel() for t in tensors(vars(snapshot))] == [4]  # the running mean


def test_a_buffer_that_is_not_saved_comes_back(tmp_path: Path) -> None:
    class Unsaved(RivalTask):
        def __init__(self) -> None:
            super().__init__()
            self.maker.register_buffer("mean", torch.zeros(4, dtype=torch.float64), persistent=False)

    trainer = Trainer(toy_config("rival", stages=STAGES), Unsaved, tmp_path)
    with trainer.session():
        trainer.preflight()
        assert torch.equal(trainer.task.maker.mean, torch.zeros(4, dtype=torch.float64))  # type: ignore[attr-defined]


def test_numbers_that_are_not_finite_are_told_and_end_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training reaches the largest stage with trained weights; its first ones prove nothing."""
    trainer = Trainer(toy_config("rival", on_nonfinite=OnNonFinite["skip"]), Infinite, tmp_path)
    with trainer.session():
        trainer.preflight()
        assert trainer.guard.state_dict() == {"skipped": 0, "streak": 0}
    assert "its numbers are not finite with the first weights" in capsys.readouterr().out
    assert not (tmp_path / "nonfinite").exists()


def test_the_budget_of_skipped_steps_survives_a_resume(tmp_path: Path) -> None:
    class Hopeless(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            return {k: v * float("nan") for k, v in super().losses(phase, segment, ctx).items()}

    settings = {"stages": STAGES, "on_nonfinite": OnNonFinite["skip"], "nonfinite_budget": 7, "eval_every": 0}
    first = Trainer(toy_config("rival", max_samples=8, **settings), Hopeless, tmp_path)
    first.fit()
    assert first.guard.state_dict() == {"skipped": 6, "streak": 6}
    with pytest.raises(NonFiniteError, match=r"step 7 .*after 7 skipped ones in a row"):
        Trainer(toy_config("rival", max_samples=24, **settings), Hopeless, tmp_path).fit()


def test_which_stages_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two of equal pixels the one that trains more; where no stage needs most of everything, all that might."""
    stages = {
        "small": StageConfig(frames=3, batch_size=2),
        "part": StageConfig(start=0.2, frames=3, batch_size=4, trainable=["maker.fine", "judge"]),
        "all": StageConfig(start=0.5, frames=3, batch_size=4),
        "long": StageConfig(start=0.8, frames=3, batch_size=8, trainable=["judge"]),
    }
    config = toy_config("rival", stages=stages, max_samples=80)
    trainer = Trainer(config, lambda: build_toy(config), tmp_path)
    assert [stage.name for stage in preflight.demanding_stages(trainer)] == ["all", "long"]
    tried: list[tuple[str, int]] = []
    original = Trainer.train_step

    def train_step(self: Trainer, segments: Any, ctx: StepContext) -> None:
        tried.append((ctx.stage.name, self.step))
        original(self, segments, ctx)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    monkeypatch.setattr(RivalTask, "segments_to_peak", lambda self, stage: 3)
    with trainer.session():
        trainer.preflight()
    assert tried == [(name, step) for name in ("all", "long") for step in range(3)]


def test_a_trial_keeps_what_training_keeps(tmp_path: Path) -> None:
    kept: list[int] = []

    class Counting(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            kept.append(len(trainer.guard._pending))
            return super().losses(phase, segment, ctx)

        def segments_to_peak(self, stage: Stage) -> int:
            return 3

    trainer = Trainer(toy_config("rival", stages=STAGES), Counting, tmp_path)
    trainer.guard.waits = False
    with trainer.session():
        preflight.take_steps(trainer, trainer.curriculum.stages[0], batches=2)
    assert max(kept) == LAG + 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_next_size_is_tried_whatever_word_a_library_has_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Large(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if len(segment["y"]) > 3:
                raise RuntimeError("FIND was unable to find an engine to execute this computation")
            return super().losses(phase, segment, ctx)

    card = {"mem_get_info": (50, 100), "memory_reserved": 0, "max_memory_reserved": 1, "max_memory_allocated": 1}
    card["get_per_process_memory_fraction"] = 1.0
    for name, value in card.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(micro_batch, "_by_measuring", micro_batch._by_trying)
    config = toy_config("linear", stages={"s": StageConfig(batch_size=8)}, max_samples=16, micro_batch="auto")
    trainer = Trainer(config, Large, tmp_path / "a")
    trainer.fit()
    assert trainer.curriculum.stages[0].accumulate == 4
    with pytest.raises(ConfigError, match=r"curriculum\.stages\.s .*needs more memory than cpu has"):
        Trainer(toy_config("linear", stages={"s": StageConfig(batch_size=8)}), Large, tmp_path / "b").fit()


def test_compiled_code_is_forgotten_only_when_shapes_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[int] = []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: resets.append(1))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: None)
    config = toy_config("linear", stages=STAGES, compile=True, preflight=True, eval_every=0)
    Trainer(config, LinearTask, tmp_path / "one").fit()
    assert len(resets) == 1  # preflight and training have the same shapes
    resets.clear()
    Trainer(toy_config("linear", compile=True, preflight=True, eval_every=0), LinearTask, tmp_path / "two").fit()
    assert len(resets) == 3  # the largest stage, which is the second, then both


def test_a_sweep_leaves_no_determinism_to_the_next_job(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    Trainer(toy_config("linear", deterministic=True, threads=threads + 1), LinearTask, tmp_path)
    assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == threads + 1
    Trainer(toy_config("linear"), LinearTask, tmp_path)
    assert not torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == threads


def test_a_norm_that_fp16_skips_is_left_out_of_the_record() -> None:
    from trainer.parallel.processes import Parallel, Strategy
    from trainer.records.meter import Window

    window = Window()
    for value in (1.0, float("inf"), 3.0):
        window.add("g/grad_norm", torch.tensor(value), finite=True)
        window.add("g/loss", torch.tensor(2.0))
    assert window.take(Parallel(Strategy.auto, torch.device("cpu"))) == {"g/grad_norm": 2.0, "g/loss": 2.0}
