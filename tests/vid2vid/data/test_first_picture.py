"""first_frame=image starts from another frame of the sequence than the one that is to be generated."""

from collections import Counter

import numpy as np
import pytest
import torch

from tests.helpers.made_frames import HEIGHT, WIDTH
from trainer.errors import DataError
from vid2vid.config import DataKind, FirstFrame, FlowMethod, Vid2VidConfig
from vid2vid.data import build_dataset
from vid2vid.data.first_picture import other_frame
from vid2vid.data.folders.dataset import FolderDataset


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_other_frame_is_drawn_alike():
    drawn = Counter(other_frame(8, [2, 3, 4], 2, rng(seed), "a") for seed in range(1200))
    assert set(drawn) == {0, 1, 4, 5, 6, 7}  # not those that see the picture as their past
    assert min(drawn.values()) > 140
    assert {other_frame(3, [0, 1, 2], 3, rng(seed), "a") for seed in range(20)} == {1, 2}
    assert {other_frame(2, [1], 2, rng(seed), "a") for seed in range(9)} == {0}


@pytest.mark.parametrize("length", range(2, 9))
@pytest.mark.parametrize("past", [1, 2, 3])
def test_the_picture_is_never_the_first_target(length: int, past: int):
    for start in range(length):
        indices = list(range(start, min(start + 4, length)))
        for random in (None, rng(start), rng(start + 100)):
            chosen = other_frame(length, indices, past, random, "a")
            assert 0 <= chosen < length and chosen != start
            if length > past:
                assert chosen not in indices[:past]


def with_pictures(config: Vid2VidConfig) -> Vid2VidConfig:
    config.model.first_frame = FirstFrame.image
    return config


def frames_of(dataset: FolderDataset, sample: dict) -> list[int]:
    """Which of the sequence's frames (without augmentation) are the sample's picture and images."""
    sequence = dataset.sequences[0]
    crop = dataset._crop(sequence, [0], (HEIGHT, WIDTH), rng())
    whole = [frame.cropped(crop)["image"] for frame in sequence.read(range(8))]
    wanted = [sample["picture"], *sample["images"]]
    return [next(i for i, x in enumerate(whole) if torch.equal(x, frame)) for frame in wanted]


def test_folders_give_the_picture_of_the_same_sequence_and_crop(make_folders, folder_config):
    root = make_folders({"a": 8, "b": 8})
    config = with_pictures(folder_config(root, flip=0.0))
    dataset = FolderDataset(config, "train", (20, 40), 3)  # half the frame's size: every crop is the whole frame
    for seed in range(12):
        picture, first, second, third = frames_of(dataset, dataset.sample(0, rng(seed)))
        assert (second, third) == (first + 1, first + 2)
        assert picture not in (first, second)
    assert dataset.sample(0, rng(3))["picture"].dtype is torch.uint8
    mirrored = with_pictures(folder_config(root, flip=1.0))
    for seed in range(3):
        plain, flipped = (FolderDataset(c, "train", (20, 40), 3).sample(0, rng(seed)) for c in (config, mirrored))
        assert torch.equal(plain["picture"].flip(-1), flipped["picture"])


def test_the_picture_changes_no_other_draw(make_folders, folder_config):
    root = make_folders({"a": 8, "b": 8})
    plain = FolderDataset(folder_config(root), "train", (16, 32), 3).sample(0, rng(5))
    with_one = FolderDataset(with_pictures(folder_config(root)), "train", (16, 32), 3).sample(0, rng(5))
    assert "picture" not in plain
    assert torch.equal(plain["images"], with_one["images"]) and plain["name"] == with_one["name"]


def test_validation_has_one_picture_for_each_clip(make_folders, folder_config):
    config = with_pictures(folder_config(make_folders({"a": 8, "b": 8}), val_frames=4))
    dataset = FolderDataset(config, "val", (20, 40), 4)
    assert [frames_of(dataset, dataset.sample(i, rng(i)))[:2] for i in range(2)] == [[6, 0], [2, 4]]


def test_a_sequence_of_one_frame_has_no_other(make_folders, folder_config):
    config = with_pictures(folder_config(make_folders({"a": 1, "b": 1})))
    with pytest.raises(DataError, match=r"a: has one frame only.*first_frame=model"):
        FolderDataset(config, "train", (16, 32), 1).sample(0, rng())


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("frames", [1, 4])
def test_the_street_shows_another_time_of_the_same_street(split: str, frames: int):
    config = with_pictures(Vid2VidConfig())
    config.data.kind, config.data.flow, config.data.val_frames = DataKind.street, FlowMethod.exact, frames
    for index in range(3):
        sample = build_dataset(config, split, (16, 32), frames).sample(index, rng(index))
        assert sample["picture"].shape == (3, 16, 32) and sample["picture"].dtype == np.uint8
        assert not any(np.array_equal(sample["picture"], frame) for frame in sample["images"][:2])
