"""Noise on fed-back frames: what it is, who sees it, and that evaluation has none."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from tests.helpers.made_task import configured, make_trainer, one_batch
from tests.helpers.small_generator import L, images, make, source
from trainer.data.splitting import split_batch
from trainer.device.compute import Compute
from vid2vid.config import Vid2VidStage
from vid2vid.generate.rollout import Rollout
from vid2vid.model.feedback_noise import FeedbackNoise


def noise_of(std: float, seed: int) -> FeedbackNoise:
    return FeedbackNoise(std, torch.Generator().manual_seed(seed))


def test_noise_is_a_function_of_the_seed() -> None:
    history = [torch.zeros(3, 2, 3, 64, 64), torch.zeros(3, 2, 3, 128, 128)]
    noise = noise_of(0.1, 7)
    first, second = noise.like(history), noise.like(history)
    assert [tuple(x.shape) for x in first] == [(1, 2, 3, 64, 64), (1, 2, 3, 128, 128)]
    assert float(first[1].std()) == pytest.approx(0.1, rel=0.02) and abs(float(first[1].mean())) < 1e-3
    again = noise_of(0.1, 7)
    assert all(
        torch.equal(a, b) for a, b in zip([*again.like(history), *again.like(history)], [*first, *second], strict=True)
    )
    assert not torch.equal(first[0], second[0]) and not torch.equal(noise_of(0.1, 8).like(history)[0], first[0])


def test_networks_see_it_and_what_is_warped_stays_clean() -> None:
    """A generator that warps all and moves nothing hands the frame before on, whatever noise there is."""
    generator = make(flow_init=0.0, mask_bias=-1000.0)
    past = [images(L)]
    with torch.no_grad():
        clean, noisy = (generator(source(2 + L), past, noise=n) for n in (None, noise_of(0.5, 0)))
        start = generator(source(1 + L), past, first=True, noise=noise_of(0.5, 0))
        plain = generator(source(1 + L), past, first=True)
    torch.testing.assert_close(noisy.frames[:, 1], past[0][:, -1], rtol=0, atol=1e-5)
    torch.testing.assert_close(noisy.past[0][:, -1], noisy.frames[:, -1], rtol=0, atol=0)
    assert not torch.allclose(noisy.hallucination, clean.hallucination, atol=1e-3)
    assert torch.equal(start.frames, plain.frames), "grey in place of a picture gets none"


def test_recomputed_activations_see_the_same_noise() -> None:
    grads = []
    for checkpointing in (False, True):
        generator = make(scales=2, backprop_frames=3)
        generator.checkpointing = checkpointing
        out = generator(source(3 + L, 32, 64), noise=noise_of(0.2, 1))
        (out.frames.square().sum() + out.hallucination.abs().sum()).backward()
        grads.append([p.grad for p in generator.parameters()])
    for a, b in zip(*grads, strict=True):
        assert a is not None and b is not None
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


def test_the_task_adds_it_in_training_only_and_alike_for_every_split(tmp_path: Path) -> None:
    words = ["trainer.max_steps=1", "model.feedback_noise=0.2"]
    trainer, task = make_trainer(configured(*words, stages={"all": Vid2VidStage(frames=6, batch_size=2)}), tmp_path)
    batch, ctx = one_batch(trainer)

    def frames(part: dict) -> torch.Tensor:  # type: ignore[type-arg]
        with torch.no_grad():
            return torch.cat([task.passes.generate(piece, ctx).frames for piece in task.segments(part, ctx)], dim=1)

    whole = frames(batch)
    torch.testing.assert_close(whole, torch.cat([frames(part) for part in split_batch(batch, 2)]), rtol=0, atol=1e-3)
    ctx.samples_seen = 2
    assert not torch.allclose(frames(batch)[:, 1:], whole[:, 1:], atol=1e-4)
    rollout = Rollout(task.nets.generator, task.nets.encoder, Compute(torch.device("cpu"), nullcontext))
    made = [rollout.step({k: batch[k][0, t] for k in ("labels", "instances")})[1]["frame"] for t in range(6)]
    task.passes.model.feedback_noise = 0.0
    torch.testing.assert_close(torch.stack(made), frames(batch)[0], rtol=0, atol=2e-3)
