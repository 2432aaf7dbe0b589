"""Distances of videos: stretches, names, known answers, and what they do not see."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from trainer.errors import ConfigError
from vid2vid.config import Vid2VidConfig
from vid2vid.evaluate import chosen
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.distances import frechet_distance, polynomial_mmd
from vid2vid.evaluate.video_distance import VideoDistance
from vid2vid.evaluate.video_features import FVD, TORCHSCRIPT, VJEPA2, WINDOW, VideoNetwork


def brightness(kind: str = TORCHSCRIPT, name: str = "brightness") -> VideoNetwork:
    """Features of a stretch: its mean brightness, and how much it changes from frame to frame."""

    def features(frames: Tensor) -> Tensor:
        grey = frames.float().mean((2, 3, 4))
        return torch.stack([grey.mean(1), grey.diff(dim=1).abs().mean(1)], dim=1)

    return VideoNetwork(kind, name, features)


def video(levels: Sequence[int], frames: int = WINDOW) -> list[Tensor]:
    """Clips of one level of grey each."""
    return [torch.full((frames, 3, 2, 2), level, dtype=torch.uint8) for level in levels]


def measured(metric: VideoDistance, generated: list[Tensor], real: list[Tensor], parts: int = 5) -> dict[str, float]:
    for a, b in zip(generated, real, strict=True):
        watch = metric.clip()
        for piece in zip(a.split(parts), b.split(parts), strict=True):
            watch.add(Piece(*piece))
        watch.close()
    return metric.compute()


def test_known_answer() -> None:
    """Brightness 1, 3 against 11, 13: means 10 apart, equal variances: 100. MMD by its definition."""
    found = measured(VideoDistance(brightness()), video([11, 13]), video([1, 3]))
    assert found["vfd_brightness"] == pytest.approx(100)
    kernel = [[(a * b / 2) ** 2 for a in row] for row in ((11, 13), (1, 3)) for b in row]
    within = sum(map(sum, kernel)) / 4
    across = sum((a * b / 2) ** 2 for a in (11, 13) for b in (1, 3)) / 4
    assert found["mmd_brightness"] == pytest.approx(100 * (within - 2 * across))


def test_flicker_is_seen_and_the_order_of_clips_is_not() -> None:
    real = video([10, 50, 90])
    flicker = [clip.clone() for clip in real]
    for clip in flicker:
        clip[::2] += 4
        clip[1::2] -= 4
    assert measured(VideoDistance(brightness()), flicker, real)["vfd_brightness"] == pytest.approx(8**2, rel=1e-3)
    shuffled = [real[2], real[0], real[1]]
    assert measured(VideoDistance(brightness()), shuffled, real)["vfd_brightness"] == pytest.approx(0, abs=1e-6)


def test_stretches_follow_each_other_within_a_clip() -> None:
    metric = VideoDistance(brightness())
    clip = torch.arange(2 * WINDOW + 5, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    measured(metric, [clip, clip[: WINDOW - 1]], [clip, clip[: WINDOW - 1]], parts=7)
    assert [x[0, 0].item() for x in metric._real] == [(WINDOW - 1) / 2, WINDOW + (WINDOW - 1) / 2]
    assert metric.facts() == {"vfd_brightness_windows": 2} and "2 stretches" in metric.lines()[0]


@pytest.mark.parametrize(
    ("kind", "name", "titles"),
    [
        (FVD, "I3D", {"fvd": "FVD"}),
        (VJEPA2, "vjepa2", {"vfd_vjepa2": "VFD vjepa2", "jedi_vjepa2": "JEDi vjepa2"}),
        ("mc3_18", "mc3_18", {"vfd_mc3_18": "VFD mc3_18", "mmd_mc3_18": "MMD mc3_18"}),
    ],
)
def test_figures_bear_the_name_of_their_network(kind: str, name: str, titles: dict[str, str]) -> None:
    metric = VideoDistance(brightness(kind, name))
    assert {key: row.title for key, row in metric.rows.items()} == titles
    assert set(measured(metric, video([1, 2]), video([3, 4]))) == set(titles)


def test_too_few_stretches_are_told() -> None:
    metric = VideoDistance(brightness())
    assert measured(metric, video([1, 2, 3], WINDOW - 1), video([1, 2, 3], WINDOW - 1)) == {}
    assert "not measured" in metric.lines()[0] and "frames=16" in metric.lines()[0]


def test_it_is_the_distance_of_the_features() -> None:
    random = torch.Generator().manual_seed(0)
    clips = [torch.randint(0, 256, (6, WINDOW, 3, 2, 2), generator=random, dtype=torch.uint8) for _ in range(2)]
    network = brightness()
    features = [torch.cat([network.features(clip[None]) for clip in side]) for side in clips]
    found = measured(VideoDistance(network), list(clips[0]), list(clips[1]))
    assert found["vfd_brightness"] == pytest.approx(frechet_distance(*features))
    assert found["mmd_brightness"] == pytest.approx(100 * polynomial_mmd(*features))


def test_two_networks_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one's figures would stand in place of the first one's, in the table and in eval.json."""
    monkeypatch.setattr(chosen, "load_video_network", lambda given, device: brightness(name=given[-8:-3]))
    both = [f"torchscript:{path}.pt" for path in ("old/a_net", "new/b_net", "new/a_net")]

    def build(*given: str) -> int:
        cpu = torch.device("cpu")
        return len(chosen.build_clip_metrics(video_features=",".join(given), config=Vid2VidConfig(), device=cpu))

    assert build(*both[:2]) == 2
    with pytest.raises(ConfigError, match=r"old/a_net.pt and .*new/a_net.pt.* vfd_a_net.*rename"):
        build(*both)
