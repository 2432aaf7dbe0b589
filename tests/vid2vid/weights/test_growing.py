"""Larger networks from smaller ones' weights: they compute the same where they should, and say what is new."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_run import street_config
from tests.helpers.made_task import configured, make_trainer
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.weights import network_tensors, save_weights
from trainer.config.resolve import plain
from trainer.errors import CheckpointError
from vid2vid.config import ForegroundKind, Region, SourceKind, Vid2VidConfig
from vid2vid.task import Vid2VidTask
from vid2vid.weights.originals import convert, to_originals, write_originals

SIZE = (16, 32)


def config_of(sources: Sequence[str] = (), **model: Any) -> Vid2VidConfig:
    config = street_config(SIZE)
    config.data.sources = list(sources)
    sizes = {"ndf": 4, "discriminator_layers": 1, "discriminator_scales": 1, "temporal_scales": 1, "local_blocks": 1}
    for key, value in (sizes | {"label_ids": [7, 26]} | model).items():
        setattr(config.model, key, value)
    return config


def small(folder: Path, named: bool = True, **model: Any) -> tuple[Vid2VidTask, str]:
    """A task with drawn weights (norms moved from their start), and where they are stored."""
    torch.manual_seed(1)
    config = config_of(**model)
    task = Vid2VidTask(config)
    weights = network_tensors(task.networks())
    for x in weights.values():
        x += 0.1 * torch.randn_like(x)
    if not named:
        save_weights(folder / "weights.safetensors", weights)
        return task, str(folder / "weights.safetensors")
    Checkpoints(folder).save(3, {"nothing": 0}, weights, None, {"config": plain(config)})
    return task, str(folder)


def grown(path: str, **model: Any) -> Vid2VidTask:
    torch.manual_seed(2)
    return Vid2VidTask(config_of(weights=path, **model))


def labels(frames: int, ids: list[int]) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(5)
    coarse = torch.tensor(ids)[torch.randint(0, len(ids), (1, frames, 4, 8), generator=random)]
    return {"labels": coarse.repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.int16)}


@torch.no_grad()
def run(task: Vid2VidTask, ids: tuple[int, ...] = (7, 26), double: bool = False) -> dict[str, Tensor]:
    """What the coarsest generator and image discriminator make of label maps, from a past of pictures."""
    past, frames, scales = task.config.model.past_frames, 3, 1
    dtype = torch.float64 if double else torch.float32
    for network in task.networks().values():
        network.to(dtype)
    batch = labels(frames + 2, list(ids))
    source = task.nets.encoder.encode(batch)[:, 2 - past :].to(dtype)
    pictures = torch.rand(1, 2, 3, *SIZE, generator=torch.Generator().manual_seed(6)).to(dtype) * 2 - 1
    region = task.nets.encoder.foreground_mask({"labels": batch["labels"][:, 2:]})
    region = None if region is None else region.to(dtype)
    history = task.nets.generator.past_from_images(pictures[:, 2 - past :], scales) if past else None
    out = task.nets.generator(source, history, region, scales)
    found = {"frames": out.frames, "hallucination": out.hallucination}
    if out.flow is not None and out.mask is not None:
        found |= {"flow": out.flow, "mask": out.mask}
    if task.nets.d_image is not None:
        judged = task.nets.d_image(out.frames[0], scales=1, condition=source[0, past:])
        found |= {f"d_image{i}": x for i, x in enumerate(judged[-1])}
    for network in task.networks().values():
        network.float()
    return found


def same(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        scale = max(1.0, float(value.abs().max()))
        assert float((value - b[name]).abs().max()) <= tolerance * scale, name


def note(task: Vid2VidTask) -> str:
    return next(line for line in task.notes() if line.startswith("a new run starts from"))


def test_the_same_size_is_a_copy(tmp_path: Path) -> None:
    task, path = small(tmp_path)
    other = grown(path)
    assert all(torch.equal(x, y) for x, y in zip(state(task).values(), state(other).values(), strict=True))
    count = len(state(task))
    assert note(other) == f"a new run starts from model.weights={path}: {count} of {count} tensors loaded"


def state(task: Vid2VidTask) -> dict[str, Tensor]:
    return network_tensors(task.networks())


@pytest.mark.parametrize("foreground", [ForegroundKind.off, ForegroundKind.override])
@pytest.mark.parametrize("ids", [[7, 26, 11], [26, 8, 7], [11, 26, 7, 23]])
def test_more_classes_in_any_order(tmp_path: Path, ids: list[int], foreground: ForegroundKind) -> None:
    """Classes are known by id; the channel of instance edges, which is the last one, moves."""
    task, path = small(tmp_path, foreground=foreground)
    other = grown(path, label_ids=ids, foreground=foreground)
    assert other.nets.encoder.channels == len(ids) + 1
    same(run(task), run(other))
    new = [f"class {i}" for i in ids if i not in (7, 26)]
    assert f"new inputs, zero at first: {', '.join(new)}" in note(other)
    assert "position" not in note(other)


def test_a_new_class_is_at_first_like_one_that_is_ignored(tmp_path: Path) -> None:
    task, path = small(tmp_path, instance_edges=False)
    task.config.data.ignore_label = 11
    task.nets.encoder = type(task.nets.encoder)(task.config.model, task.config.data)
    other = grown(path, instance_edges=False, label_ids=[7, 11, 26])
    same(run(task, ids=(7, 11, 26)), run(other, ids=(7, 11, 26)))


def test_classes_counted_from_zero_become_a_list(tmp_path: Path) -> None:
    task, path = small(tmp_path, label_ids=None, num_labels=30)
    other = grown(path, label_ids=[26, 7])
    same(run(task), run(other), tolerance=1e-5)
    assert "in it, but left out: class 0, class 1, " in note(other)


def test_instance_edges_can_be_added_and_left_out(tmp_path: Path) -> None:
    task, path = small(tmp_path, instance_edges=False)
    other = grown(path, instance_edges=True)
    same(run(task), run(other))
    assert "zero at first: instance edges" in note(other)
    assert "left out: instance edges" in note(grown(small(tmp_path / "b")[1], instance_edges=False))


def test_more_scales(tmp_path: Path) -> None:
    task, path = small(tmp_path, foreground=ForegroundKind.override)
    other = grown(path, scales=3, foreground=ForegroundKind.override)
    same(run(task), run(other), tolerance=0)
    assert "drawn anew: generator.scale1, generator.scale2" in note(other)
    before = Vid2VidTask
    torch.manual_seed(2)
    drawn = before(config_of(scales=3, foreground=ForegroundKind.override))
    for index in (1, 2):  # as a run without weights draws them
        fresh, own = drawn.nets.generator.scale(index).state_dict(), other.nets.generator.scale(index).state_dict()
        assert all(torch.equal(fresh[name], own[name]) for name in fresh)
    back, where = small(tmp_path / "b", scales=2)
    other = grown(where, scales=1)
    same(run(back), run(other), tolerance=0)
    assert "in it, but left out: generator.scale1" in note(other)


def test_more_discriminator_scales(tmp_path: Path) -> None:
    """The coarsest keeps its place. At ndf=64 all are equally wide; below, their width follows from their number."""
    task, path = small(tmp_path, ndf=64, discriminator_scales=2)
    other = grown(path, ndf=64, discriminator_scales=3)
    same(run(task), run(other), tolerance=0)
    assert "drawn anew: d_image.scale2, d_video.0.scale2" in note(other) and "left out" not in note(other)
    mine, theirs = state(task), state(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    task, path = small(tmp_path / "b", ndf=32, discriminator_scales=2)
    other = grown(path, ndf=32, discriminator_scales=3)  # 64, 32 wide become 64, 64, 32
    same(run(task), run(other), tolerance=0)
    assert "drawn anew: d_image.scale1, d_image.scale2, d_video.0.scale1, d_video.0.scale2" in note(other)
    assert "left out: d_image.scale1, d_video.0.scale1" in note(other)


def test_classes_of_a_discriminator_that_segments(tmp_path: Path) -> None:
    """Each keeps its row of the last layer wherever it stands; a new one says 0 of every pixel."""
    task, path = small(tmp_path, image_discriminator="segmenting")
    other = grown(path, image_discriminator="segmenting", label_ids=[26, 5, 7])
    x = torch.rand(1, 3, *SIZE)
    assert task.nets.d_image is not None and other.nets.d_image is not None
    before, after = (net(x)[0][-1] for net in (task.nets.d_image, other.nets.d_image))
    torch.testing.assert_close(after[:, [2, 0, 3]], before)
    assert not after[:, 1].any() and "new inputs, zero at first: class 5" in note(other)


def test_the_other_kind_of_image_discriminator_is_drawn_anew(tmp_path: Path) -> None:
    task, path = small(tmp_path)
    other = grown(path, image_discriminator="segmenting")
    assert "drawn anew: d_image.down, d_image.up, d_image.head; in it, but left out: d_image.scale0" in note(other)
    generators = [{k: x for k, x in state(each).items() if k.startswith("generator.")} for each in (task, other)]
    assert all(torch.equal(x, generators[1][name]) for name, x in generators[0].items())
    back = grown(small(tmp_path / "b", image_discriminator="segmenting")[1])
    assert "drawn anew: d_image.scale0; in it, but left out: d_image.down, d_image.head, d_image.up" in note(back)


def test_more_temporal_scales(tmp_path: Path) -> None:
    task, path = small(tmp_path)
    other = grown(path, temporal_scales=3)
    mine, theirs = state(task), state(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert "drawn anew: d_video.1, d_video.2" in note(other)
    assert "left out: d_video.1" in note(grown(small(tmp_path / "b", temporal_scales=2)[1]))


def test_other_regions(tmp_path: Path) -> None:
    """Each kind has a discriminator of its own: a common one keeps its weights, others come and go."""
    task, path = small(tmp_path, regions=[Region.face])
    both = grown(path, regions=[Region.face, Region.hands])
    assert "drawn anew: d_region.hands" in note(both) and "left out" not in note(both)
    mine, theirs = state(task), state(both)
    assert any(name.startswith("d_region.face.") for name in mine)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    other = note(grown(path, regions=[Region.hands]))
    assert "drawn anew: d_region.hands" in other and "left out: d_region.face" in other


@pytest.mark.parametrize("foreground", [ForegroundKind.off, ForegroundKind.override])
def test_a_longer_past(tmp_path: Path, foreground: ForegroundKind) -> None:
    """What the weights know stays at its distance from the newest frame."""
    task, path = small(tmp_path, past_frames=1, foreground=foreground)
    other = grown(path, past_frames=2, foreground=foreground)
    same(run(task), run(other))
    assert "zero at first: past frames 2 back" in note(other)
    assert "left out: past frames 2 back" in note(grown(small(tmp_path / "b")[1], past_frames=1))


def test_a_past_for_a_frame_by_frame_model(tmp_path: Path) -> None:
    """The first frame of a video, which has no past, is what the frame-by-frame model makes."""
    frame_model: dict[str, Any] = {"past_frames": 0, "flow": False, "video_discriminator": False}
    task, path = small(tmp_path, **frame_model)
    other = grown(path)
    with torch.no_grad():
        source = task.nets.encoder.encode(labels(1, [7, 26]))
        expected = task.nets.generator(source).frames
        got = other.nets.generator(source.expand(-1, 3, -1, -1, -1)).frames
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
    assert "drawn anew: d_video, generator.scale0.past, generator.scale0.flow" in note(other)


def test_all_at_once_and_then_it_trains(tmp_path: Path) -> None:
    task, path = small(tmp_path / "small", past_frames=1)
    config = configured(
        f"model.weights={path}",
        "model.upsample=transposed",
        "model.label_ids=[11,26,7,8,21,23,24]",
        "model.foreground=off",
        "model.scales=2",
        "model.local_blocks=1",
        "model.temporal_scales=2",
        "model.discriminator_layers=1",
        "curriculum.stages.all.frames=9",
        "trainer.max_samples=1",
    )
    trainer, other = make_trainer(config, tmp_path / "large")
    # In double precision: with so many channels more a sum's rounding is another, and every frame multiplies it.
    same(run(task, double=True), run(other, double=True), tolerance=1e-9)
    assert trainer.dry_run().count("a new run starts from model.weights=") == 1
    trainer.fit()
    assert trainer.finished
    column = other.nets.generator.scale(0).labels.layers[0].conv.weight[:, 8]  # class 11 of the second past frame
    assert float(column.detach().abs().max()) > 0, "what was zero has learned"


# Files that say nothing of their model


def test_a_bare_file_is_read_by_position(tmp_path: Path) -> None:
    task, path = small(tmp_path, named=False)
    other = grown(path, label_ids=[7, 26, 11])
    same(run(task), run(other))
    assert "classes by position, as the file does not name them" in note(other)
    assert "zero at first: class 11" in note(other)


def test_the_originals_weights_grow(tmp_path: Path) -> None:
    """G0 and D of the released layout, converted; a second scale, a third discriminator scale and a class more."""
    model: dict[str, Any] = {
        "label_ids": None,
        "num_labels": 30,
        "discriminator_scales": 2,
        "ndf": 64,
        "discriminator_layers": 3,
    }
    task, _ = small(tmp_path, **model)
    states = to_originals(state(task))
    write_originals(tmp_path / "theirs", {name: states[name] for name in ("G0", "D", "D_T0")})
    convert(tmp_path / "theirs", tmp_path / "city.safetensors")
    larger = model | {"num_labels": 31, "discriminator_scales": 3, "scales": 2}
    other = grown(str(tmp_path / "city.safetensors"), **larger)
    same(run(task), run(other))
    text = note(other)
    assert (
        "drawn anew: generator.scale1, d_image.scale2, d_video.0.scale2" in text and "zero at first: class 30" in text
    )


def test_some_of_the_originals_classes_are_known_by_id(tmp_path: Path) -> None:
    """Their channel 7 is label 7; which ids a list of fewer classes means is therefore known."""
    task, path = small(tmp_path, named=False, label_ids=None, num_labels=30)
    other = grown(path, label_ids=[26, 7])
    same(run(task), run(other), tolerance=1e-5)
    assert "classes by id = channel, as the file does not name them" in note(other)
    assert "left out: class 0, class 1, " in note(other)


def test_a_generator_alone_leaves_the_discriminators_as_drawn(tmp_path: Path) -> None:
    task, _ = small(tmp_path)
    only = {name: x for name, x in state(task).items() if name.startswith("generator.")}
    save_weights(tmp_path / "g.safetensors", only)
    other = grown(str(tmp_path / "g.safetensors"))
    assert "drawn anew: d_image, d_video" in note(other)


# What does not grow

WRONG = [
    ({"ngf": 8}, "model.ngf=4 (here 8)"),
    ({"blocks": 4}, "model.blocks=2 (here 4)"),
    ({"downsamplings": 1}, "model.downsamplings=2 (here 1)"),
    ({"ndf": 8}, "model.ndf=4 (here 8)"),
    ({"flow": False}, "model.flow=true (here false)"),
    ({"foreground": ForegroundKind.override}, "model.foreground=off (here override)"),
]


@pytest.mark.parametrize(("changes", "told"), WRONG)
def test_other_settings_must_agree_and_are_named(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    _, path = small(tmp_path)
    with pytest.raises(CheckpointError) as error:
        grown(path, **changes)
    assert told in str(error.value) and "model.weights=" in str(error.value)


def test_pictures_and_label_maps_are_not_mixed(tmp_path: Path) -> None:
    _, path = small(tmp_path, source=SourceKind.image)
    with pytest.raises(CheckpointError, match=r"model\.source=image, this is a model with model\.source=labels"):
        grown(path)


def test_labels_grow_pictures_beside_them_and_pictures_are_known_by_their_kind(tmp_path: Path) -> None:
    key, past, classes = "generator.scale0.labels.layers.0.conv.weight", 2, 3  # two labels, and instance edges

    def frames(task: Vid2VidTask) -> list[Tensor]:
        return list(state(task)[key].chunk(past + 1, dim=1))

    alone, path = small(tmp_path / "alone")
    both = grown(path, source=SourceKind.both, sources=["depth:d", "edges"])
    for ours, theirs in zip(frames(both), frames(alone), strict=True):
        assert torch.equal(ours[:, :classes], theirs) and not ours[:, classes:].any()
    edges, path = small(tmp_path / "edges", source=SourceKind.both, sources=["edges", "depth:d"])
    more = grown(path, source=SourceKind.both, sources=["depth:other", "image:rgb", "edges"])
    for ours, theirs in zip(frames(more), frames(edges), strict=True):
        assert torch.equal(ours[:, [0, 1, 2, 7, 3]], theirs) and not ours[:, 4:7].any()


def test_nothing_grows_without_the_coarsest_scale(tmp_path: Path) -> None:
    task, _ = small(tmp_path, scales=2)
    fine = {name: x for name, x in state(task).items() if name.startswith("generator.scale1.")}
    save_weights(tmp_path / "g1.safetensors", fine)
    with pytest.raises(CheckpointError, match=r"missing .*scale0"):
        grown(str(tmp_path / "g1.safetensors"), scales=2)


def test_a_damaged_part_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    task, _ = small(tmp_path, scales=2)
    broken = copy.copy(state(task))
    del broken["generator.scale1.labels.layers.1.conv.weight"]
    save_weights(tmp_path / "broken.safetensors", broken)
    with pytest.raises(CheckpointError, match=r"missing \(1\): scale1\.labels\.layers\.1\.conv\.weight"):
        grown(str(tmp_path / "broken.safetensors"), scales=2)


def test_more_source_channels(tmp_path: Path) -> None:
    _, path = small(tmp_path, source=SourceKind.image, source_channels=1)
    other = grown(path, source=SourceKind.image, source_channels=3)
    assert "zero at first: source channel 1, source channel 2" in note(other)
