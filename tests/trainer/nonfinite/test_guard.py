"""NaN and infinity: no weight changes, the dump replays, skipping has a budget."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.toys import LinearTask, RivalTask, ToyTask, build_toy, toy_config
from trainer.checkpoint.trained import load_weights
from trainer.checkpoint.weights import network_tensors
from trainer.config.fields import OnNonFinite, Precision, StageConfig
from trainer.errors import CheckpointError, NonFiniteError
from trainer.loop import Trainer
from trainer.nonfinite.broken_inputs import broken_inputs
from trainer.nonfinite.dump import load_dump, plain_tensors, restore_streams, streams_state
from trainer.task import Segment, StepContext


class Recording:
    """Weights and losses at the start of every step."""

    def __init__(self, trainer: Trainer) -> None:
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.losses: dict[tuple[int, str], dict[str, Tensor]] = {}
        original = trainer.task.losses

        def losses(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if ctx.step not in self.weights:
                tensors = network_tensors(trainer.networks)
                self.weights[ctx.step] = {k: v.detach().clone() for k, v in tensors.items() if k != "maker.mean"}
            found = original(phase, segment, ctx)
            self.losses[ctx.step, phase] = {k: v.detach().clone() for k, v in found.items()}
            return found

        trainer.task.losses = losses  # type: ignore[method-assign]


def spoiled(run_dir: Path, phase: str, step: int = 7, **config: Any) -> Trainer:
    settings = toy_config("rival", **config)
    return Trainer(settings, lambda: RivalTask(spoil=(phase, step), noise=0.1), run_dir)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("phase", ["make", "judge"])
def test_raises_before_any_weight_changes(tmp_path: Path, phase: str, waits: bool, monkeypatch: Any) -> None:
    """Also with the verdict left on the device, as on CUDA, where the host hears of it later."""
    trainer = spoiled(tmp_path, phase)
    trainer.guard.waits = waits
    if not waits:
        late(monkeypatch)
    record = Recording(trainer)
    with pytest.raises(NonFiniteError, match=rf"step 7 .*phase '{phase}'.*trainer\.replay="):
        trainer.fit()
    for name, value in record.weights[7].items():
        assert torch.equal(network_tensors(trainer.networks)[name], value), name
    assert max(record.weights) == (7 if waits else 8)  # the batch ends with step 8, and with it a checkpoint is due
    assert (tmp_path / "nonfinite" / "step-7" / "rank0.pt").exists()
    about = json.loads((tmp_path / "nonfinite" / "step-7" / "config.json").read_text())
    assert about["failed"] == phase and about["config"]["seed"] == 3
    assert not (tmp_path / "done.json").exists()


def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts that arrive only when waited for."""

    class Event:
        def record(self) -> None: ...
        def synchronize(self) -> None: ...
        def query(self) -> bool:
            return False

    monkeypatch.setattr(torch.cuda, "Event", Event)
    original = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda x, pin_memory=False, **k: original(x, **k))


