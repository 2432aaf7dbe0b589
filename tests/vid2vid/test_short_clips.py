"""Clips and segments of fewer frames than the video discriminator sees: the image warm-up, the least memory."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.checkpoint.weights import network_tensors
from trainer.task import Stage
from vid2vid import segments
from vid2vid.config import Vid2VidStage


def stages(frames: int, segment: int) -> dict[str, Vid2VidStage]:
    return {"all": Vid2VidStage(frames=frames, segment_frames=segment)}


@pytest.mark.parametrize("segment", [1, 2, 3])
def test_a_clip_is_the_same_whatever_its_segments(tmp_path: Path, segment: int) -> None:
    config = configured("trainer.max_steps=1", stages=stages(6, segment))
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    made, targets, starts = [], [], []
    with torch.no_grad():
        for piece in task.segments(batch, ctx):
            made.append(task.passes.generate(piece, ctx).frames)
            targets.append(segments.real(piece))
            starts.append(piece["first"])
        whole = task.nets.generator(
            torch.cat([task.nets.encoder.encode(batch)[:, :1]] * 2 + [task.nets.encoder.encode(batch)], dim=1),
            foreground=task.nets.encoder.foreground_mask(batch),
        )
    assert starts == [True] + [False] * (6 // segment - 1)
    torch.testing.assert_close(torch.cat(made, dim=1), whole.frames, rtol=0, atol=1e-4)
    assert torch.equal(torch.cat(targets, dim=1), batch["images"].float() / 127.5 - 1)


def fed_windows(tmp_path: Path, frames: int, segment: int) -> list[list[int]]:
    """How many windows each temporal scale gets in each segment."""
    config = configured("trainer.max_steps=1", "model.temporal_scales=2", stages=stages(frames, segment))
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    found = []
    for piece in task.segments(batch, ctx):
        judged = [task.passes.windows(piece, task.passes.generate(piece, ctx), scale) for scale in range(2)]
        found.append([0 if windows is None else len(windows.real) for windows in judged])
    return found


def test_every_new_frame_ends_a_window_where_segments_have_one_frame(tmp_path: Path) -> None:
    # Spacing 1 spans 3 frames, spacing 3 spans 7.
    assert fed_windows(tmp_path, 8, 1) == [[0, 0]] * 2 + [[1, 0]] * 4 + [[1, 1]] * 2


def test_a_clip_of_single_frames_has_a_loss_of_pictures_alone(tmp_path: Path) -> None:
    config = configured("trainer.max_steps=1", "model.r1_gamma=0", "model.r2_gamma=0", stages=stages(1, 1))
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    (piece,) = task.segments(batch, ctx)
    assert batch["images"].shape[1] == 1
    assert task.losses("d_video", piece, ctx) == {}
    assert set(task.losses("d_image", piece, ctx)) == {"real", "fake"}
    losses = {name: float(value.detach()) for name, value in task.losses("g", piece, ctx).items()}
    motion = {name for name in losses if name.startswith(("gan_video", "feature_video", "flow", "output_warp", "mask"))}
    assert len(motion) >= 6 and all(losses[name] == 0 for name in motion)
    assert losses["gan"] > 0 and losses["feature"] > 0
    out = task.passes.generate(piece, ctx)
    assert torch.equal(out.frames, out.hallucination)


@pytest.mark.parametrize(("frames", "segment"), [(6, 1), (4, 2), (6, 2)])
def test_short_segments_train_all_networks(tmp_path: Path, frames: int, segment: int) -> None:
    config = configured("trainer.max_samples=1", stages=stages(frames, segment))
    trainer, _ = make_trainer(config, tmp_path)
    before = {name: x.detach().clone() for name, x in network_tensors(trainer.networks).items()}
    trainer.fit()
    assert trainer.step == frames // segment
    for network in ("generator.scale0.flow", "generator.scale0.past", "d_image", "d_video.0"):
        assert any(not torch.equal(before[k], x) for k, x in trainer_tensors(trainer) if k.startswith(network)), network
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert ["d_video/real" in record["losses"] for record in records] == [
        (step + 1) * segment >= 3 for step in range(frames // segment)
    ]


def trainer_tensors(trainer) -> list[tuple[str, Tensor]]:  # type: ignore[no-untyped-def]
    return list(network_tensors(trainer.networks).items())


def test_pictures_first_then_clips(tmp_path: Path) -> None:
    """An image-only warm-up: whatever needs a past or a window of frames waits for the clips."""
    table = {"pictures": Vid2VidStage(frames=1, segment_frames=1), "clips": Vid2VidStage(start=0.5, frames=6)}
    trainer, task = make_trainer(configured("trainer.max_samples=4", stages=table), tmp_path)
    snapshots: dict[str, dict[str, Tensor]] = {}
    original = task.on_stage

    def on_stage(stage: Stage) -> None:
        snapshots[stage.name] = {name: x.detach().clone() for name, x in network_tensors(trainer.networks).items()}
        original(stage)

    task.on_stage = on_stage  # type: ignore[method-assign]
    trainer.fit()
    snapshots["end"] = network_tensors(trainer.networks)

    def moved(start: str, end: str, part: str) -> bool:
        names = [name for name in snapshots[start] if name.startswith(part)]
        assert names
        return any(not torch.equal(snapshots[start][name], snapshots[end][name]) for name in names)

    waits = ("generator.scale0.past", "generator.scale0.flow", "d_video")
    assert not any(moved("pictures", "clips", part) for part in waits)
    for part in ("generator.scale0.labels", "generator.scale0.hallucination", "generator.scale0.foreground", "d_image"):
        assert moved("pictures", "clips", part), part
    for part in ("generator.scale0.past", "generator.scale0.flow", "d_video.0"):
        assert moved("clips", "end", part), part
    assert trainer.step == 2 + 2 * 2
