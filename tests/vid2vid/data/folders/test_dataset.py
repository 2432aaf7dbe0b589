"""Folders of frames: matching by name, splits, clips, and everything that can be wrong with them."""

from __future__ import annotations

import logging
import shutil
from itertools import islice

import numpy as np
import pytest
import torch

from tests.helpers.made_frames import HEIGHT, WIDTH, label_map, picture, save
from tests.helpers.paths import SHARED
from trainer.config.fields import OnBadFile
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataKind, FlowMethod, LabelFormat, SourceKind, Vid2VidStage
from vid2vid.data import build_dataset
from vid2vid.data.folders.dataset import FolderDataset, open_folder
from vid2vid.model.warp import warp

SAMPLES = SHARED / "samples"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def train(config, frames=3):
    return FolderDataset(config, "train", (16, 32), frames)


def test_sample_has_what_the_contract_says(make_folders, folder_config):
    config = folder_config(make_folders({"a": 6, "b": 6}, instances=True), flow=FlowMethod.dis)
    config.data.instances_dir = "instances"
    sample = train(config).sample(0, rng())
    shapes = {key: (tuple(v.shape), v.dtype) for key, v in sample.items() if key != "name"}
    assert shapes == {
        "images": ((3, 3, 16, 32), torch.uint8),
        "labels": ((3, 16, 32), torch.int16),
        "instances": ((3, 16, 32), torch.int32),
        "flow": ((3, 2, 16, 32), torch.float16),
        "confidence": ((3, 1, 16, 32), torch.uint8),
    }
    assert sample["name"].startswith("a/frame")
    assert not sample["flow"][0].any() and not sample["confidence"][0].any()
    assert torch.equal(sample["labels"].int() * 1000, sample["instances"])


def test_frames_are_matched_by_name_in_natural_order(make_folders, folder_config, caplog):
    """12 frames sort as 0, 1, 2, ... 11; frame 5 has no image: no clip jumps over it."""
    root = make_folders({"a": 12, "b": 12}, extension=".jpg")
    (root / "images/a/frame5.jpg").unlink()
    (root / "labels/b/frame11.png").unlink()
    dataset = FolderDataset(folder_config(root, val_share=0.4), "train", (16, 32), 5)
    assert [[f.key for f in s.frames] for s in dataset.sequences] == [
        [f"frame{i}" for i in range(5)],
        [f"frame{i}" for i in range(6, 12)],
    ]
    assert "1 frames dropped without images (frame5)" in caplog.text
    assert "without labels (frame11)" in caplog.text


def test_labels_and_images_stay_together_through_augmentation(make_folders, folder_config):
    """The picture is painted by its labels: wherever crop and flip go, they agree."""
    root = make_folders({"a": 8, "b": 8})
    for name in ("a", "b"):
        for i in range(8):
            ids = label_map(i)
            save(root / "images" / name / f"frame{i}.png", np.repeat((ids == 26)[..., None] * np.uint8(255), 3, -1))
    dataset = train(folder_config(root, scale=[1.0, 1.6], frame_step=2))
    seen = set()
    for seed in range(20):
        sample = dataset.sample(0, rng(seed))
        white = sample["images"][:, 0]
        assert (sample["labels"][white > 250] == 26).all() and (sample["labels"][white < 5] == 7).all()
        seen.add(tuple(sample["labels"].sum((1, 2)).tolist()))
    assert len(seen) > 10


def test_samples_depend_on_index_and_rng_only(make_folders, folder_config):
    root = make_folders({"a": 9, "b": 6, "c": 4})
    config = folder_config(root, scale=[1.0, 1.5], frame_step=3, flow=FlowMethod.dis)
    first, second = train(config), train(config)
    assert len(first) == 3 + 2  # c is for validation
    for index in (0, 4, 2):
        one, other = first.sample(index, rng(index)), second.sample(index, rng(index))
        assert one["name"] == other["name"] and all(torch.equal(one[k], other[k]) for k in one if k != "name")
    assert first.sample(0, rng(1))["name"] != first.sample(3, rng(1))["name"]


