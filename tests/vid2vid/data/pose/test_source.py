"""Skeletons and DensePose maps as sources of a data set in folders: matching, crops, drops, and who is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.composed import problems_of
from tests.helpers.made_frames import HEIGHT, WIDTH, save
from trainer.errors import DataError
from vid2vid.config import PosePeople, SourceKind
from vid2vid.data.augment import Crop
from vid2vid.data.checking.check import check_data
from vid2vid.data.folders.dataset import FolderDataset, scan_folder
from vid2vid.data.landmarks.read import read_people
from vid2vid.data.pose.densepose import draw_iuv
from vid2vid.data.pose.draw import draw_people
from vid2vid.data.retarget import proportions_of
from vid2vid.data.sources.look import columns

H, W = HEIGHT, WIDTH


def pose_file(frame: int, people: int = 1) -> dict:
    """BODY_25 points on two lines that move with the frame; the second person is half as large."""
    found = []
    for number in range(people):
        size = 1.0 / (1 + number)
        points = [v for n in range(25) for v in (10 + size * 2.0 * n + frame, 5 + size * 1.2 * (n % 13), 0.9)]
        found.append({"pose_keypoints_2d": points})
    return {"version": 1.3, "people": found}


def iuv(frame: int) -> np.ndarray:
    map_ = np.zeros((H, W, 3), np.uint8)
    map_[8:30, 20:60] = np.arange(40)[None, :, None] // 4 + 1
    map_[..., :2] *= 9
    return np.roll(map_, frame, axis=1)


@pytest.fixture
def dancers(make_folders, folder_config):
    """Six frames with DensePose maps and OpenPose files under OpenPose's own names, and a configuration for both."""
    root = make_folders({"a": 6})
    for frame in range(6):
        save(root / f"iuv/a/frame{frame}.png", iuv(frame))
        path = root / f"openpose/a/frame{frame}_keypoints.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(pose_file(frame, people=2)))
    config = folder_config(root, sources=["densepose:iuv", "pose:openpose"], flip=0.0)
    config.model.source, config.model.instance_edges = SourceKind.image, False
    return config


def people_of(config, frame: int):
    path = Path(config.data.root) / f"openpose/a/frame{frame}_keypoints.json"
    return read_people(path.read_bytes(), path)


def test_both_are_drawn_within_the_crop(dancers):
    sample = FolderDataset(dancers, "val", (H, W), 3).sample(0, np.random.default_rng(0))
    first = int(sample["name"].removeprefix("a/frame"))
    assert sample["source"].dtype == torch.uint8 and sample["source"].shape[1:] == (6, H, W)
    for t, source in enumerate(sample["source"]):
        assert torch.equal(source[:3], draw_iuv(torch.from_numpy(iuv(first + t)).permute(2, 0, 1)))
        np.testing.assert_array_equal(source[3:].numpy(), draw_people(people_of(dancers, first + t), (H, W)))
    assert list(columns(sample["source"], dancers.model, dancers.data)) == ["densepose", "pose"]


def test_the_largest_alone(dancers):
    dancers.data.sources, dancers.data.pose_people = ["pose:openpose"], PosePeople.largest
    sample = FolderDataset(dancers, "val", (H, W), 3).sample(0, np.random.default_rng(0))
    first = int(sample["name"].removeprefix("a/frame"))
    np.testing.assert_array_equal(sample["source"][0], draw_people(people_of(dancers, first)[:1], (H, W)))


