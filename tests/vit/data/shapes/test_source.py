"""Procedural pictures: deterministic, alike at all resolutions, with two independent factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vit.config import ShapesTarget, VitConfig
from vit.data import build_dataset, describe
from vit.data.shapes.outlines import SHAPES, mask
from vit.data.shapes.source import ShapesSource, draw
from vit.data.shapes.textures import TEXTURES, texture


def test_a_picture_is_a_function_of_seed_split_and_index() -> None:
    one, two = ShapesSource("train", (32, 32), 100), ShapesSource("train", (32, 32), 100)
    assert torch.equal(one.read(7)[0], two.read(7)[0])
    others = [one.read(8)[0], ShapesSource("val", (32, 32), 100).read(7)[0]]
    others.append(ShapesSource("train", (32, 32), 100, seed=1).read(7)[0])
    assert all(not torch.equal(one.read(7)[0], other) for other in others)
    assert torch.equal(one.read(7)[0], ShapesSource("train", (32, 32), 9).read(7)[0])  # however many there are


@pytest.mark.parametrize("size", [(32, 32), (40, 64), (96, 48), (224, 224), (9, 8), (400, 330)])
def test_any_resolution(size: tuple[int, int]) -> None:
    image, label, extras = ShapesSource("val", size, 10).read(3)
    assert image.shape == (3, *size) and image.dtype == torch.uint8 and image.is_contiguous()
    assert label == extras["shape"] == 3 and 0 <= extras["texture"] < 10
    assert image.float().std() > 10


def test_content_is_the_same_at_every_resolution() -> None:
    """Drawn large and reduced, a picture is nearly the one drawn small: not so for another picture."""
    small, large = ShapesSource("train", (64, 64), 50), ShapesSource("train", (256, 256), 50)
    same, other = [], []
    for index in range(20):
        reduced = torch.nn.functional.avg_pool2d(large.read(index)[0].float(), 4)
        same.append((reduced - small.read(index)[0]).abs().mean())
        other.append((reduced - small.read(index + 10)[0]).abs().mean())
    assert max(same) < 12 < 30 < float(np.mean(other))


def test_classes_take_turns_also_in_every_nth_picture() -> None:
    source = ShapesSource("train", (16, 16), 1000)
    labels = source.labels()
    assert np.bincount(labels).tolist() == [100] * 10
    for step in (2, 5, 10):
        assert len(set(labels[::step].tolist())) == 10
    assert [source.read(index)[1] for index in (0, 13, 999)] == labels[[0, 13, 999]].tolist()


def extras(count: int = 400, **options: object) -> np.ndarray:
    source = ShapesSource("val", (8, 8), count, **options)  # type: ignore[arg-type]
    found = [source.read(index)[2] for index in range(count)]
    return np.array([[item["shape"], item["texture"]] for item in found])


def test_the_texture_is_independent_of_the_shape() -> None:
    shape, kind = extras().T
    assert 20 <= (shape == kind).sum() <= 65  # 40 expected
    assert np.bincount(kind, minlength=10).min() > 15


def test_bias_and_conflict() -> None:
    shape, kind = extras(bias=0.9).T
    assert 0.85 < (shape == kind).mean() < 0.97  # 0.9 + 0.1 / 10
    shape, kind = extras(bias=0.9, conflict=True).T
    assert not (shape == kind).any() and np.bincount(kind, minlength=10).min() > 15


def test_contrast_of_textures() -> None:
    """The darker colour goes away from the brighter one by the factor; shapes and textures stay what they are."""
    from vit.data.shapes.source import colours

    chance = np.random.default_rng(0).random(11).tolist()
    figure, ground = colours(chance)
    for factor in (0.0, 0.5, 2.5):
        for plain, changed in zip((figure, ground), colours(chance, factor), strict=True):
            assert changed[0].tolist() == plain[0].tolist(), "the brighter colour stays"
            value, darker = plain[0].max(), plain[1].max()
            assert changed[1].max() == pytest.approx(value - factor * (value - darker), rel=1e-5)
    config = VitConfig(resolution=[32, 32])
    config.data.shapes_texture_contrast = 2.5
    strong, usual = (build_dataset(c, "val", (32, 32)).source for c in (config, VitConfig(resolution=[32, 32])))
    assert all(strong.read(k)[2] == usual.read(k)[2] for k in range(10))
    spread = [[float(s.read(k)[0][1][s.cover(k)].float().std()) for k in range(10)] for s in (strong, usual)]
    assert np.mean(spread[0]) > 1.7 * np.mean(spread[1]), "on the shape"


def test_the_target_may_be_the_texture() -> None:
    config = VitConfig(resolution=[16, 16])
    config.data.shapes_target = ShapesTarget.texture
    config.data.shapes_samples, config.data.shapes_val_samples = 30, 20
    info = describe(config)
    assert info.classes == list(TEXTURES) and info.train_samples == 30 and info.counts == [3] * 10
    sample = build_dataset(config, "val", (16, 16)).sample(4, np.random.default_rng(0))
    assert sample["label"] == sample["texture"] == 4 and sample["name"] == "val/4"


def test_conflict_is_for_validation_only() -> None:
    config = VitConfig(resolution=[8, 8])
    config.data.shapes_conflict, config.data.shapes_texture_bias = True, 1.0
    train, val = (build_dataset(config, split, (8, 8)) for split in ("train", "val"))
    rng = np.random.default_rng(0)
    assert all((s := train.sample(i, rng))["shape"] == s["texture"] for i in range(20))
    assert all((s := val.sample(i, rng))["shape"] != s["texture"] for i in range(20))


def test_train_pictures_are_drawn_at_the_stages_resolution() -> None:
    config = VitConfig(resolution=[64, 64])
    dataset = build_dataset(config, "train", (32, 48))
    assert dataset.source.read(0)[0].shape == (3, 32, 48)


@pytest.mark.parametrize("shape", range(len(SHAPES)), ids=SHAPES)
def test_masks_are_antialiased_and_lie_where_they_should(shape: int) -> None:
    size, center, radius = (64, 96), (0.9, 0.55), 0.3
    cover = mask(shape, size, center, radius, 0.4, 1.0, 0.0).astype(float) / 255
    rows, columns = np.nonzero(cover)
    assert ((cover > 0.05) & (cover < 0.95)).sum() > 20  # a soft edge
    reach = np.hypot(columns + 0.5 - 64 * center[0], rows + 0.5 - 64 * center[1]).max() / 64
    assert 0.8 * radius < reach < 1.6 * radius
    area = cover.sum() / 64**2
    assert 0.25 < area / (np.pi * radius**2) < 1.3


def test_a_ring_has_a_hole_and_a_circle_has_none() -> None:
    middle = {name: mask(SHAPES.index(name), (64, 64), (0.5, 0.5), 0.4, 0.0, 1.0, 0.0)[32, 32] for name in SHAPES}
    assert middle["ring"] == 0 and middle["circle"] == middle["star"] == middle["cross"] == 255


@pytest.mark.parametrize("kind", range(len(TEXTURES)), ids=TEXTURES)
def test_textures_stay_in_range_and_vary(kind: int) -> None:
    axis = (np.arange(64, dtype=np.float32) - 31.5) / 64
    for seed in range(5):
        chance = np.random.default_rng(seed).random(5).tolist()
        values = texture(kind, axis[None], axis[:, None], 1 / 64, chance)
        assert values.shape == (64, 64) and values.dtype == np.float32
        assert values.min() >= 0 and values.max() <= 1 and values.std() > 0.1


def test_the_shape_stands_out_in_grey_too() -> None:
    """Colours of figure and ground differ in brightness: the two intervals never overlap."""
    from vit.data.shapes.source import colours

    for seed in range(200):
        figure, ground = colours(np.random.default_rng(seed).random(11).tolist())
        assert figure.max() > ground.max() + 30  # grey levels of the strongest channel


def test_the_cover_is_where_the_shapes_texture_is() -> None:
    """Pictures that differ in nothing but the texture differ within the shape, up to the blur of its border."""
    source = ShapesSource("val", (48, 48), 10)
    for index in (0, 5):
        shape = source.read(index)[2]["shape"]
        drawn = []
        for kind in range(10):
            rng = source._rng(index)
            rng.random(2)
            drawn.append(torch.from_numpy(draw(shape, kind, (48, 48), rng)).int())
        differ = (torch.stack(drawn).amax(0) - torch.stack(drawn).amin(0)).amax(0) > 8
        cover = source.cover(index)
        assert cover.shape == (48, 48) and 0.05 < cover.float().mean() < 0.7
        assert (differ & ~cover).float().mean() < 0.05 and (cover & ~differ).float().mean() < 0.01
