"""Whole runs on a card: compiled, in channels last, deterministic, killed and resumed in memory, evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.gpu_runs import BOTH, close, differing, make, moments, weights


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("model", ["vit", "vid2vid"])
def test_fp16_learns(tmp_path: Path, device: str, model: str) -> None:
    """Gradients are scaled, and overflows of the first steps skipped; the weights move and stay finite."""
    trainer = make(tmp_path, model, device, "trainer.precision=fp16", "trainer.max_steps=24")
    before = weights(trainer)
    trainer.fit()
    after = weights(trainer)
    assert all(bool(torch.isfinite(value).all()) for value in after.values())
    moved = {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert moved == set(trainer.networks)
    assert trainer.guard.skipped == 0


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("batch", [8, 2])  # two: fused attention would divide its keys among processors
def test_deterministic_runs_are_the_same_bit_by_bit(tmp_path: Path, device: str, batch: int) -> None:
    found = []
    words = ("trainer=deterministic", "trainer.max_steps=8", f"curriculum.stages.all.batch_size={batch}")
    for number in range(2):
        trainer = make(tmp_path / str(number), "vit", device, *words, "trainer.precision=fp32")
        trainer.fit()
        found.append(weights(trainer) | moments(trainer))
    torch.use_deterministic_algorithms(False)
    assert not differing(*found)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize(
    "words", [("model.flow=false",), ("model.flow=false", "optim.g.kind=sgd")], ids=["adam", "sgd"]
)
def test_channels_last_resumes_exactly(tmp_path: Path, device: str, words: tuple[str, ...]) -> None:
    """Moments have the layout of their weights again; a fused kernel would refuse them, or mix them up."""
    words = (*words, "trainer.channels_last=true", "trainer=deterministic", "trainer.precision=fp32")
    whole = make(tmp_path / "whole", "vid2vid", device, *words, "trainer.max_samples=6")
    whole.fit()
    make(tmp_path / "half", "vid2vid", device, *words, "trainer.max_samples=3").fit()
    again = make(tmp_path / "half", "vid2vid", device, *words, "trainer.max_samples=6")
    again.fit()
    torch.use_deterministic_algorithms(False)
    # The schedules of both are those of their own lengths: the first half differs, the layout is what counts.
    for optimizer in again.optimizers.values():
        for parameter, state in optimizer.state.items():
            for value in state.values():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    assert value.stride() == parameter.stride()
    assert again.step == whole.step


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo's own look at a block's input, hidden
@pytest.mark.parametrize("device", BOTH)
def test_a_compiled_run_learns_what_a_plain_one_does(tmp_path: Path, device: str) -> None:
    """Every stage is compiled once: a rehearsal of the same shapes, and the steps after it, add nothing."""
    words = ("trainer.max_steps=6", "augment.mixup=0", "augment.cutmix=0", "augment.erasing=0", "model.dropout=0")
    words = (*words, "trainer.precision=fp32", "trainer.tf32=false", "trainer.preflight=true")
    plain = make(tmp_path / "plain", "vit", device, *words)
    plain.fit()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = make(tmp_path / "compiled", "vit", device, *words, "trainer.compile=true")
    compiled.fit()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == 1, f"{graphs} graphs for one stage"
    expected = weights(plain)
    for name, value in weights(compiled).items():
        close(value, expected[name], 2e-2, 1e-4)  # Adam makes steps of rounding


@pytest.mark.parametrize("device", BOTH)
def test_videos_are_measured_as_on_the_cpu(tmp_path: Path, device: str) -> None:
    words = ("trainer.max_steps=2", "trainer.precision=fp32", "trainer.tf32=false", "trainer.eval_every=null")
    words = (
        *words,
        "data.val_clips=1",
        "data.val_frames=4",
        "optim.g.lr=1e-12",
        "optim.d_image.lr=1e-12",
        "optim.d_video.lr=1e-12",
    )
    found = [make(tmp_path / place, "vid2vid", place, *words).fit() for place in ("cpu", device)]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        if name != "frames_per_s":
            assert found[1][name] == pytest.approx(value, rel=2e-3, abs=2e-4), name


@pytest.mark.gpu
def test_a_run_that_crashed_goes_on_exactly(tmp_path: Path) -> None:
    """Data workers, pinned memory, the copying stream: a resumed run sees the same batches."""
    words = ("trainer=deterministic", "trainer.max_samples=96", "data.workers=2", "trainer.checkpoint_every=4")
    whole = make(tmp_path / "whole", "vit", "cuda", *words)
    whole.fit()

    class Crash(Exception):
        pass

    trainer = make(tmp_path / "half", "vit", "cuda", *words)
    original = trainer.task.losses

    def losses(phase, segment, ctx):  # type: ignore[no-untyped-def]
        if ctx.step == 7:
            raise Crash
        return original(phase, segment, ctx)

    trainer.task.losses = losses  # type: ignore[method-assign]
    with pytest.raises(Crash):
        trainer.fit()
    again = make(tmp_path / "half", "vit", "cuda", *words)
    again.fit()
    torch.use_deterministic_algorithms(False)
    assert again.step == whole.step == 12
    assert not differing(weights(whole) | moments(whole), weights(again) | moments(again))