def test_frame_step_reaches_its_bound_and_no_further(make_folders, folder_config):
    config = folder_config(make_folders({"a": 10, "b": 2}), frame_step=4)
    steps, starts = set(), set()
    dataset = train(config)
    for seed in range(80):
        _, indices = dataset._cut(0, rng(seed))
        steps |= set(np.diff(indices).tolist())
        starts.add(indices[0])
        assert len(set(np.diff(indices))) == 1 and indices[0] >= 0 and indices[-1] < 10
    assert steps == {1, 2, 3, 4} and starts == set(range(8))


def test_split_by_sequence(make_folders, folder_config):
    root = make_folders({f"s{i}": 4 for i in range(12)})
    config = folder_config(root, val_share=0.2)
    names = {split: [s.name for s in FolderDataset(config, split, (16, 32), 3).sequences] for split in ("train", "val")}
    assert names == {"train": [f"s{i}" for i in range(10)], "val": ["s10", "s11"]}


def test_one_sequence_lends_its_tail_or_all_of_it(make_folders, folder_config, caplog):
    config = folder_config(make_folders({"a": 20}), val_share=0.2)
    parts = [FolderDataset(config, split, (16, 32), 3).sequences[0] for split in ("train", "val")]
    assert [len(p) for p in parts] == [16, 4] and parts[1].frame_name(0) == "frame16"
    config.curriculum.stages["long"] = Vid2VidStage(frames=18)  # a later stage needs all of them
    parts = [FolderDataset(config, split, (16, 32), 3).sequences[0] for split in ("train", "val")]
    assert [len(p) for p in parts] == [20, 20]
    assert "only sequence" in caplog.text and "data.val_root" in caplog.text


def test_validation_clips_are_fixed_windows_of_one_length(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 11, "c": 3})
    config = folder_config(root, val_frames=4, val_root=str(root), scale=[1.0, 2.0])
    dataset = FolderDataset(config, "val", (16, 32), 9)
    samples = [dataset.sample(i, rng(i)) for i in range(len(dataset))]
    assert [s["name"] for s in samples] == ["a/frame0", "b/frame0", "b/frame4"]
    assert all(len(s["images"]) == 4 for s in samples)
    assert torch.equal(samples[1]["images"], dataset.sample(1, rng(77))["images"])


def test_nested_and_flat_folders(make_folders, folder_config):
    root = make_folders({"x/y/a": 4, "x/b": 4})
    assert [s.name for s in train(folder_config(root, val_root=str(root))).sequences] == ["x/b", "x/y/a"]
    flat = root.parent / "flat"
    for kind in ("labels", "images"):
        shutil.copytree(root / kind / "x/b", flat / kind)
    assert [s.name for s in train(folder_config(flat)).sequences] == ["flat"]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_as_labels(make_folders, folder_config, channels):
    root = make_folders({"a": 4, "b": 4})
    shutil.rmtree(root / "labels")
    shutil.copytree(root / "images", root / "labels")
    config = folder_config(root, labels=LabelFormat.rgb)
    with pytest.raises(ConfigError, match=r"data\.labels=rgb.*model\.source=image"):
        train(config)
    config.model.source, config.model.source_channels = SourceKind.image, channels
    sample = train(config).sample(0, rng())
    assert sample["source"].shape == (3, channels, 16, 32) and "labels" not in sample
    assert channels == 1 or torch.equal(sample["source"], sample["images"])
    config.model.source_channels = 5
    with pytest.raises(ConfigError, match=r"model\.source_channels=5"):
        train(config)


def test_missing_folder_says_what_is_there(make_folders, folder_config):
    root = make_folders({"a": 4})
    (root / "labels").rename(root / "seg_maps")
    with pytest.raises(DataError, match=r"'labels' \(data\.labels_dir\).*images, seg_maps.*data\.labels_dir=seg_maps"):
        train(folder_config(root))
    (root / "images").rename(root / "frames")
    with pytest.raises(DataError, match=r"'images' \(data\.images_dir\).*data\.images_dir=frames"):
        train(folder_config(root, labels_dir="seg_maps"))
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        train(folder_config(root / "nowhere"))
    with pytest.raises(ConfigError, match=r"data\.root is not set"):
        train(folder_config(None))


