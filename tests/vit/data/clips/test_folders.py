"""Clips on disk: videos and folders of frames, splits, and what is said of those that are no good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_films import number_of, numbered, write_film
from trainer.cli import compose
from trainer.errors import DataError
from vit.config import VitConfig
from vit.data import build_dataset, describe
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans
from vit.predict.clips import list_clips

LOSSLESS = {"codec": "ffv1", "pix_fmt": "yuv444p"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three clips: two films and a folder of frames each, of 10 to 15 numbered frames."""
    root = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("run", "walk")):
        for clip in range(2):
            length = 10 + 3 * number + clip
            write_film(root / name / f"v_{name}_g0{clip + 1}_c01.mkv", "ffv1", length, pix_fmt="yuv444p")
        frames = root / name / "as_pictures"
        frames.mkdir()
        for index in range(12):
            Image.fromarray(numbered(100 + index)).save(frames / f"{index}.png")
    (root / "run" / "notes.txt").write_text("no clip")
    return root


def config(root: Path, *words: str) -> VitConfig:
    forget_scans()
    found = compose(
        [
            "model=vit_ti16",
            "data=clips",
            f"data.root={root}",
            "model.frames=4",
            "data.video_cache=null",
            "data.clip_stride=1",
            *words,
        ],
        {"vit": VitConfig},
    )
    assert isinstance(found, VitConfig)
    return found


def test_a_folder_of_videos_and_of_frames_per_class(made: Path) -> None:
    source = open_source(config(made, "data.val_share=0.01"), "train")
    info = describe(config(made))
    assert info.classes == ["run", "walk"] and info.channels == 3
    assert any("skipped 1 file (1 .txt)" in note for note in info.notes)
    names = [Path(source.name(index)).name for index in range(len(source))]
    assert {"as_pictures", "v_walk_g02_c01.mkv"} <= set(names) | {"v_walk_g02_c01.mkv"}
    for index, name in enumerate(names):
        counts: list[int] = []

        def choose(count: int, counts: list[int] = counts) -> np.ndarray:
            counts.append(count)
            return np.array([5, 2, 2])

        frames = source.frames(index, choose)
        begin = 100 if name == "as_pictures" else 0
        assert frames.shape == (3, 3, 48, 64)
        assert [number_of(frame.numpy()) for frame in frames] == [begin + 5, begin + 2, begin + 2]
        expected = 12 if begin else 10 + 3 * ("walk" in name) + int("_g02_" in name)
        assert counts == [expected]


def test_samples_of_a_split(made: Path) -> None:
    words = ["resolution=[48,64]", "data.clip_stride=2", "augment.eval_crop_ratio=1.0", "augment.eval_crop=squash"]
    dataset = build_dataset(config(made, *words, f"data.val_root={made}"), "val", (48, 64))
    for index in range(len(dataset)):
        sample = dataset.sample(index, np.random.default_rng(0))
        count = 12 if sample["name"].endswith("as_pictures") else None
        numbers = [number_of(frame.numpy()) for frame in sample["image"]]
        assert np.diff(numbers).tolist() == [2, 2, 2]
        if count:
            assert numbers[0] == 100 + 2  # 7 of 12 frames: 2 before them, 3 behind
        assert sample["label"] == ("walk" in sample["name"])


def test_clips_of_one_recording_are_held_out_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for group in range(12):
            for clip in range(2):
                path = tmp_path / name / f"v_{name}_g{group:02}_c{clip:02}.avi"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(b"")
    train, val = (open_source(config(tmp_path, "data.val_share=0.3"), split) for split in ("train", "val"))
    groups = [{source.name(i).rpartition("_c")[0] for i in range(len(source))} for source in (train, val)]
    assert not groups[0] & groups[1] and len(groups[0] | groups[1]) == 24 and groups[1]


