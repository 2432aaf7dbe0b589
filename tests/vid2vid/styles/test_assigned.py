"""Who gets which vector: in whole clips and frame by frame, against pixels picked by hand."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from vid2vid.config import DataConfig, ModelConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.styles.assigned import AssignedStyles, VideoStyles
from vid2vid.styles.mixtures import ClassStyles, Component, Styles
from vid2vid.styles.sources import Between, Drawn, Given, Means
from vid2vid.styles.tracks import ByOverlap

ENCODER = SourceEncoder(ModelConfig(label_ids=[7, 26], style_channels=3), DataConfig())
UNIT = [Component(1.0, 9, [0.1, 0.2, 0.3], (0.01 * np.eye(3)).tolist())]
STYLES = Styles(3, {label: ClassStyles(label, "", label == 26, 9, [0.1, 0.2, 0.3], UNIT) for label in (7, 26)})


def frame(cars: tuple[int, int], road: int = 7) -> dict[str, Tensor]:
    """Ignored pixel, road, and two cars of these ids, 3 pixels each: labels and instances (1, 1, 1, 8)."""
    labels = torch.tensor([255, 7, 26, 26, 26, 26, 26, 26], dtype=torch.int16)
    instances = torch.tensor([255, road, *[cars[0]] * 3, *[cars[1]] * 3], dtype=torch.int32)
    return {"labels": labels.view(1, 1, 1, 8), "instances": instances.view(1, 1, 1, 8)}


def pixels(maps: Tensor) -> np.ndarray:
    assert maps.shape == (1, 1, 3, 1, 8) and maps.dtype is torch.float32
    return maps[0, 0, :, 0].T.numpy()


def test_an_instance_keeps_its_vector_and_seeds_differ() -> None:
    styles = VideoStyles(Drawn(STYLES, 1), ENCODER, {26})
    first, gone, back = (pixels(styles.maps(frame(cars))) for cars in ((5, -6), (8, 9), (-6, 5)))
    assert not first[0].any()  # of no class
    assert np.array_equal(first[2], first[4]) and not np.array_equal(first[2], first[5])
    assert np.array_equal(first[[5, 2, 1]], back[[2, 5, 1]])
    assert not np.isin(gone[2:], first[2:]).any()
    other = pixels(VideoStyles(Drawn(STYLES, 2), ENCODER, {26}).maps(frame((5, -6))))
    assert not np.isin(other[1:], first[1:]).any()
    assert set(styles.used) == {(7, 0), (26, 5), (26, -6), (26, 8), (26, 9)}


def test_a_class_that_is_one_region_has_one_vector_whatever_its_ids() -> None:
    styles = VideoStyles(Drawn(STYLES), ENCODER, {26})
    a, b = (pixels(styles.maps(frame((5, 6), road))) for road in (7, 1234))
    assert np.array_equal(a[1], b[1])


def test_by_place_renumbered_instances_keep_theirs() -> None:
    styles = VideoStyles(Drawn(STYLES), ENCODER, {26}, ByOverlap())
    a = pixels(styles.maps(frame((5, 6))))
    styles.moved(torch.zeros(2, 1, 8))
    b = pixels(styles.maps(frame((6, 5))))
    assert np.array_equal(a, b) and not np.array_equal(a[2], a[5])
    assert set(styles.used) == {(7, 0), (26, 1), (26, 2)}


def test_a_video_moves_from_one_style_to_another() -> None:
    ends = [Given({7: np.full(3, x, np.float32), 26: np.full(3, -x, np.float32)}) for x in (0.0, 0.8)]
    styles = VideoStyles(Between(*ends), ENCODER, {26}, frames=5)
    seen = [pixels(styles.maps(frame((1, 2))))[1:3, 0].tolist() for _ in range(5)]
    assert np.allclose(seen, [[x, -x] for x in (0, 0.2, 0.4, 0.6, 0.8)])


def test_without_instance_maps_a_class_has_one_look() -> None:
    found = pixels(VideoStyles(Drawn(STYLES), ENCODER, {26}).maps({"labels": frame((1, 2))["labels"]}))
    assert np.array_equal(found[2], found[5])


def test_a_class_without_style_gets_zeros_and_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        styles = VideoStyles(Given({26: np.ones(3, np.float32)}), ENCODER, ())
        for _ in range(2):
            assert not pixels(styles.maps(frame((1, 1))))[1].any()
    assert [record.getMessage() for record in caplog.records] == [
        "class 7 has no style: none was seen in training. It gets zeros"
    ]


def test_clips_of_an_evaluation_draw_their_own() -> None:
    two = {name: torch.cat([value, value]).expand(-1, 3, -1, -1) for name, value in frame((5, 6)).items()}
    styling = AssignedStyles(Drawn(STYLES), ENCODER, {26})
    first, second = styling(two), styling(two)
    maps = first.maps(torch.tensor([0, 2]))
    assert maps.shape == (2, 2, 3, 1, 8) and torch.equal(maps[:, 0], maps[:, 1])
    assert not torch.equal(maps[0], maps[1]) and not torch.equal(maps, second.maps(torch.tensor([0, 2])))
    again = AssignedStyles(Drawn(STYLES), ENCODER, {26})(two)
    assert torch.equal(first.vectors, again.vectors)
    mean = AssignedStyles(Means(STYLES), ENCODER, {26})(two).maps(torch.tensor([1]))
    assert torch.allclose(mean[1, 0, :, 0, 1:], torch.tensor([0.1, 0.2, 0.3])[:, None].expand(-1, 7))
    assert not mean[..., 0].any()
