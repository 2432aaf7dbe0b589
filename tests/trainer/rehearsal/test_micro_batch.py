"""``trainer.micro_batch``: the global batch stays, what was found is kept, and nothing else changes."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.toys import LinearTask, RivalTask, build_toy, toy_config
from trainer.checkpoint.weights import network_tensors
from trainer.config.fields import Precision, StageConfig
from trainer.errors import ConfigError
from trainer.loop import Trainer
from trainer.rehearsal import micro_batch
from trainer.schedule import curriculum, stage_table
from trainer.task import Segment, Stage, StepContext


def stages(batch: int = 8) -> dict[str, StageConfig]:
    return {"short": StageConfig(frames=2, batch_size=batch), "long": StageConfig(start=0.5, frames=3, batch_size=4)}


def build(run_dir: Path, name: str = "rival", micro: str | None = "auto", task: Any = None, **config: Any) -> Trainer:
    quick = {"stages": stages(), "max_samples": 32, "checkpoint_every": 100, "eval_every": 0}
    settings = toy_config(name, **{**quick, "micro_batch": micro, **config})
    return Trainer(settings, task or (lambda: build_toy(settings)), run_dir)


def free(monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    monkeypatch.setattr(micro_batch, "available_memory", lambda: size)


def accumulate(trainer: Trainer) -> list[int]:
    return [stage.accumulate for stage in trainer.curriculum.stages]


def test_a_number_says_how_a_batch_is_cut(tmp_path: Path) -> None:
    assert accumulate(build(tmp_path, micro="2")) == [4, 2]
    assert accumulate(build(tmp_path, micro="8")) == [1, 1]  # more than the second stage has: all of it at once
    by_hand = stages()
    by_hand["short"].accumulate, by_hand["long"].accumulate = 4, 2
    ends = []
    for folder, micro, table in (("a", "2", stages()), ("b", None, by_hand)):
        trainer = build(tmp_path / folder, micro=micro, stages=table)
        trainer.fit()
        ends.append(network_tensors(trainer.networks))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize(
    ("micro", "message"),
    [
        ("3", r"trainer\.micro_batch=3 does not divide the 8 samples .*these do: 1, 2, 4, 8; or auto"),
        ("0", r"trainer\.micro_batch=0: give auto, the samples"),
        ("many", r"trainer\.micro_batch=many: give auto"),
        ("2.5", r"trainer\.micro_batch=2\.5"),
    ],
)
def test_what_it_cannot_be(tmp_path: Path, micro: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, micro=micro)


def test_it_counts_the_samples_of_a_process() -> None:
    config = toy_config(stages=stages(), micro_batch="2")
    table = curriculum.resolve(config, 2, lambda stage: 1)
    assert [stage.accumulate for stage in table.stages] == [2, 1]
    config.trainer.micro_batch = "auto"
    assert stage_table.problems(config, 3)[0].endswith("cannot be split over 3 process(es): it must be divisible by 3")


@pytest.mark.slow
def test_plenty_of_memory_takes_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = build(tmp_path / "auto")
    trainer.fit()
    assert accumulate(trainer) == [1, 1]
    said = capsys.readouterr().out
    assert (
        "micro-batch of stage short: 8 of the 8 samples of a process and batch (accumulate=1): it needs about" in said
    )
    assert re.search(r"pace of the trials: short [\d.e+]+, long [\d.e+]+ samples/s; ETA at most about \d+ s\n", said)
    plain = build(tmp_path / "plain", micro=None)
    plain.fit()
    one, two = network_tensors(trainer.networks), network_tensors(plain.networks)
    assert all(torch.equal(one[name], two[name]) for name in one)  # finding it left no trace


@pytest.mark.slow
def test_little_memory_takes_less_and_the_same_global_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counting(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            seen.append(len(segment["x"]))
            return super().losses(phase, segment, ctx)

    whole = build(tmp_path / "whole", micro=None, ema=None)
    whole.fit()
    free(monkeypatch, None)
    with pytest.raises(ConfigError, match=r"micro_batch=auto: this system does not tell how much memory is free"):
        build(tmp_path / "unknown").fit()
    sizes = []
    for size in (600, 4_000, 20_000):
        free(monkeypatch, size)
        trainer = build(tmp_path / str(size), task=Counting, ema=None)
        seen.clear()
        trainer.fit()
        share = [8, 4]
        sizes.append([n // a for n, a in zip(share, accumulate(trainer), strict=True)])
        assert set(seen[-12:]) == {sizes[-1][1]}
        for name, value in network_tensors(trainer.networks).items():
            if name != "maker.mean":
                torch.testing.assert_close(value, network_tensors(whole.networks)[name], rtol=1e-8, atol=1e-10)
    assert sizes[0] == [1, 1] and sizes == sorted(sizes) and sizes[-1] == [8, 4] and len({n for n, _ in sizes}) == 3


@pytest.mark.slow
def test_too_little_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free(monkeypatch, 600)
    build(tmp_path).fit()
    assert "that is too little, the system may end the run" in capsys.readouterr().out


class Crash(Exception):
    pass


KEPT = {"checkpoint_every": 8, "eval_every": None}


def crashed(run_dir: Path, step: int) -> None:
    class Crashing(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            if ctx.step == step:
                raise Crash
            return super().losses(phase, segment, ctx)

    with pytest.raises(Crash):
        build(run_dir, task=lambda: Crashing(noise=0.1), **KEPT).fit()


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 9])
def test_resuming_keeps_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Before the first checkpoint and after it, whatever is free by then."""
    free(monkeypatch, 4_000)

    def noisy() -> RivalTask:
        return RivalTask(noise=0.1)

    undisturbed = build(tmp_path / "undisturbed", task=noisy, **KEPT)
    undisturbed.fit()
    assert accumulate(undisturbed)[0] > 1
    crashed(tmp_path / "crashed", step)
    free(monkeypatch, 2**40)
    again = build(tmp_path / "crashed", task=noisy, **KEPT)
    again.fit()
    assert accumulate(again) == accumulate(undisturbed)
    assert_same(outcome(tmp_path / "undisturbed"), outcome(tmp_path / "crashed"))
    if step == 9:  # the checkpoint alone tells it too
        (tmp_path / "crashed" / micro_batch.FILE).unlink()
        build(tmp_path / "crashed", task=noisy, max_samples=36).fit()
        assert not (tmp_path / "crashed" / micro_batch.FILE).exists()


