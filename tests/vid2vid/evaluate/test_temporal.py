"""tOF and tLP: known motion, and what each does not see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.errors import DataError
from vid2vid.config import DataConfig, FlowMethod, Vid2VidConfig
from vid2vid.evaluate.chosen import build_clip_metrics
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.temporal import TemporalDifference, flow_difference, perceptual_difference

CPU = torch.device("cpu")


def moving(step: float, frames: int = 4, size: int = 64) -> Tensor:
    """A smooth texture that moves to the right by so many pixels a frame, (T, 3, H, W) uint8."""
    y, x = torch.meshgrid(torch.arange(size) * 1.0, torch.arange(size) * 1.0, indexing="ij")

    def frame(t: int) -> Tensor:
        u = x - step * t
        wave = (0.31 * u + 0.17 * y).sin() + (0.12 * u - 0.29 * y).sin() + (0.23 * u).cos() * (0.19 * y).sin()
        return (127 + 40 * wave).expand(3, -1, -1)

    return torch.stack([frame(t) for t in range(frames)]).round().to(torch.uint8)


def measured(metric: TemporalDifference, generated: Tensor, real: Tensor, parts: int = 3) -> float:
    watch = metric.clip()
    for a, b in zip(generated.split(parts), real.split(parts), strict=True):
        watch.add(Piece(a, b))
    watch.close()
    (value,) = metric.compute().values()
    return value


@pytest.mark.parametrize("method", [FlowMethod.dis, FlowMethod.farneback])
def test_tof_is_the_difference_of_the_motions(method: FlowMethod) -> None:
    fast, slow = moving(2.0), moving(0.5)
    assert measured(flow_difference(method, None, CPU), fast, slow) == pytest.approx(1.5, abs=0.2)
    assert measured(flow_difference(method, None, CPU), fast, fast) == 0


def test_tof_of_a_still_video_is_the_length_of_the_real_flow() -> None:
    real = moving(2.0)
    assert measured(flow_difference(FlowMethod.dis, None, CPU), real[:1].expand(4, -1, -1, -1), real) == pytest.approx(
        2.0, abs=0.2
    )


def test_tof_does_not_see_wrong_colours() -> None:
    """Red and blue exchanged and everything darker: the picture is wrong, its motion is not."""
    real = moving(1.0)
    real[:, 0] //= 2
    wrong = real.flip(1)
    assert (wrong.float() - real.float()).abs().mean() > 15
    assert measured(flow_difference(FlowMethod.dis, None, CPU), wrong, real) < 0.2


def test_small_frames_and_missing_weights_are_told_by_the_key_of_this_command() -> None:
    for method, word in ((FlowMethod.dis, "tof=dis needs"), (FlowMethod.raft, "tof=raft needs")):
        with pytest.raises(DataError, match=word):
            measured(flow_difference(method, None, CPU), moving(1.0, size=8), moving(1.0, size=8))
    with pytest.raises(DataError, match=r"data\.flow_weights is not set"):
        measured(flow_difference(FlowMethod.raft, None, CPU), moving(1.0, size=128), moving(1.0, size=128))


def test_pairs_cross_pieces_and_not_clips() -> None:
    metric = TemporalDifference("tof", lambda generated, real: (generated[1] - real[1]).double().mean((1, 2, 3)))
    for value in (1, 5):
        clip = torch.full((5, 3, 2, 2), value, dtype=torch.uint8)
        for parts in (2, 5):
            watch = metric.clip()
            for piece in clip.split(parts):
                watch.add(Piece(piece, torch.zeros_like(piece)))
            watch.close()
    assert metric.compute() == {"tof": 3.0}, "4 pairs of each clip, twice"
    assert metric._pairs == 16


def test_tlp_compares_how_large_changes_are() -> None:
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a.float() - b.float()).abs().mean((1, 2, 3)) / 255

    real = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    generated = real.clone()
    generated[1] = 51  # up by a fifth, and down again; the real video does not change
    assert measured(perceptual_difference(distance), generated, real) == pytest.approx(20.0)
    opposite = 255 - generated
    assert measured(perceptual_difference(distance), opposite, generated) == 0, "any change of that size will do"


def test_the_estimator_is_the_runs_own_where_it_has_one() -> None:
    def chosen(tof: str, flow: FlowMethod) -> list[dict[str, str | int | float]]:
        found = build_clip_metrics(tof=tof, config=Vid2VidConfig(data=DataConfig(flow=flow)), device=CPU)
        return [metric.facts() for metric in found]

    assert chosen("off", FlowMethod.dis) == []
    assert chosen("run", FlowMethod.farneback) == [{"tof_flow": "farneback"}]
    assert chosen("run", FlowMethod.exact) == [{"tof_flow": "dis"}]
    assert chosen("farneback", FlowMethod.dis) == [{"tof_flow": "farneback"}]


def test_clips_of_one_frame_are_told() -> None:
    metric = flow_difference(FlowMethod.dis, None, CPU)
    metric.clip().add(Piece(moving(1.0, frames=1), moving(1.0, frames=1)))
    assert metric.compute() == {} and "tOF [pixels] is not measured" in metric.lines()[0]
