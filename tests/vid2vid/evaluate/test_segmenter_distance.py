"""Fréchet distances of a segmenter's features: against the distance of all rows at once."""

from __future__ import annotations

import pytest
import torch

from vid2vid.encoding import images_to_float
from vid2vid.evaluate.clip_metrics import Piece
from vid2vid.evaluate.distances import frechet_distance
from vid2vid.evaluate.segmenter_distance import SegmenterDistance
from vid2vid.segmenter.network import UNet


def test_distances_of_all_places_of_all_frames() -> None:
    torch.manual_seed(0)
    network = UNet(3, (8, 8, 8, 8)).eval()
    generated, real = (torch.randint(0, 256, (3, 5, 3, 32, 48)).byte() for _ in range(2))
    generated = generated // 2
    metric = SegmenterDistance(network)
    for a, b in zip(generated, real, strict=True):
        watch = metric.clip()
        for start in (0, 2):
            watch.add(Piece(a[start : 2 + 3 * start // 2], b[start : 2 + 3 * start // 2]))
        watch.close()

    def rows(clips: torch.Tensor, level: int) -> torch.Tensor:
        with torch.inference_mode():
            return network.features(images_to_float(clips.flatten(0, 1)))[level].movedim(1, -1).flatten(0, -2)

    found = metric.compute()
    assert list(found) == ["fd_4", "fd_4_real", "fd_8", "fd_8_real"]
    for name, level in (("fd_4", 2), ("fd_8", 3)):
        assert found[name] == pytest.approx(frechet_distance(rows(generated, level), rows(real, level)), rel=1e-4)
        halves = frechet_distance(rows(real[1::2], level), rows(real[::2], level))
        assert found[f"{name}_real"] == pytest.approx(halves, rel=1e-4)


def test_a_shallow_network_has_what_it_has() -> None:
    metric = SegmenterDistance(UNet(3, (8, 8, 8)).eval())
    assert list(metric.rows) == ["fd_4"] and metric.compute() == {}
