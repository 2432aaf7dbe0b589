"""One split of the data: held-out frames are no training frames, whatever is missing and whatever lengths are asked."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.helpers.made_films import numbered, write_film
from trainer.errors import DataError
from vid2vid.config import FirstFrame, Vid2VidStage
from vid2vid.data import build_evaluation
from vid2vid.data.clips import clip_length
from vid2vid.data.folders.dataset import FolderDataset
from vid2vid.data.split import longest_clip, shorter_clips
from vid2vid.data.video.dataset import VideoDataset


def stages(config, **frames: int):
    config.curriculum.stages = {name: Vid2VidStage(frames=count) for name, count in frames.items()}
    return config


def sequences(config, split: str) -> list[list[str]]:
    return [[s.frame_name(i) for i in range(len(s))] for s in FolderDataset.sequences_of_split(config, split)]


def frames_of(config, split: str) -> set[str]:
    return {key for run in sequences(config, split) for key in run}


def test_a_missing_frame_near_the_end_leaves_training_and_validation_apart(make_folders, folder_config, caplog):
    root = make_folders({"a": 60})
    (root / "labels/a/frame57.png").unlink()
    config = stages(folder_config(root, val_share=0.1), all=6)
    assert sequences(config, "train") == [[f"frame{i}" for i in range(53)]]
    assert sequences(config, "val") == [[f"frame{i}" for i in range(53, 57)], ["frame58", "frame59"]]
    assert "validation uses the last 6 of 59 frames" in caplog.text and "too short" not in caplog.text


@pytest.mark.parametrize("seed", range(8))
def test_no_pattern_of_gaps_lets_training_see_what_is_held_out(seed, make_folders, folder_config):
    root = make_folders({"a": 40})
    for i in random.Random(seed).sample(range(40), seed):
        (root / f"images/a/frame{i}.png").unlink()
    config = stages(folder_config(root, val_share=0.2), all=4)
    config.model.first_frame = FirstFrame.real if seed % 2 else FirstFrame.model
    train, val = frames_of(config, "train"), frames_of(config, "val")
    assert train and val and not train & val
    assert len(val) >= round(0.2 * (40 - seed)) and len(train | val) == 40 - seed
    clips = FolderDataset(config, "train", (16, 32), 4)
    seen = set()
    for draw in range(60):
        sequence, indices = clips._cut(draw % len(clips), np.random.default_rng(draw))
        seen |= {sequence.frame_name(i) for i in indices}
    assert not seen & val


@pytest.mark.parametrize("asked", [2, 6, 30, 190])
def test_the_split_does_not_depend_on_the_lengths_that_are_asked(asked, make_folders, folder_config, caplog):
    config = stages(folder_config(make_folders({"a": 30}), val_share=0.2, val_frames=asked), short=3, long=9)
    for frames in (3, 9):
        train = FolderDataset(config, "train", (16, 32), frames)
        assert [f.key for s in train.sequences for f in s.frames] == [f"frame{i}" for i in range(24)]
    val = FolderDataset(config, "val", (16, 32), asked)
    assert [s.frames[0].key for s in val.sequences] == ["frame24"] and val.frames == min(asked, 6)
    assert (f"val clips have 6 frames, not data.val_frames={asked}" in caplog.text) is (asked > 6)


def test_the_longest_clip_of_the_curriculum_decides(make_folders, folder_config, caplog):
    root = make_folders({"a": 30})
    config = stages(folder_config(root, val_share=0.2), long=24)
    assert longest_clip(config) == 24 and len(sequences(config, "train")[0]) == 24
    config.model.first_frame = FirstFrame.real
    assert longest_clip(config) == 26 and sequences(config, "train") == sequences(config, "val")
    assert "validation uses the frames of training" in caplog.text


@pytest.mark.parametrize(
    "names, train, val",
    [
        (["train/a", "train/b", "val/x", "val/y", "val/z"], ["train/a", "train/b"], ["val/x", "val/y", "val/z"]),
        (["Training/a", "extra/e", "test/t", "validation/x"], ["Training/a", "extra/e"], ["validation/x"]),
        (["train", "test"], ["train"], ["test"]),
        (["train/a", "train/b", "trainer"], ["train/a", "train/b"], ["trainer"]),
        (["a", "val"], ["a"], ["val"]),
    ],
)
def test_folders_train_and_val_are_the_splits(names, train, val, make_folders, folder_config, caplog):
    config = stages(folder_config(make_folders(dict.fromkeys(names, 6))), all=6)
    assert [s.name for s in FolderDataset.sequences_of_split(config, "train")] == train
    assert [s.name for s in FolderDataset.sequences_of_split(config, "val")] == val
    assert ("is held out" in caplog.text) == (names[-1] not in ("trainer", "val"))


def test_films_in_folders_train_and_val(tmp_path, video_config):
    for place, name in enumerate(("train/a", "train/b", "train/c", "val/x", "val/y")):
        write_film(tmp_path / f"films/{name}.mp4", frames=[numbered(8 * place + i) for i in range(8)])
    config = stages(video_config(tmp_path / "films"), all=6)
    train, val = ({s.name for s in VideoDataset.sequences_of_split(config, split)} for split in ("train", "val"))
    assert train == {"train/a", "train/b", "train/c"} and val == {"val/x", "val/y"}


def test_the_last_sequence_is_not_held_out_where_training_needs_it(make_folders, folder_config, caplog):
    config = stages(folder_config(make_folders({"a": 3, "b": 4, "c": 12})), all=9)
    assert [len(run) for run in sequences(config, "train")] == [3, 12]
    assert [run[0] for run in sequences(config, "val")] == ["frame0"] and "validation has b" in caplog.text


def test_a_last_sequence_of_one_frame_is_not_what_is_measured(make_folders, folder_config):
    config = stages(folder_config(make_folders({"a": 9, "b": 8, "c": 1})), all=6)
    assert [len(run) for run in sequences(config, "val")] == [8]
    assert [len(run) for run in sequences(config, "train")] == [9, 1]


def test_the_only_long_sequence_lends_its_tail(make_folders, folder_config, caplog):
    config = stages(folder_config(make_folders({"a": 20, "b": 1}), val_share=0.2), all=6)
    train, val = sequences(config, "train"), sequences(config, "val")
    assert [len(run) for run in train] == [17] and [len(run) for run in val] == [3, 1]
    assert "only one is long enough to train on" in caplog.text


@pytest.mark.parametrize(
    ("lengths", "wanted", "expected"),
    [
        ([24] + [20] * 10, 24, 20),
        ([30, 30], 24, 24),
        ([11, 4, 3], 4, 4),
        ([24, 3], 24, 24),
        ([5, 5, 2], 24, 5),
        ([1, 1], 24, 1),
        ([2, 1, 1, 1], 24, 2),
        ([], 24, 1),
        ([9], 1, 2),
    ],
)
def test_length_of_validation_clips(lengths, wanted, expected):
    """One long sequence does not leave out the others; a clip has at least a pair of frames where there is one."""
    assert clip_length(lengths, wanted) == expected


@pytest.mark.parametrize(
    ("frames", "clips"), [(5, [5, 6, 5, 3]), (12, [11, 8]), (4, [4, 4, 3, 4, 4]), (2, [2, 2, 2, 2, 3] + [2] * 4)]
)
def test_every_frame_is_measured_when_asked(frames, clips, make_folders, folder_config):
    root = make_folders({"a": 11, "b": 8})
    config = folder_config(root, val_frames=frames, val_root=str(root))
    config.model.past_frames = 1 if frames == 2 else 2
    dataset = build_evaluation(config, "val", (16, 32), whole=True)
    samples = [dataset.sample(i, np.random.default_rng(0)) for i in range(len(dataset))]
    assert [len(sample["images"]) for sample in samples] == clips and sum(clips) == 19


def test_training_frames_are_measured_as_they_are(make_folders, folder_config):
    """Neither mirrored nor cut at random: the same whatever the random stream."""
    root = make_folders({"a": 8, "b": 6})
    config = stages(folder_config(root, val_frames=4, flip=1.0, scale=[1.0, 1.6], frame_step=3), all=6)
    dataset = build_evaluation(config, "train", (40, 80))
    first, again = (dataset.sample(0, np.random.default_rng(seed)) for seed in (1, 2))
    assert len(dataset) == 2 and (first["images"] == again["images"]).all()
    plain = FolderDataset(folder_config(root, val_root=str(root)), "val", (40, 80), 4).sample(
        0, np.random.default_rng(0)
    )
    assert (first["images"] == plain["images"][:4]).all()


@pytest.mark.parametrize(
    ("available", "words"),
    [
        (1, "curriculum=images"),
        (2, "curriculum=images"),
        (5, "curriculum=single curriculum.stages.all.frames=3 curriculum.stages.all.segment_frames=3"),
        (12, "curriculum=single curriculum.stages.all.frames=12"),
    ],
)
def test_shorter_clips_that_fit(available, words, folder_config):
    assert shorter_clips(folder_config(None), available).startswith(words)


@pytest.mark.parametrize(
    ("available", "words"),
    [
        (1, "all.frames=1 all.segment_frames=1 "
            "long.frames=1 long.segment_frames=1 long.backprop_frames=1 long.palindrome=false"),
        (2, "all.frames=2 all.segment_frames=2 long.frames=4 long.segment_frames=2 long.backprop_frames=1"),
        (7, "all.frames=6 long.frames=12"),
        (12, "long.frames=24"),
    ],
)  # fmt: skip
def test_shorter_clips_of_a_recipe(available, words, folder_config):
    """Its stages stay beside those of another curriculum, so each is named; a clip forth and back reads half."""
    config = folder_config(None)
    back = Vid2VidStage(frames=48, segment_frames=3, palindrome=True, backprop_frames=3)
    config.curriculum.stages = {"all": Vid2VidStage(frames=12), "long": back}
    expected = [f"curriculum.stages.{word}" for word in words.split()]
    expected += ["model.video_discriminator=false"] if available < 2 else []
    assert shorter_clips(config, available).split() == expected


def keys(dataset) -> list[str]:
    return [frame.key for s in dataset.sequences for frame in s.frames]


@pytest.mark.parametrize(("lengths", "train"), [({"a": 20}, 17), ({"a": 20, "b": 2}, 17), ({"a": 20, "b": 3}, 20)])
def test_behind_real_frames_there_is_one_to_measure(lengths, train, make_folders, folder_config):
    """A tenth of 20 frames are the two that first_frame=real takes: nothing would be generated."""
    config = stages(folder_config(make_folders(lengths)), all=6)
    config.model.first_frame = FirstFrame.real
    datasets = [FolderDataset(config, split, (16, 32), 8) for split in ("train", "val")]
    assert len(keys(datasets[0])) == train and datasets[1].frames == 3
    assert {len(datasets[1].sample(i, np.random.default_rng(0))["images"]) for i in range(len(datasets[1]))} == {3}


def test_validation_footage_without_a_frame_to_measure_is_named(tmp_path, make_folders, folder_config):
    other = make_folders({"c": 2}).rename(tmp_path / "other")
    config = stages(folder_config(make_folders({"a": 20}), val_root=str(other)), all=6)
    config.model.first_frame = FirstFrame.real
    with pytest.raises(DataError, match=r"no clip for the val split: 3 frames are needed.*or model\.first_frame=model"):
        FolderDataset(config, "val", (16, 32), 8)
    config.model.first_frame = FirstFrame.model
    assert FolderDataset(config, "val", (16, 32), 8).frames == 2


@pytest.mark.parametrize("asked", list(FirstFrame))
@pytest.mark.parametrize("own", [FirstFrame.model, FirstFrame.real])
def test_the_split_is_that_of_the_run_whatever_start_is_asked(asked, own, make_folders, folder_config):
    """30 frames, 24 for training: with two real ones before each clip the longest would not fit any more."""
    config = stages(folder_config(make_folders({"a": 30}), val_share=0.2), all=24 if own is FirstFrame.model else 22)
    config.model.first_frame = own
    measured = build_evaluation(config, "val", (16, 32), first_frame=asked)
    assert keys(measured) == [f"frame{i}" for i in range(24, 30)]
    assert ("picture" in measured.sample(0, np.random.default_rng(0))) is (asked is FirstFrame.image)
    assert keys(build_evaluation(config, "train", (16, 32), first_frame=asked)) == [f"frame{i}" for i in range(24)]