def test_frames_of_16_bits_are_told_and_take_the_range(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for clip in range(2):
            (tmp_path / name / f"clip{clip}").mkdir(parents=True)
            for index in range(2):
                values = np.full((8, 8), 1000 * index, np.uint16)
                Image.fromarray(values).save(tmp_path / name / f"clip{clip}" / f"{index}.png")
    assert any("data.range=[0,1023]" in note for note in describe(config(tmp_path)).notes)
    source = open_source(config(tmp_path, "data.range=[0,1000]"), "train")
    assert source.frames(0, lambda count: np.array([0, 1])).amax((1, 2, 3)).tolist() == [0, 255]


def test_splits_of_their_own(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / f"{split}.mp4").write_bytes(b"")
    sources = {split: open_source(config(tmp_path), split) for split in ("train", "val")}
    assert {split: Path(source.name(0)).name for split, source in sources.items()} == {
        "train": "train.mp4",
        "val": "val.mp4",
    }


def test_pictures_beside_videos_are_previews(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for clip in ("x", "y"):
            (tmp_path / name / "day").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "day" / f"{clip}.mp4").write_bytes(b"")
            (tmp_path / name / "day" / f"{clip}.jpg").write_bytes(b"")
    train = open_source(config(tmp_path), "train")
    assert all(train.name(index).endswith(".mp4") for index in range(len(train)))
    assert any("4 pictures beside clips" in note for note in train.notes)
    listed = list_clips(str(tmp_path / "a" / "day"))
    assert listed.names == ["x.mp4", "y.mp4"]


def test_a_clip_behind_a_link_that_leads_back_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "day").mkdir(parents=True)
    (tmp_path / "a" / "day" / "x.mp4").write_bytes(b"")
    (tmp_path / "a" / "day" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "same").symlink_to(tmp_path / "a" / "day")
    assert list_clips(str(tmp_path / "a")).names == ["day/x.mp4"]


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "film.mp4").write_bytes(b"no film")
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match=r"no clip in class folder .*/a \(1 pictures lie right in class folders"):
        describe(config(tmp_path))
    (tmp_path / "a" / "clip").mkdir()
    for index, side in enumerate((8, 9, 8, 8)):
        Image.new("RGB", (side, 8)).save(tmp_path / "a" / "clip" / f"{index}.png")
    dataset = build_dataset(config(tmp_path, f"data.val_root={tmp_path}"), "val", (16, 16))
    for index, said in enumerate(("several sizes", "damaged or not a video")):
        with pytest.raises(DataError, match=said):
            dataset.sample(index, np.random.default_rng(0))
    skipping = build_dataset(config(tmp_path, f"data.val_root={tmp_path}", "data.on_bad_file=skip"), "val", (16, 16))
    sample = skipping.sample(1, np.random.default_rng(0))
    assert sample["readable"] == 0 and sample["image"].shape == (4, 3, 16, 16) and not sample["image"].any()


def test_lists_take_the_place_of_folders(made: Path, tmp_path: Path) -> None:
    listed = tmp_path / "trainlist01.txt"
    listed.write_text("run/v_run_g01_c01.avi 1\nwalk/v_walk_g01_c01.avi 2\nwalk/v_walk_g09_c01.avi 2\n")
    held = tmp_path / "testlist01.txt"
    held.write_text("walk/v_walk_g02_c01.avi\n")
    words = (f"data.clip_list={listed}", f"data.clip_val_list={held}")
    info = describe(config(made, *words))
    assert info.classes == ["run", "walk"] and info.counts == [1, 1]
    assert any("1 of 3 clips that it names are not there (walk/v_walk_g09_c01.avi)" in note for note in info.notes)
    val = open_source(config(made, *words), "val")
    assert [Path(val.name(i)).name for i in range(len(val))] == ["v_walk_g02_c01.mkv"] and val.label(0) == 1
    listed.write_text("run/elsewhere.avi\n")
    with pytest.raises(DataError, match="none of the 1 clips that it names is below"):
        describe(config(made, *words))