@pytest.mark.slow
def test_another_batch_or_a_new_start_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 4_000)
    build(tmp_path).fit()
    free(monkeypatch, 2**40)
    larger = build(tmp_path, stages=stages(batch=16), max_samples=64)
    larger.fit()
    assert accumulate(larger) == [1, 1]
    assert json.loads((tmp_path / micro_batch.FILE).read_text())["short"]["samples"] == 16
    anew = build(tmp_path, resume="never")
    anew.fit()
    assert accumulate(anew) == [1, 1]


@pytest.mark.slow
def test_what_was_found_for_another_run_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was killed before its first checkpoint; the network may have been another."""
    free(monkeypatch, 2**40)
    crashed(tmp_path, 2)
    assert not (tmp_path / "checkpoints").exists()
    free(monkeypatch, 4_000)
    other = build(tmp_path, precision=Precision.bf16, checkpoint_every=8)
    other.fit()
    assert accumulate(other)[0] > 1


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / micro_batch.FILE).write_text("{")
    with pytest.raises(ConfigError, match=r"micro_batch\.json is no JSON .*remove it"):
        build(tmp_path).fit()


@pytest.mark.slow
def test_by_trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, with a card that takes three samples."""
    tried: list[int] = []

    class Large(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            tried.append(len(segment["y"]))
            if len(segment["y"]) > 3:
                raise torch.OutOfMemoryError("pretended")
            return super().losses(phase, segment, ctx)

    card = {"mem_get_info": (50, 100), "memory_reserved": 0, "max_memory_reserved": 1, "max_memory_allocated": 1}
    card["get_per_process_memory_fraction"] = 1.0
    for name, value in card.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(micro_batch, "_by_measuring", micro_batch._by_trying)
    trainer = build(tmp_path / "a", "linear", task=Large)
    trainer.fit()
    assert accumulate(trainer) == [4, 2] and tried[:4] == [2, 8, 4, 2]
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 49)  # fits, with too little room
    with pytest.raises(ConfigError, match=r"micro_batch=auto: a step of stage short .*smallest micro-batch"):
        build(tmp_path / "b", "linear", task=Large).fit()
    # A process that may have 40 of the card's 100 keeps 8 % of these free, not of the card.
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.4)
    for reserved, fits in ((36, True), (37, False)):
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device, reserved=reserved: reserved)
        capped = build(tmp_path / f"c{reserved}", "linear", task=Large)
        with contextlib.nullcontext() if fits else pytest.raises(ConfigError, match="smallest micro-batch"):
            capped.fit()


def test_running_out_of_memory_suggests_it(tmp_path: Path) -> None:
    class Large(RivalTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            raise torch.OutOfMemoryError("pretended")

    for preflight in (False, True):
        with pytest.raises(ConfigError, match=r"micro_batch=4, .*micro_batch=auto, which finds what fits"):
            build(tmp_path / str(preflight), micro=None, task=Large, preflight=preflight).fit()
    with pytest.raises(ConfigError, match=r"even with the smallest micro-batch"):
        build(tmp_path / "auto", task=Large).fit()


def test_evaluation_has_no_more_at_once(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Looking(LinearTask):
        def evaluate(self, loader: Any, ctx: StepContext) -> dict[str, tuple[float, float]]:
            batches = list(loader)
            sizes.extend(len(batch["x"]) for batch in batches)
            return super().evaluate(batches, ctx)

    build(tmp_path / "a", "linear", micro="2", task=Looking, eval_every=None).fit()
    assert set(sizes) == {2}


def test_the_dry_run_says_that_it_is_not_known_yet(tmp_path: Path) -> None:
    assert "accumulate is found when the run starts" in build(tmp_path).dry_run()


def test_the_facts_of_a_choice() -> None:
    stage = Stage(0, "s", 0, (4, 8), 2, 8, 1, ("*",), StageConfig())
    kept = {"samples": 4, "share": 8, "resolution": [4, 8], "frames": 2}
    assert micro_batch._fits(kept, stage, 1) and not micro_batch._fits(kept, stage, 2)
    assert not micro_batch._fits(None, stage, 1) and not micro_batch._fits({**kept, "frames": 3}, stage, 1)


@pytest.mark.gpu
def test_on_a_card(tmp_path: Path) -> None:
    from trainer.config.fields import DeviceKind

    class Large(LinearTask):
        def losses(self, phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
            x = segment["x"].float().mean(dim=1)[:, :1].expand(-1, self.size).contiguous().requires_grad_()
            return {"large": x.exp().mean().double() * 0.0, **super().losses(phase, segment, ctx)}

    total = torch.cuda.mem_get_info()[0]
    Large.size = total // 4 // 16  # type: ignore[attr-defined]  # 3 or 4 tensors of it: 8 samples do not fit, 2 do
    trainer = build(tmp_path, "linear", task=Large, device=DeviceKind.cuda, max_samples=16)
    trainer.fit()
    assert accumulate(trainer)[0] in (2, 4)
