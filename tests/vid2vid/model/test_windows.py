"""Where the video discriminators' windows begin: over all phases every pair of neighbouring frames is judged."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.helpers.made_task import configured, make_trainer, one_batch
from tests.helpers.small_generator import images
from trainer.data.splitting import split_batch
from trainer.nonfinite.dump import plain_tensors
from vid2vid.config import Vid2VidStage
from vid2vid.model.windows import buffer_frames, temporal_windows, window_frames, window_phases


def windows(clip: int, segment: int, frames: int, scale: int, phase: int) -> list[list[int]]:
    """The frames of every window of a clip that is trained segment by segment, as the task keeps its buffers."""
    history, found = buffer_frames(frames, scale + 1), []
    for start in range(0, clip, segment):
        stop = start + segment
        numbers = torch.arange(max(0, start - history), stop, dtype=torch.float32)
        buffer = numbers.view(1, -1, 1, 1, 1).expand(1, -1, 3, 1, 1)
        flow = buffer[:, :, :2]
        made = temporal_windows(buffer, buffer, flow, segment, frames, scale, lambda a, b, f=flow: f[:, a], phase)
        if made is not None:
            found += [[int(x) for x in window[:, 0, 0, 0]] for window in made.fake]
    return found


def pairs(found: list[list[int]]) -> set[tuple[int, int]]:
    return {pair for window in found for pair in itertools.pairwise(window)}


def test_of_29_pairs_all_are_judged() -> None:
    """Aligned with segments of three frames, the nine pairs across borders are in no window."""
    by_phase = [pairs(windows(30, 3, 3, 0, phase)) for phase in range(3)]
    assert window_phases(30, 3, 3, 0) == 3
    assert by_phase[0] == {(t, t + 1) for t in range(29) if t % 3 != 2} and len(by_phase[0]) == 20
    assert set.union(*by_phase) == {(t, t + 1) for t in range(29)}
    assert [len(x) for x in by_phase] == [20, 18, 18]


@pytest.mark.parametrize("scale", [0, 1, 2])
@pytest.mark.parametrize("frames", [2, 3])
@pytest.mark.parametrize("segment", [1, 2, 3, 4, 6])
def test_over_all_phases_every_frame_that_can_ends_one_window(segment: int, frames: int, scale: int) -> None:
    span = window_frames(frames, scale)
    for clip in range(segment, 31, segment):
        count = window_phases(clip, segment, frames, scale)
        found = [windows(clip, segment, frames, scale, phase) for phase in range(count)]
        ends = Counter(window[-1] for part in found for window in part)
        assert ends == Counter(range(span - 1, clip)), (clip, segment)
        assert all(found) or clip < span, "no phase leaves a clip without a window"
        spacing = frames**scale
        if clip >= 2 * span:  # in a shorter clip no window at all holds some pairs of a wide spacing
            assert set.union(*map(pairs, found)) == {(t, t + spacing) for t in range(clip - spacing)}


def test_the_phase_is_drawn_anew_for_every_batch_and_alike_for_its_parts(tmp_path: Path) -> None:
    table = {"all": Vid2VidStage(frames=24, batch_size=2)}
    words = ["trainer.max_samples=60", "model.temporal_scales=3"]
    trainer, task = make_trainer(configured(*words, stages=table), tmp_path)
    batch, ctx = one_batch(trainer)
    drawn = []
    for ctx.samples_seen in range(0, 600, 2):
        for ctx.rank, ctx.step in ((0, 0), (1, 5)):
            phases = task.passes.window_phases(ctx)
            assert phases == task.passes.window_phases(ctx)
            drawn.append(tuple(phases))
        assert drawn[-1] == drawn[-2], "whatever the process and the step"
    counts = Counter(drawn)
    assert len(counts) == 27 and max(counts.values()) < 6 * min(counts.values())

    ctx.samples_seen = 0
    whole = [piece["window_phases"] for piece in segments(task, batch, ctx)]
    assert len(whole) == 8 and all(phases == whole[0] for phases in whole)
    for part in split_batch(batch, 2):
        assert [piece["window_phases"] for piece in segments(task, part, ctx)] == whole


def test_real_frames_before_the_clip_leave_room_for_phases(tmp_path: Path) -> None:
    """2 real and 6 generated frames hold two windows of 7 frames, and 3 phases of windows of 3 frames."""
    words = ["trainer.max_steps=1", "model.temporal_scales=2", "model.first_frame=real"]
    trainer, task = make_trainer(configured(*words, stages={"all": Vid2VidStage(frames=6)}), tmp_path)
    _, ctx = one_batch(trainer)
    drawn = set()
    for ctx.samples_seen in range(60):
        drawn.add(tuple(task.passes.window_phases(ctx)))
    assert drawn == {(near, far) for near in range(3) for far in range(2)}


def segments(task, batch, ctx):  # type: ignore[no-untyped-def]
    with torch.no_grad():
        yield from task.segments(batch, ctx)


def test_a_dump_holds_the_phase(tmp_path: Path) -> None:
    """What trainer.replay computes again is what was computed."""
    trainer, task = make_trainer(configured("trainer.max_steps=1"), tmp_path)
    batch, ctx = one_batch(trainer)
    ctx.samples_seen = next(n for n in range(100) if _phase(task, ctx, n) > 0)
    *_, last = segments(task, batch, ctx)
    stored = plain_tensors(last.data)
    assert stored["window_phases"] == last["window_phases"] and stored["window_phases"][0] > 0
    del last.data["window_phases"]  # as in dumps of earlier versions
    out = task.passes.generate(last, ctx)
    assert task.passes.windows(last, out, 0) is not None


def _phase(task, ctx, samples_seen: int) -> int:  # type: ignore[no-untyped-def]
    ctx.samples_seen = samples_seen
    return task.passes.window_phases(ctx)[0]


def test_windows_of_the_task_cross_the_border_of_segments(tmp_path: Path) -> None:
    trainer, task = make_trainer(configured("trainer.max_steps=1"), tmp_path)
    batch, ctx = one_batch(trainer)
    ctx.samples_seen = next(n for n in range(100) if _phase(task, ctx, n) == 1)
    first, second = list(segments(task, batch, ctx))[:2]
    assert task.passes.windows(first, task.passes.generate(first, ctx), 0) is None
    made = task.passes.windows(second, task.passes.generate(second, ctx), 0)
    assert made is not None
    real = batch["images"][:, 2:5].float() / 127.5 - 1  # the last frame of the first segment and two of the second
    assert torch.equal(made.real, real)
    assert torch.equal(made.flow, batch["flow"][:, 3:5].float())


def test_windows_spans_and_inputs():
    """For 10 frames scale 0 spans 2 frames back, scale 1 spans 6, scale 2 needs 19."""
    assert [window_frames(3, s) for s in range(3)] == [3, 7, 19]
    assert buffer_frames(3, 3) == 18
    frames = images(10)
    flow = torch.arange(10.0)[None, :, None, None, None].expand(1, 10, 2, 16, 32)
    zero = temporal_windows(frames, -frames, flow, 10, 3, 0)
    assert zero is not None and zero.real.shape == (3, 3, 3, 16, 32)
    torch.testing.assert_close(zero.real[0], frames[0, 7:], rtol=0, atol=0)
    assert zero.flow[0, :, 0, 0, 0].tolist() == [8, 9]
    assert zero.real_input().shape == (3, 13, 16, 32)
    assert zero.real_input()[0, -1, 0, 0] == pytest.approx(9 / 20)
    torch.testing.assert_close(zero.fake_input()[:, :9], -zero.real_input()[:, :9], rtol=0, atol=0)

    one = temporal_windows(frames, frames, flow, 10, 3, 1, lambda a, b: flow[:, a] - flow[:, b])
    assert one is not None and one.real.shape[0] == 2
    torch.testing.assert_close(one.real[0], frames[0, [3, 6, 9]], rtol=0, atol=0)
    assert (one.flow == 3).all()
    assert temporal_windows(frames, frames, flow, 10, 3, 2, lambda a, b: flow[:, a]) is None
    with pytest.raises(ValueError, match="long_flow"):
        temporal_windows(frames, frames, flow, 10, 3, 1)


@pytest.mark.parametrize(("new", "windows"), [(1, 1), (3, 1), (4, 2), (10, 3)])
def test_at_most_one_window_for_each_new_frame(new, windows):
    frames = images(10)
    made = temporal_windows(frames, frames, frames[:, :, :2], new, 3, 0)
    assert made is not None and made.real.shape[0] == windows


def test_windows_of_several_clips_do_not_mix():
    frames = images(4, batch=2)
    made = temporal_windows(frames, frames, frames[:, :, :2], 4, 3, 0)
    assert made is not None and made.real.shape[0] == 2
    torch.testing.assert_close(made.real[1], frames[1, 1:], rtol=0, atol=0)