@pytest.mark.parametrize("phase", ["make", "judge"])
def test_replay_reproduces(tmp_path: Path, phase: str, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = spoiled(tmp_path, phase)
    record = Recording(trainer)
    with pytest.raises(NonFiniteError):
        trainer.fit()
    dump = tmp_path / "nonfinite" / "step-7"
    before = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    again = spoiled(tmp_path / "replay", phase, replay=str(dump))
    seen = Recording(again)
    with pytest.raises(NonFiniteError, match=f"phase '{phase}' is not finite again.*nan"):
        again.fit()
    for key, losses in seen.losses.items():  # the finite ones bitwise, with the random numbers of that step
        for name, value in losses.items():
            assert torch.equal(value.nan_to_num(7), record.losses[key][name].nan_to_num(7)), (key, name)
    assert ("make" if phase == "judge" else phase) in {name for _, name in seen.losses}
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == before
    # Mended, the same step is finite.
    mended = spoiled(tmp_path / "mended", phase, step=-1, replay=str(dump))
    mended.fit()
    assert "everything was finite this time" in capsys.readouterr().out


def test_replay_of_gradients_that_are_finite_but_have_no_norm(tmp_path: Path) -> None:
    """1e200 squared is no float64, so the step was not taken, though every loss and gradient is finite."""

    class Steep(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            return {name: 1e200 * value for name, value in super().losses(phase, segment, ctx).items()}

    with pytest.raises(NonFiniteError, match="step 0 "):
        Trainer(toy_config("linear"), Steep, tmp_path).fit()
    again = toy_config("linear", replay=str(tmp_path / "nonfinite" / "step-0"))
    with pytest.raises(
        NonFiniteError, match=r"not finite again: .*gradients so large.* model.(weight|bias) \S+e\+(199|200)"
    ):
        Trainer(again, Steep, tmp_path / "replay").fit()


@pytest.mark.parametrize("waits", [True, False])
def test_the_dump_is_what_the_segment_began_with(tmp_path: Path, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No phase has stepped, and buffers are put back: forward passes of this and, with late verdicts, later ones moved
    them."""
    trainer = spoiled(tmp_path, "judge")
    trainer.guard.waits = waits
    if not waits:
        late(monkeypatch)
    means: dict[int, Tensor] = {}
    original = trainer.train_step

    def train_step(segments: Any, ctx: StepContext) -> None:
        means[ctx.step] = trainer.task.maker.mean.clone()  # type: ignore[attr-defined]
        original(segments, ctx)

    monkeypatch.setattr(trainer, "train_step", train_step)
    record = Recording(trainer)
    with pytest.raises(NonFiniteError):
        trainer.fit()
    dump = load_dump(tmp_path / "nonfinite" / "step-7", 0, torch.device("cpu"))
    assert dump.phases == ["make", "judge"] and dump.failed == "judge"
    assert not torch.equal(means[7], means[6])
    for held in (dump.weights, network_tensors(trainer.networks)):
        assert torch.equal(held["maker.mean"], means[7])
        assert all(torch.equal(held[name], value) for name, value in record.weights[7].items())


def test_a_bad_gradient_with_a_finite_loss(tmp_path: Path) -> None:
    class Root(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            losses = super().losses(phase, segment, ctx)
            if ctx.step == 2:
                losses["root"] = (self.model.weight * 0.0).sum().sqrt()  # 0, with an infinite slope
            return losses

    trainer = Trainer(toy_config("linear"), Root, tmp_path)
    record = Recording(trainer)
    with pytest.raises(NonFiniteError, match="step 2"):
        trainer.fit()
    assert torch.equal(trainer.networks["model"].weight, record.weights[2]["model.weight"])
    with pytest.raises(NonFiniteError, match=r"gradients not finite: model\.weight"):
        Trainer(toy_config("linear", replay=str(tmp_path / "nonfinite" / "step-2")), Root, tmp_path / "replay").fit()


def test_bad_data_is_skipped_and_counted(tmp_path: Path) -> None:
    settings = toy_config(
        "linear", on_nonfinite=OnNonFinite["skip"], stages={"s": StageConfig(batch_size=1)}, max_samples=20
    )
    trainer = Trainer(settings, lambda: build_toy(settings, poison=4), tmp_path)
    trainer.fit()
    assert trainer.guard.skipped == 2  # sample 4, once in each of two epochs
    assert all(bool(torch.isfinite(v).all()) for v in network_tensors(trainer.networks).values())
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records[-2]["skipped"] == 2


def test_a_skipped_step_leaves_its_phase_alone(tmp_path: Path) -> None:
    trainer = spoiled(tmp_path, "judge", on_nonfinite=OnNonFinite["skip"])
    record = Recording(trainer)
    trainer.fit()
    before, after = record.weights[7], record.weights[8]
    assert torch.equal(before["judge.0.weight"], after["judge.0.weight"])
    assert not torch.equal(after["judge.0.weight"], record.weights[9]["judge.0.weight"])


def test_a_skipped_segment_leaves_running_statistics_alone(tmp_path: Path) -> None:
    """One NaN in them would stay: every evaluation and checkpoint from there on would be worthless."""
    settings = toy_config("rival", on_nonfinite=OnNonFinite["skip"], stages={"s": StageConfig()}, max_samples=20)
    trainer = Trainer(settings, lambda: RivalTask(poison=4), tmp_path)
    maker, means = trainer.networks["maker"], []
    original = trainer.guard.end

    def end() -> None:
        bad = bool(trainer.guard.bad.max())
        original()
        means.append((bad, maker.get_buffer("mean").clone()))

    trainer.guard.end = end  # type: ignore[method-assign]
    trainer.fit()
    skipped = [index for index, (bad, _) in enumerate(means) if bad]
    assert len(skipped) == trainer.guard.skipped == 2 and 0 not in skipped
    for index in skipped:
        assert torch.equal(means[index][1], means[index - 1][1])
    assert len({tuple(mean.tolist()) for _, mean in means}) == 20 - 2  # all others moved them
    saved = load_weights(tmp_path)[0] | load_weights(tmp_path, ema=False)[0]
    assert all(bool(torch.isfinite(value).all()) for value in saved.values())


def test_the_budget_of_skipped_steps(tmp_path: Path) -> None:
    class Hopeless(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            scale = float("inf") if ctx.step >= 3 and phase == "make" else 1.0
            return {k: v * scale for k, v in super().losses(phase, segment, ctx).items()}

    settings = toy_config("rival", on_nonfinite=OnNonFinite["skip"], nonfinite_budget=4)
    trainer = Trainer(settings, Hopeless, tmp_path)
    with pytest.raises(NonFiniteError, match=r"step 7 .*after 4 skipped ones in a row"):
        trainer.fit()
    assert trainer.guard.skipped == 4


def test_the_budget_is_not_given_anew_by_a_resume(tmp_path: Path) -> None:
    class Hopeless(LinearTask):
        killed_at = 7

        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if ctx.step == self.killed_at:
                raise KeyError
            return {
                k: v * (float("nan") if ctx.step >= 5 else 1.0) for k, v in super().losses(phase, segment, ctx).items()
            }

    settings = toy_config(
        "linear", on_nonfinite=OnNonFinite["skip"], nonfinite_budget=4, checkpoint_every=1, max_steps=20
    )
    with pytest.raises(KeyError):
        Trainer(settings, Hopeless, tmp_path).fit()
    Hopeless.killed_at = -1
    trainer = Trainer(settings, Hopeless, tmp_path)
    with pytest.raises(NonFiniteError, match=r"step 9 .*after 4 skipped ones in a row"):
        trainer.fit()
    assert trainer.resumed_from is not None and trainer.resumed_from.name == "step-00000007"
    assert trainer.guard.skipped == 4


@pytest.mark.parametrize("kind", [LinearTask, RivalTask])
def test_fp16_runs_and_skips_overflows(tmp_path: Path, kind: type[ToyTask]) -> None:
    class Overflowing(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            for module in self.networks().values():
                module.float()

        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            segment.data["x"] = segment.data["x"].float()
            if "past" in segment.data:
                segment.data["past"] = segment.data["past"].float()
            return {k: v.float() * 1e2 for k, v in super().losses(phase, segment, ctx).items()}

        def score(self, x: Tensor) -> Tensor:
            return super().score(x.float())

    name = "linear" if kind is LinearTask else "rival"
    trainer = Trainer(toy_config(name, precision=Precision.fp16), Overflowing, tmp_path)
    metrics = trainer.fit()
    assert torch.isfinite(torch.tensor(metrics["score"]))
    assert any(scaler.get_scale() < 2.0**16 for scaler in trainer.precision.scalers.values())
    assert trainer.guard.skipped == 0


def test_bad_input_is_named(tmp_path: Path) -> None:
    """By its name where it has one, else by its place; the number in the data helps to find the file."""
    settings = toy_config("linear", stages={"s": StageConfig(batch_size=4, accumulate=2)})
    with pytest.raises(
        NonFiniteError, match=r"not finite: 'x' of sample 'sample 4' \(number 4 of the data\)\. No weig"
    ):
        Trainer(settings, lambda: build_toy(settings, poison=4), tmp_path / "a").fit()

    class Nameless(LinearTask):
        def segments(self, batch: dict[str, Any], ctx: StepContext) -> Any:
            yield Segment(x=batch["x"], y=batch["y"])

    with pytest.raises(NonFiniteError, match=r"'x' of sample \d of the batch \(number 4 of the data\)\."):
        Trainer(settings, lambda: Nameless(poison=4), tmp_path / "b").fit()


def test_good_input_is_not_blamed(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError) as caught:
        spoiled(tmp_path, "make").fit()
    assert "The data themselves" not in str(caught.value)


def test_where_input_is_not_finite() -> None:
    image = torch.zeros(2, 3, 4, 4)
    image[1, 2, 0, 0] = torch.inf
    whole = {"image": torch.zeros(2, 3, 4, 4), "label": torch.tensor([1, 2]), "lr": torch.tensor(1.0)}
    parts = [whole, {**whole, "image": image, "name": ["a", "b"], "more": {"w": torch.tensor([torch.nan, 0.0])}}]
    assert broken_inputs(parts) == [("image", 3, "b"), ("more.w", 2, "a")]


def test_streams_come_back() -> None:
    import random

    import numpy as np

    generator = torch.Generator().manual_seed(5)
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    state = copy.deepcopy(streams_state(generator))

    def draw() -> list[float]:
        return [
            torch.rand(1).item(),
            float(np.random.rand()),
            random.random(),
            torch.rand(1, generator=generator).item(),
        ]

    first = draw()
    assert draw() != first
    restore_streams(state, generator)
    assert draw() == first


def test_dumps_hold_plain_data() -> None:
    value = plain_tensors({"a": [torch.ones(2, requires_grad=True), None, 1], "b": object, "c": (True, "x")})
    assert not value["a"][0].requires_grad and value["a"][1:] == [None, 1]
    assert isinstance(value["b"], str) and value["c"] == (True, "x")


def test_a_missing_or_damaged_dump(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no rank0\.pt"):
        load_dump(tmp_path, 0, torch.device("cpu"))
    (tmp_path / "rank0.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_dump(tmp_path, 0, torch.device("cpu"))
