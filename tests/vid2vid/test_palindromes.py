"""Stages whose clips are played forth and back: which frame mirrors which, and the loss between them by hand."""

from pathlib import Path

import pytest
import torch

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.nonfinite.dump import load_dump, write_dump
from trainer.task import Segment
from vid2vid.config import Vid2VidStage
from vid2vid.losses import terms
from vid2vid.segments import WayBack, there_and_back


@pytest.mark.parametrize(("frames", "length"), [(4, 1), (6, 2), (6, 6), (8, 4), (10, 5), (12, 3), (14, 7), (20, 5)])
def test_each_frame_of_the_way_back_meets_its_mirror(frames: int, length: int) -> None:
    """Frames are their own numbers; segments reach the turn at any of theirs."""
    back, met = WayBack(frames), {}
    for start in range(0, frames, length):
        made = torch.arange(start, start + length, dtype=torch.float32).view(1, -1, 1, 1, 1).requires_grad_()
        segment = Segment(frames=length, **back.of(start, start + length))
        pair = there_and_back(segment, made)
        if pair is not None:
            assert pair[0].requires_grad and not pair[1].requires_grad
            met |= dict(zip(pair[0].flatten().tolist(), pair[1].flatten().tolist(), strict=True))
        back.keep(made.detach())
    assert met == {t: frames - 1 - t for t in range(frames // 2, frames)}


def test_the_loss_pulls_the_way_back_only() -> None:
    before, returned = (torch.full((1, 1, 3, 2, 2), value, requires_grad=True) for value in (0.25, 1.0))
    loss = terms.palindrome(returned, before)
    loss.backward()
    assert float(loss.detach()) == 0.75
    assert before.grad is None and returned.grad is not None and (returned.grad > 0).all()


@pytest.mark.parametrize("first", ["model", "real"])
def test_the_task_plays_its_clips_back(tmp_path: Path, first: str) -> None:
    """Six frames in segments of two: the second segment holds the turn, half of it counts."""
    words = ["trainer.max_steps=1", "model.lambda_palindrome=4", f"model.first_frame={first}"]
    stages = {"all": Vid2VidStage(frames=6, segment_frames=2, palindrome=True)}
    trainer, task = make_trainer(configured(*words, stages=stages), tmp_path)
    batch, ctx = one_batch(trainer)
    context = 2 if first == "real" else 0
    images = batch["images"][:, context:]
    assert batch["images"].shape[1] == context + 6 and torch.equal(images, images.flip(1))
    made, found = [], []
    for segment in task.segments(batch, ctx):
        found.append(float(task.losses("g", segment, ctx)["palindrome"].detach()))
        made += list(task.passes.generate(segment, ctx).frames.detach().unbind(1))
        segment.forget()
    gaps = [float((made[t] - made[5 - t]).abs().mean()) for t in range(3)]
    assert found == pytest.approx([0.0, 4 * gaps[2] / 2, 4 * (gaps[1] + gaps[0]) / 2], rel=1e-5)


def test_other_stages_have_no_such_loss(tmp_path: Path) -> None:
    trainer, task = make_trainer(configured("trainer.max_steps=1"), tmp_path)
    batch, ctx = one_batch(trainer)
    segment = next(task.segments(batch, ctx))
    assert "palindrome" not in task.losses("g", segment, ctx) and "returning" not in segment.data


def test_a_dumped_segment_loses_the_same_again(tmp_path: Path) -> None:
    """With everything that a segment draws or is handed: noise, augmentation, frames of the way forth."""
    words = ["model.feedback_noise=0.1", "model.diff_augment=[colour,shift,cutout]", "trainer.max_steps=1"]
    stages = {"all": Vid2VidStage(frames=4, segment_frames=2, palindrome=True)}
    trainer, task = make_trainer(configured(*words, stages=stages), tmp_path)
    batch, ctx = one_batch(trainer)
    for number, segment in enumerate(task.segments(batch, ctx)):
        about = {"step": 0, "samples_seen": 0, "stage": "all", "rank": 0, "phases": ["g"], "failed": "g", "weights": {}}
        write_dump(tmp_path / str(number), about | {"data": [segment.data]}, None)
        (again,) = load_dump(tmp_path / str(number), 0, torch.device("cpu")).segments
        losses, repeated = (task.losses("g", each, ctx) for each in (segment, again))
        assert all(torch.equal(losses[name].detach(), repeated[name].detach()) for name in losses) and "gan" in losses