def test_empty_folders_and_names_without_match(make_folders, folder_config):
    root = make_folders({"a": 4})
    for path in (root / "images").rglob("*.png"):
        path.rename(path.with_name("other_" + path.name))
    with pytest.raises(DataError, match=r"no frame has all of labels, images.*frame0.*other_frame0\.png"):
        train(folder_config(root))
    shutil.rmtree(root / "images/a")
    with pytest.raises(DataError, match=r"images \(data\.images_dir\): no images here"):
        train(folder_config(root))


def test_sequences_without_counterpart_are_listed(make_folders, folder_config, caplog):
    root = make_folders({"a": 4, "b": 4, "c": 4})
    shutil.rmtree(root / "images/b")
    assert [s.name for s in train(folder_config(root)).sequences] == ["a"]
    assert "sequence b dropped: no images" in caplog.text


def test_two_files_for_one_frame(make_folders, folder_config):
    root = make_folders({"a": 4})
    save(root / "images/a/frame1.jpg", picture())
    with pytest.raises(DataError, match=r"frame1\.png and frame1\.jpg: two images for frame frame1"):
        train(folder_config(root))


def test_short_clips_are_dropped_with_their_reason(make_folders, folder_config, caplog):
    root = make_folders({"a": 7, "b": 2, "c": 3})
    config = folder_config(root, val_root=str(root))
    assert [s.name for s in train(config, 6).sequences] == ["a"]
    assert "2 of 3 sequences dropped, shorter than the 6 frames needed: b (2), c (3)" in caplog.text
    with pytest.raises(DataError, match=r"no clip for the train split: 8 frames are needed.*a \(7\), b \(2\), c \(3\)"):
        train(config, 8)


def test_different_sizes_name_both_files(make_folders, folder_config):
    root = make_folders({"a": 3, "b": 3})
    save(root / "images/a/frame1.png", picture(0, 20, 40))
    with pytest.raises(DataError, match=r"images/a/frame1\.png is 20x40.*labels/a/frame1\.png is 40x80"):
        train(folder_config(root)).sample(0, rng())
    save(root / "labels/a/frame1.png", np.zeros((20, 40), np.uint8))
    with pytest.raises(DataError, match=r"frame1\.png: frame of 20x40 \(HxW\) in a sequence of 40x80"):
        train(folder_config(root)).sample(0, rng())


def test_ids_out_of_range_name_the_file(make_folders, folder_config):
    root = make_folders({"a": 3, "b": 3})
    save(root / "labels/a/frame2.png", np.full((HEIGHT, WIDTH), 77, np.uint8))
    config = folder_config(root, on_bad_file=OnBadFile["skip"])  # a mistake of the data set, not a bad file
    with pytest.raises(DataError, match=r"labels/a/frame2\.png: label id 77 out of range"):
        train(config).sample(0, rng())


