"""What a segment is compared with, against the whole clip by hand: frames, flow and windows of the right moment."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.made_task import configured, make_trainer, one_batch
from vid2vid.config import Vid2VidStage
from vid2vid.flow.estimate import compose_flow
from vid2vid.losses.objective import motion_losses
from vid2vid.model.warp import warp


def signed(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def masked(a: Tensor, b: Tensor, mask: Tensor) -> float:
    return float(F.l1_loss(a * mask, b * mask))


@pytest.mark.parametrize("first", ["model", "real", "image", "zeros"])
@pytest.mark.parametrize("segment", [1, 2, 3])
def test_motion_losses_of_every_segment(tmp_path: Path, first: str, segment: int) -> None:
    words = ["trainer.max_steps=1", f"model.first_frame={first}", "model.lambda_mask=1", "model.lambda_flow=2"]
    words += ["model.lambda_flow_warp=3", "model.lambda_output_warp=4", "model.flow_init=1", "model.backprop_frames=1"]
    config = configured(*words, stages={"all": Vid2VidStage(frames=6, segment_frames=segment)})
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    context = 2 if first == "real" else 0
    real, flow, trusted = signed(batch["images"]), batch["flow"].float(), batch["confidence"].float()
    assert real.shape[1] == 6 + context and trusted[:, 1:].mean() > 0.3 and not trusted[:, 0].any()
    made = [real[:, t] for t in range(context)]
    start = context
    for piece in task.segments(batch, ctx):
        with torch.no_grad():
            out = task.passes.generate(piece, ctx)
            found = motion_losses(task.passes, piece, out, ctx)
        assert out.flow is not None and out.mask is not None
        made += list(out.frames.unbind(1))
        parts = {"flow": 0.0, "flow_warp": 0.0, "mask": 0.0, "output_warp": 0.0}
        for i, t in enumerate(range(start, start + segment)):
            mask = trusted[:, t]
            before = real[:, t - 1] if t else torch.zeros_like(real[:, 0])
            generated = made[t - 1] if t else torch.zeros_like(real[:, 0])
            parts["flow"] += 2 * masked(out.flow[:, i], flow[:, t], mask) / segment
            parts["flow_warp"] += 3 * masked(warp(before, out.flow[:, i]), real[:, t], mask) / segment
            parts["mask"] += masked(out.mask[:, i], torch.zeros_like(mask), mask) / segment
            parts["output_warp"] += 4 * masked(made[t], warp(generated, flow[:, t]), mask) / segment
        assert {k: float(v) for k, v in found.items()} == pytest.approx(parts, rel=1e-4, abs=1e-6), start
        start += segment
    assert start == 6 + context


@pytest.mark.parametrize("first", ["model", "real"])
@pytest.mark.parametrize("segment", [2, 3, 5])
def test_windows_of_every_segment(tmp_path: Path, first: str, segment: int) -> None:
    """Frames of a window lie K^s apart; its flow leads from each to the one before, over all frames between."""
    words = ["trainer.max_steps=1", f"model.first_frame={first}", "model.temporal_scales=2"]
    config = configured(*words, stages={"all": Vid2VidStage(frames=30 // segment * segment, segment_frames=segment)})
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    real, flow = signed(batch["images"]), batch["flow"].float()
    context, seen = (2 if first == "real" else 0), {0: 0, 1: 0}
    made, stop = real[:, :context], context
    with torch.no_grad():
        for piece in task.segments(batch, ctx):
            out = task.passes.generate(piece, ctx)
            made, stop = torch.cat([made, out.frames], dim=1), stop + segment
            for scale, spacing in enumerate((1, 3)):
                windows = task.passes.windows(piece, out, scale)
                ends = range(stop - 1 - piece["window_phases"][scale], stop - 1 - segment, -3)
                ends = [end for end in ends if end - 2 * spacing >= 0]
                assert (0 if windows is None else len(windows.real)) == len(ends) * len(real)
                if windows is None:
                    continue
                for number, end in enumerate(ends):
                    here = slice(number * len(real), (number + 1) * len(real))
                    times = [end - 2 * spacing, end - spacing, end]
                    assert torch.equal(windows.real[here], real[:, times])
                    assert torch.equal(windows.fake[here], made[:, times])
                    for i, t in enumerate(times[1:]):
                        total = flow[:, t]
                        for back in range(1, spacing):
                            total = compose_flow(total, flow[:, t - back])
                        assert torch.equal(windows.flow[here][:, i], total)
                    seen[scale] += 1
    assert min(seen.values()) >= 5
