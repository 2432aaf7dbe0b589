"""R1 and R2: right values, right second derivatives, whatever computes the discriminator, and when they are due."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.helpers.small_runs import COMMON
from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.loop import Trainer
from vid2vid.config import Norm
from vid2vid.losses.penalties import squared_gradient
from vid2vid.model import MultiscaleDiscriminator
from vid2vid.model.sharing import SharedDiscriminator


def discriminator(norm: Norm = Norm.instance) -> MultiscaleDiscriminator:
    torch.manual_seed(0)
    return MultiscaleDiscriminator(5, 4, scales=2, layers=2, norm=norm)


def by_hand(network: MultiscaleDiscriminator, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sample by sample, with the labels in the input."""
    total = x.new_zeros(())
    for sample, label in zip(x, labels, strict=True):
        frame = sample[None].clone().requires_grad_()
        for features in network(torch.cat([label[None], frame], dim=1)):
            (gradient,) = torch.autograd.grad(features[-1].sum(), frame, create_graph=True)
            total = total + gradient.square().sum() / features[-1].numel() / len(x)
    return total


@pytest.mark.parametrize("norm", list(Norm))
def test_value_and_second_derivatives(norm: Norm) -> None:
    network = discriminator(norm)
    x, labels = torch.randn(3, 3, 16, 24), torch.rand(3, 2, 16, 24)
    value = squared_gradient(lambda frames: network(frames, condition=labels), x)
    expected = by_hand(network, x, labels)
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-4) and float(value.detach()) > 0
    weights = [p for p in network.parameters() if p.ndim == 4]
    for ours, theirs in zip(torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["bf16", "large"])
def test_the_faster_kernels_and_half_precision_change_nothing(name: str) -> None:
    """They are not made to be differentiated twice."""
    network = discriminator()
    size = (128, 128) if name == "large" else (16, 24)
    x, labels = torch.randn(1, 3, *size), torch.rand(1, 2, *size)
    plain = squared_gradient(lambda frames: network(frames, condition=labels), x)
    with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
        shared = SharedDiscriminator(network, x, [x], condition=labels)
        inside = squared_gradient(shared.predict, shared.inputs[0])
    weight = network.get_submodule("scale0").layers[0].conv.weight
    assert inside.dtype is torch.float32 and torch.equal(inside, plain)
    assert torch.equal(torch.autograd.grad(inside, weight)[0], torch.autograd.grad(plain, weight)[0])


def test_each_input_counts_as_it_is_weighted() -> None:
    network = discriminator()
    x, labels = torch.randn(2, 3, 16, 24), torch.rand(2, 2, 16, 24)
    alone = squared_gradient(lambda frames: network(frames, condition=labels[:1]), x[:1])
    weighted = squared_gradient(lambda frames: network(frames, condition=labels), x, torch.tensor([2.0, 0.0]))
    assert float(weighted.detach()) == pytest.approx(float(alone.detach()), rel=1e-5)


def test_the_condition_among_the_channels_is_not_penalised() -> None:
    """D_V's flows: what stays the same of real and generated windows."""
    network = discriminator()
    x, labels = torch.randn(3, 3, 16, 24), torch.rand(3, 2, 16, 24)
    apart = squared_gradient(lambda frames: network(torch.cat([frames, labels], dim=1)), x)
    joined = squared_gradient(network, torch.cat([x, labels], dim=1), judged=3)
    assert float(joined.detach()) == pytest.approx(float(apart.detach()), rel=1e-5)
    assert float(squared_gradient(network, torch.cat([x, labels], dim=1)).detach()) > 1.1 * float(joined.detach())


def run(folder: Path, *words: str) -> Trainer:
    base = ["model=vid2vid_tiny", "trainer.max_steps=4", "trainer.checkpoint_every=100"]
    config = compose([*COMMON, *base, *words], SCHEMAS)
    return Trainer(config, lambda: build_task(config), folder)


def test_every_discriminator_gets_them_in_every_segment_alike(tmp_path: Path) -> None:
    """One in four, drawn for each by itself: no discriminator's penalties always meet the same segment of a clip."""
    trainer = run(tmp_path, "model.r1_gamma=1", "model.penalty_every=4", "model.temporal_scales=2")
    passes = trainer.task.passes  # pyright: ignore[reportAttributeAccessIssue]
    due: Counter[tuple[str, int, int]] = Counter()
    with trainer.session():
        trainer.begin()
        trainer.enter(trainer.curriculum.stages[0])
        ctx = trainer.context()
        for clip in range(2000):
            ctx.samples_seen = clip
            for start in (0, 3):
                drawn = passes.drawn(start, ctx)["penalised"]
                assert drawn == passes.drawn(start, ctx)["penalised"]
                due.update((phase, i, start) for phase, row in drawn.items() for i, now in enumerate(row) if now)
        ctx.rehearsing = True
        assert all(all(row) for row in passes.drawn(0, ctx)["penalised"].values())
    assert set(due) == {("d_image", 0, 0), ("d_image", 0, 3)} | {("d_video", i, s) for i in (0, 1) for s in (0, 3)}
    assert all(400 < count < 600 for count in due.values())


def test_trained_with(tmp_path: Path) -> None:
    words = ("model.gan=relativistic", "model.r1_gamma=0.02", "model.r2_gamma=0.02", "model.penalty_every=1")
    trainer = run(tmp_path, *words)
    seen: list[dict[str, float]] = []
    task, losses = trainer.task, trainer.task.losses

    def noted(phase, segment, ctx):
        found = losses(phase, segment, ctx)
        if phase == "d_image":
            shared = task.passes.image_discriminator(segment, ctx)  # pyright: ignore[reportAttributeAccessIssue]
            values = [squared_gradient(shared.predict, x).detach() for x in shared.inputs]
            assert float(found["r1"].detach()) == pytest.approx(0.01 * float(values[0]))
            assert float(found["r2"].detach()) == pytest.approx(0.01 * float(sum(values[1:])) / len(values[1:]))
            seen.append({name: float(value.detach()) for name, value in found.items()})
        if phase == "d_video" and found:
            (shared,) = task.passes.video_discriminators(segment, ctx)  # pyright: ignore[reportAttributeAccessIssue]
            real, frames = shared.inputs[0], 3 * task.config.model.video_discriminator_frames  # pyright: ignore
            assert real.shape[1] == frames + 2 * (frames // 3 - 1)
            value = squared_gradient(shared.predict, real, judged=frames)
            assert float(found["r1"].detach()) == pytest.approx(0.01 * float(value.detach()))
            windows.append(len(real))
        return found

    windows: list[int] = []
    task.losses = noted
    trainer.fit()
    assert windows and len(seen) == 4 and all(each["r1"] > 0 and each["r2"] > 0 for each in seen)
    assert all(each["real"] == each["fake"] > 0 for each in seen)