def test_training_drops_the_same_of_all_frames_of_a_clip_and_evaluation_nothing(dancers):
    dancers.data.sources, dancers.data.pose_drop = ["pose:openpose"], 0.5
    training = FolderDataset(dancers, "train", (H, W), 3)
    (sequence,) = training.sequences
    frames = list(sequence.read(range(3)))
    crop = Crop((H, W), 0, 0, H, W, (H, W))
    whole = [frame.cropped(crop)["source"] for frame in frames]
    for frame, picture in enumerate(whole):
        np.testing.assert_array_equal(picture, draw_people(people_of(dancers, frame), (H, W)))
    # Shifted back, the frames of a clip are one picture: the people only move by a pixel a frame.
    for seed in (1, 2):
        dropped = [frame.cropped(crop, seed)["source"] for frame in frames]
        assert 0 < torch.count_nonzero(dropped[0]) < torch.count_nonzero(whole[0])
        assert torch.equal(dropped[0], frames[0].cropped(crop, seed)["source"])
        for frame in (1, 2):
            assert torch.equal(dropped[frame][..., frame:], dropped[0][..., :-frame])
    assert not torch.equal(frames[0].cropped(crop, 1)["source"], frames[0].cropped(crop, 2)["source"])
    samples = [training.sample(0, np.random.default_rng(seed))["source"] for seed in range(6)]
    assert min(int(torch.count_nonzero(s)) for s in samples) < int(torch.count_nonzero(whole[0])) * 3


def test_dropping_everything_leaves_black(dancers):
    dancers.data.pose_drop = 1.0
    sample = FolderDataset(dancers, "train", (H, W), 3).sample(0, np.random.default_rng(0))
    assert not sample["source"].any()
    assert FolderDataset(dancers, "val", (H, W), 3).sample(0, np.random.default_rng(0))["source"].any()


def test_a_mirrored_skeleton_has_left_and_right_exchanged(dancers):
    dancers.data.sources = ["pose:openpose"]
    (frame,) = FolderDataset(dancers, "train", (H, W), 3).sequences[0].read([0])
    mirrored = Crop((H, W), 0, 0, H, W, (H, W), flip=True)
    expected = draw_people([person.mirrored(W) for person in people_of(dancers, 0)], (H, W))
    np.testing.assert_array_equal(frame.cropped(mirrored)["source"], expected)
    assert not np.array_equal(expected, draw_people(people_of(dancers, 0), (H, W))[..., ::-1])


def test_settings_that_cannot_be(tmp_path):
    given = ["model=vid2vid_tiny", "data=pose", f"data.root={tmp_path}"]
    assert problems_of(given) == []
    assert problems_of([*given, "data.pose_drop=1.5"]) == ["data.pose_drop=1.5: a probability, between 0 and 1"]
    (problem,) = problems_of([*given, "data.flip=0.5"])
    assert "DensePose map cannot be mirrored" in problem and "data.flip=0" in problem
    assert problems_of([*given, "data.flip=0.5", "data.sources=[pose:landmarks]"]) == []


def test_frames_in_which_nobody_is_are_counted_and_all_of_them_are_an_error(dancers):
    dancers.data.sources = ["pose:openpose"]
    folder = Path(dancers.data.root) / "openpose/a"
    for frame in (1, 2):
        (folder / f"frame{frame}_keypoints.json").write_text('{"people": []}')
    report = check_data(dancers, [("train", sequence) for sequence in scan_folder(Path(dancers.data.root), dancers)])
    assert report.nobody == 2 and "landmarks of 2 of 6 frames, which are drawn empty" in " ".join(report.advice)
    for path in folder.iterdir():
        path.write_text(json.dumps({"people": [{"pose_keypoints_2d": [0] * 75}]}))
    sequences = scan_folder(Path(dancers.data.root), dancers)
    with pytest.raises(DataError, match=r"nobody is in it, nor in any of the 6 files .*prepare\.py people"):
        proportions_of(sequences, dancers)


def test_other_files_are_named(dancers):
    root = Path(dancers.data.root)
    (root / "openpose/a/frame2_keypoints.json").write_text(json.dumps({"shapes": []}))
    dataset = FolderDataset(dancers, "val", (H, W), 6)
    with pytest.raises(DataError, match=r"frame2_keypoints\.json: has the keys shapes.*OpenPose's people"):
        list(dataset.sequences[0].read(range(6)))
    save(root / "iuv/a/frame1.png", np.full((H, W, 3), 99, np.uint8))
    with pytest.raises(DataError, match=r"frame1\.png: is no DensePose map: its third channel goes up to 99"):
        list(dataset.sequences[0].read(range(6)))