def test_a_corrupt_file_is_named_or_another_clip_taken(make_folders, folder_config, caplog):
    root = make_folders({"a": 3, "b": 3, "c": 3})
    (root / "images/a/frame1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"images/a/frame1\.png: cannot be decoded"):
        train(folder_config(root)).sample(0, rng())
    config = folder_config(root, on_bad_file=OnBadFile["skip"])
    assert train(config).sample(0, rng())["name"] == "b/frame0"
    assert "frame1.png" in caplog.text
    assert train(config).sample(0, rng())["name"] == "b/frame0"  # again the same
    shutil.rmtree(root / "images/b")
    with pytest.raises(DataError, match=r"(?s)frame1\.png.*unusable clips in a row"):
        train(config).sample(0, rng())


def test_one_bad_frame_of_a_single_sequence_is_gone_around(make_folders, folder_config):
    """Two clips fit side by side, but where they begin is drawn: most that are drawn are good."""
    root = make_folders({"a": 12, "v": 4})
    shutil.move(root / "images/v", root / "val/images/v")
    shutil.move(root / "labels/v", root / "val/labels/v")
    (root / "images/a/frame6.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    clips = train(folder_config(root, val_root=str(root / "val"), on_bad_file=OnBadFile["skip"]), 5)
    assert len(clips) == 2
    assert {clips.sample(0, rng(seed))["name"] for seed in range(40)} == {"a/frame0", "a/frame1", "a/frame7"}


def test_in_evaluation_another_clip_fills_a_bad_ones_place_and_does_not_count(make_folders, folder_config, caplog):
    root = make_folders({"a": 3, "b": 3, "c": 3})
    (root / "images/b/frame1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    config = folder_config(root, val_root=str(root), val_frames=3)
    assert "readable" not in build_dataset(config, "val", (16, 32), 3).sample(0, rng())
    config.data.on_bad_file = OnBadFile["skip"]
    clips = build_dataset(config, "val", (16, 32), 3)
    found = [clips.sample(i, rng()) for i in range(3)]
    assert [clip["readable"] for clip in found] == [1, 0, 1]
    assert [clip["name"] for clip in found] == ["a/frame0", "c/frame0", "c/frame0"]
    assert "frame1.png" in caplog.text and "Its clip counts nowhere" in caplog.text
    assert "readable" not in build_dataset(config, "train", (16, 32), 3).sample(0, rng())


def test_flow_is_cached_and_follows_every_crop(make_folders, folder_config, tmp_path):
    """A panning picture: whatever the crop and flip, the cached flow warps the previous frame onto the current one."""
    root = make_folders({"a": 4, "b": 4})
    big = picture(3, 64, 128)
    for i in range(4):
        save(root / f"images/a/frame{i}.png", big[8 : 8 + HEIGHT, 8 + 3 * i : 8 + 3 * i + WIDTH])
    config = folder_config(root, flow=FlowMethod.dis, scale=[1.0, 1.5])
    dataset = FolderDataset(config, "train", (32, 64), 4)
    for seed in range(4):
        sample = dataset.sample(0, rng(seed))
        images = sample["images"].float()
        moved = (warp(images[:-1], sample["flow"][1:].float()) - images[1:]).abs().mean(1, keepdim=True)
        still = (images[:-1] - images[1:]).abs().mean(1, keepdim=True)
        trusted = sample["confidence"][1:] > 0
        assert trusted.float().mean() > 0.6 and moved[trusted].mean() < 0.4 * still[trusted].mean()
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 3
    config.data.flow_cache = None
    sample = FolderDataset(config, "train", (32, 64), 4).sample(0, rng())
    assert sample["confidence"][1:].float().mean() > 0.6 and len(list((tmp_path / "cache").rglob("*.npz"))) == 3


def test_workers_give_what_the_process_itself_gives(make_folders, folder_config):
    """OpenCV has been used before the workers are forked: they must neither hang nor differ."""
    from trainer.data.loader import make_loader

    config = folder_config(make_folders({"a": 6, "b": 6, "c": 6}), flow=FlowMethod.dis, scale=[1.0, 1.5])
    batches = {}
    for workers in (0, 2):
        loader = make_loader(train(config), seed=1, samples_seen=0, batch_size=2, workers=workers)
        batches[workers] = list(islice(loader, 3))
        loader.close()
    assert len(batches[0]) == 3 == len(batches[2])
    for one, other in zip(batches[0], batches[2], strict=True):
        assert one["name"] == other["name"] and all(torch.equal(one[k], other[k]) for k in one if k != "name")


def test_precomputed_flow(make_folders, folder_config):
    root = make_folders({"a": 3, "b": 3})
    (root / "flow/a").mkdir(parents=True)
    config = folder_config(root, flow=FlowMethod.precomputed, flow_dir="flow", flip=0.0)
    with pytest.raises(DataError, match=r"flow/a/frame1\{\.flo,\.png,\.npz\}: no flow file"):
        train(config).sample(0, rng())
    for i in (1, 2):
        np.savez(root / f"flow/a/frame{i}.npz", flow=np.full((2, HEIGHT, WIDTH), 5.0 * i, np.float32))
    sample = train(config).sample(0, rng())  # 40x80 to 16x32: vectors times 0.4
    assert [round(float(v), 2) for v in sample["flow"][:, 0, 0, 0]] == [0, 2, 4]
    config.data.frame_step = 2
    with pytest.raises(ConfigError, match="frame_step"):
        train(config)
    with pytest.raises(ConfigError, match=r"data\.flow=exact.*data\.flow=dis"):
        train(folder_config(root, flow=FlowMethod.exact))


def test_streams_need_no_images(make_folders, folder_config):
    root = make_folders({"a2": 3, "a10": 4}, instances=True)
    config = folder_config(root, instances_dir="instances")
    for path, has_image in ((root, True), (root / "labels", False), (root / "labels/a10", False)):
        found = open_folder(path, config)
        assert [len(s) for s in found] == ([4] if path.name == "a10" else [3, 4])
        frames = list(found[-1])
        assert len(frames) == 4 and frames[0]["labels"].shape == (16, 32) and frames[0]["labels"].dtype == torch.int16
        assert ("image" in frames[0]) is has_image and ("instances" in frames[0]) is has_image
    (root / "images/a10/frame1.png").unlink()
    assert ["image" in frame for frame in open_folder(root, config)[1]] == [True, False, True, True]


def test_a_stream_skips_or_names_bad_frames(make_folders, folder_config, caplog):
    root = make_folders({"a": 4})
    (root / "labels/a/frame2.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"labels/a/frame2\.png"):
        list(open_folder(root / "labels", folder_config(None))[0])
    frames = list(open_folder(root / "labels", folder_config(None, on_bad_file=OnBadFile["skip"]))[0])
    assert len(frames) == 3 and "frame2.png" in caplog.text


def test_open_folder_names_what_is_wrong(make_folders, folder_config, tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_folder(tmp_path / "none", folder_config(None))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no labels here"):
        open_folder(tmp_path / "empty", folder_config(None))
    root = make_folders({"a": 4})
    (root / "labels").rename(root / "seg")
    with pytest.raises(DataError, match=r"data\.labels_dir=seg"):
        open_folder(root, folder_config(None))


@pytest.fixture
def cityscapes(tmp_path):
    """Two splits; aachen_000000 has frames 0..5 with labels for all but 3, and another clip begins at 19."""
    root = tmp_path / "cityscapes"
    for split, city in (("train", "aachen"), ("val", "ulm")):
        for number in [*range(6), *range(19, 23)]:
            name = f"{city}_000000_{number:06d}"
            save(root / f"leftImg8bit_sequence/{split}/{city}/{name}_leftImg8bit.png", picture(number))
            if number != 3:
                fine = root / f"gtFine_sequence/{split}/{city}"
                save(fine / f"{name}_gtFine_labelIds.png", label_map(number))
                save(fine / f"{name}_gtFine_instanceIds.png", label_map(number).astype(np.uint16) * 1000)
                save(fine / f"{name}_gtFine_color.png", picture(number))
    return root


def test_cityscapes_layout(cityscapes, folder_config, caplog):
    config = folder_config(cityscapes, kind=DataKind.cityscapes)
    dataset = FolderDataset(config, "train", (16, 32), 2)
    assert [(s.name, [f.key[-2:] for f in s.frames]) for s in dataset.sequences] == [
        ("aachen/aachen_000000", ["00", "01", "02"]),
        ("aachen/aachen_000000", ["04", "05"]),
        ("aachen/aachen_000000", ["19", "20", "21", "22"]),
    ]
    sample = dataset.sample(0, rng())
    assert torch.equal(sample["instances"], sample["labels"].int() * 1000)
    assert "frames dropped without labels" in caplog.text
    val = FolderDataset(config, "val", (16, 32), 2)
    assert {s.name for s in val.sequences} == {"ulm/ulm_000000"} and val.sequences[0].fps == 17
    (cityscapes / "gtFine_sequence").rename(cityscapes / "deeplab")
    with pytest.raises(DataError, match=r"data\.labels_dir"):
        FolderDataset(config, "train", (16, 32), 2)
    config.data.labels_dir = "deeplab"
    assert len(FolderDataset(config, "train", (16, 32), 2).sequences) == 3


def test_cityscapes_streams(cityscapes, folder_config):
    config = folder_config(None, kind=DataKind.cityscapes)
    assert sum(len(s) for s in open_folder(cityscapes, config)) == 18


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared sample clips are not here")
def test_real_street_clip(folder_config, caplog):
    caplog.set_level(logging.INFO)
    config = folder_config(SAMPLES / "street", labels_dir="seg_maps", flow=FlowMethod.dis, flow_cache=None)
    dataset = FolderDataset(config, "train", (64, 128), 4)
    sample = dataset.sample(0, rng())
    assert sample["images"].shape == (4, 3, 64, 128)
    assert {7, 8, 11, 21, 23, 26} <= set(sample["labels"].unique().tolist())
    assert 0.5 < sample["confidence"][1:].float().mean() < 1
    assert "1 sequences, 4 frames" in caplog.text
