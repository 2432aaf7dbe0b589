"""Folders, ImageNet's layout, tables and arrays as sources; what is said of data that cannot be used."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_pictures import folder_config, samples, write_picture, write_tree
from trainer.config.fields import OnBadFile
from trainer.errors import ConfigError, DataError
from vit.config import DataKind, VitConfig
from vit.data import build_dataset, describe
from vit.data.opening import open_source, training_view
from vit.data.source import hold_out
from vit.data.sources.files import forget_scans


def names(config: VitConfig, split: str) -> list[str]:
    source = open_source(config, split)
    return [Path(source.name(index)).relative_to(str(config.data.root)).as_posix() for index in range(len(source))]


def test_splits_of_a_tree(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"train/b": 2, "train/a": 3, "val/a": 1, "val/b": 2}))
    info = describe(config)
    assert (info.classes, info.counts, info.train_samples, info.channels) == (["a", "b"], [3, 2], 5, 3)
    assert info.native is None and info.notes == []
    found = samples(config, "val")
    assert [sample["label"] for sample in found] == [0, 1, 1] and found[0]["name"].endswith("val/a/0.png")
    assert found[0]["image"].shape == (3, 16, 16) and found[0]["image"].dtype == torch.uint8
    assert "name" not in samples(config, "train")[0]
    assert names(config, "test") == names(config, "val")
    assert any("no test split" in note for note in open_source(config, "test").notes)


def test_classes_in_natural_order_and_pictures_at_any_depth(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"c10/x/y": 2, "c2": 12, "c1/.thumbs": 0, "c1": 2}))
    assert describe(config).classes == ["c1", "c2", "c10"]
    config.data.val_root = config.data.root
    assert [name for name in names(config, "train") if name.startswith("c2")] == [f"c2/{i}.png" for i in range(12)]


def test_a_share_of_every_class_is_held_out(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"a": 200, "b": 4, "c": 1}))
    config.data.val_share = 0.3
    train, val = names(config, "train"), names(config, "val")
    assert 45 <= sum(name.startswith("a/") for name in val) <= 75 and 1 <= len([n for n in val if n[0] == "b"]) <= 3
    assert len(train) + len(val) == 205 and not set(train) & set(val) and "c/0.png" in train
    note = next(note for note in describe(config).notes if "held out" in note)
    assert f"about 30 % of every class are held out by their names ({len(val)} of 205" in note


@pytest.mark.parametrize("count", [10, 60])
def test_new_pictures_move_no_old_one_to_the_other_side(tmp_path: Path, count: int) -> None:
    root = write_tree(tmp_path / "r", {"a": count, "b": count, "c": 60})
    config = folder_config(root)
    train, val = set(names(config, "train")), set(names(config, "val"))
    for number in range(90):
        write_picture(root / "a" / f"{number // 2}_{number % 2}.png")
    forget_scans()
    assert train <= set(names(config, "train")) and val <= set(names(config, "val"))
    moved = root.rename(tmp_path / "elsewhere")
    forget_scans()
    config.data.root = str(moved)
    assert val <= set(names(config, "val")) and train <= set(names(config, "train"))


def test_small_classes_whose_held_out_pictures_may_change_are_told(tmp_path: Path) -> None:
    """Case 48: one of six is held out by force; a new one with a smaller number takes its place."""
    config = folder_config(write_tree(tmp_path / "r", {"b": 60}))
    for number in range(6):
        write_picture(tmp_path / "r" / "a" / f"q{number}.png")
    root, told = tmp_path / "r", "which ones in 1 small class can change when pictures are added or removed"
    before = {name for name in names(config, "val") if name.startswith("a/")}
    assert before == {"a/q0.png"} and any(told in note for note in describe(config).notes)
    for number in range(60):
        write_picture(root / "a" / f"new{number}.png")
    forget_scans()
    after = {name for name in names(config, "val") if name.startswith("a/")}
    assert not before & after and not {f"a/q{i}.png" for i in range(6)} & after  # of the old ones none is trained on
    assert any("held out" in note for note in describe(config).notes)
    assert not any("can change" in note for note in describe(config).notes)


def test_roots_of_their_own(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"a": 3, "b": 3}))
    config.data.val_root = str(write_tree(tmp_path / "v", {"a": 1, "b": 1}))
    config.data.test_root = str(write_tree(tmp_path / "t", {"test/a": 2, "test/b": 2, "train/a": 1, "train/b": 9}))
    assert [len(samples(config, split)) for split in ("train", "val", "test")] == [6, 2, 4]


def test_evaluation_data_alone(tmp_path: Path) -> None:
    config = folder_config(None)
    config.data.val_root = str(write_tree(tmp_path / "v", {"7": 1, "30": 1}))
    info = describe(config)
    assert (info.classes, info.train_samples, info.counts) == (["7", "30"], 0, None)
    assert len(samples(config, "val")) == 2
    with pytest.raises(ConfigError, match=r"data\.root is not given"):
        build_dataset(config, "train", (16, 16))


def test_what_was_skipped_is_said(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"a": 2, "b": 2})
    for name in ("a/notes.txt", "a/b.txt", "b/.DS_Store", "b/README", "top.json"):
        (root / name).touch()
    write_picture(root / "b" / "photo.WEBP")
    config = folder_config(root)
    assert len(describe(config).counts or []) == 2 and sum(describe(config).counts or []) + 2 == 5
    note = describe(config).notes[0]
    assert "skipped 5 files" in note
    for part in ("2 .txt", "1 hidden", "1 without extension", "1 outside of the class folders"):
        assert part in note


def test_pictures_that_nothing_reads_are_said(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"a": 4, "b": 4})
    (root / "a/IMG_1.HEIC").touch()
    (root / "b/scan.dng").touch()
    said = "kinds that are not read (1 .heic, 1 .dng): convert them to JPEG or PNG"
    assert any(said in note for note in describe(folder_config(root)).notes)
    for path in (root / "a").glob("*.png"):
        path.rename(path.with_suffix(".heic"))
    forget_scans()
    with pytest.raises(DataError, match=r"no picture in class folder .*5 \.heic.*convert them"):
        describe(folder_config(root))


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 1, "train/b": 0, "val/a": 1, "val/b": 1})
    (root / "train/b/x.txt").touch()
    with pytest.raises(DataError, match=r"no picture in class folder .*train/b: .*1 \.txt"):
        describe(folder_config(root))


def test_other_classes_in_validation_are_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/cat": 1, "train/dog": 1, "val/cat": 1, "val/cow": 1})
    with pytest.raises(DataError, match=r"r/val has 2 classes .*only there: cow; only in training: dog"):
        describe(folder_config(root))


def test_no_folders_and_no_root(tmp_path: Path) -> None:
    write_picture(tmp_path / "r" / "0.png")
    with pytest.raises(DataError, match="no class folders"):
        describe(folder_config(tmp_path / "r"))
    with pytest.raises(DataError, match=r"data\.root=.*nowhere: there is no such file or folder"):
        describe(folder_config(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"data\.root is not given"):
        describe(folder_config(None))


@pytest.mark.parametrize("bad", [b"", b"rubbish"])
def test_a_bad_file_ends_the_run_or_is_replaced(tmp_path: Path, bad: bytes, caplog: pytest.LogCaptureFixture) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1})
    (root / "train/a/1.png").write_bytes(bad)
    config = folder_config(root)
    dataset = build_dataset(config, "train", (16, 16))
    with pytest.raises(DataError, match=r"train/a/1\.png.*on_bad_file=skip"):
        dataset.sample(1, np.random.default_rng(0))
    config.data.on_bad_file = OnBadFile["skip"]
    dataset = build_dataset(config, "train", (16, 16))
    replaced, following = (dataset.sample(index, np.random.default_rng(0)) for index in (1, 2))
    assert torch.equal(replaced["image"], following["image"])
    dataset.sample(1, np.random.default_rng(0))
    assert dataset.replaced == 2 and len(caplog.records) == 1 and "train/a/1.png" in caplog.text


def test_nothing_but_bad_files(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 2, "val/a": 1})
    for path in (root / "train/a").iterdir():
        path.write_bytes(b"rubbish")
    config = folder_config(root)
    config.data.on_bad_file = OnBadFile["skip"]
    with pytest.raises(DataError, match="unusable pictures in a row"):
        build_dataset(config, "train", (16, 16)).sample(0, np.random.default_rng(0))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels(tmp_path: Path, channels: int) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"a": 2}))
    config.data.channels = channels
    assert describe(config).channels == channels
    assert samples(config, "train")[0]["image"].shape == (channels, 16, 16)
    config.data.mean = [0.5] * 5
    with pytest.raises(ConfigError, match=rf"data\.mean has 5 numbers, but pictures have {channels} channels"):
        describe(config)


def test_a_limit_takes_every_class_alike(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"train/a": 9, "train/b": 2, "train/c": 5, "val/a": 1}))
    write_tree(tmp_path / "r", {"val/b": 1, "val/c": 1})
    for count, expected in ((3, [1, 1, 1]), (8, [3, 2, 3]), (12, [5, 2, 5]), (99, [9, 2, 5])):
        config.data.train_samples = count
        info = describe(config)
        assert info.counts == expected and info.train_samples == sum(expected)
    assert len(samples(config, "val")) == 3


def test_a_larger_limit_adds_to_a_smaller_one(tmp_path: Path) -> None:
    from vit.data.source import limit

    source = open_source(folder_config(write_tree(tmp_path / "r", {"a": 9, "b": 6})), "train")
    few, more = ({view.name(i) for i in range(len(view))} for view in (limit(source, 4), limit(source, 9)))
    assert few < more and len(few) == 4 and len(more) == 9


def test_which_pictures_the_limit_takes_is_a_matter_of_its_seed(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"train/a": 9, "train/b": 9, "val/a": 1, "val/b": 1}))
    config.data.train_samples, chosen = 6, []
    for seed in (0, 1, 1):
        config.data.train_seed = seed
        view = training_view(config, open_source(config, "train"))
        assert np.bincount(view.labels()).tolist() == [3, 3]
        chosen.append([view.name(i) for i in range(6)])
    assert chosen[0] != chosen[1] == chosen[2]


def test_balanced_classes(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"train/a": 7, "train/b": 2, "val/a": 1, "val/b": 1}))
    config.data.balanced = True
    info = describe(config)
    assert info.counts == [7, 7] and info.train_samples == 14
    assert any("every class 7 times" in note for note in info.notes)
    train = build_dataset(config, "train", (16, 16))
    drawn = [train.source.name(i) for i in range(14)]
    assert sorted(drawn.count(name) for name in set(drawn)) == [1] * 7 + [3, 4]
    assert len(samples(config, "val")) == 2


def test_workers_get_a_copy(tmp_path: Path) -> None:
    """A source crosses into a worker process that is not forked."""
    config = folder_config(write_tree(tmp_path / "r", {"a": 3}))
    source = open_source(config, "train")
    assert pickle.dumps(build_dataset(config, "train", (16, 16)).transform)  # type: ignore[attr-defined]
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy.read(1)[0], source.read(1)[0])


def test_scans_are_remembered_until_forgotten(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"train/a": 2, "val/a": 1}))
    assert describe(config).train_samples == 2
    write_picture(tmp_path / "r/train/a/new.png")
    assert describe(config).train_samples == 2
    forget_scans()
    assert describe(config).train_samples == 3


IDS = ("n01440764", "n01443537")


def imagenet(root: Path) -> VitConfig:
    return folder_config(write_tree(root, {f"train/{name}": 2 for name in IDS}), DataKind.imagenet)


def test_imagenet_has_words_for_its_classes(tmp_path: Path) -> None:
    config = imagenet(tmp_path / "r")
    write_tree(tmp_path / "r", {f"val/{name}": 1 for name in IDS})
    assert describe(config).classes == ["n01440764 tench, Tinca tinca", "n01443537 goldfish, Carassius auratus"]
    assert [sample["label"] for sample in samples(config, "val")] == [0, 1]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("val_labels.txt", ["ILSVRC2012_val_00000001.JPEG n01443537", "ILSVRC2012_val_00000002.JPEG n01440764"]),
        ("val.txt", ["ILSVRC2012_val_00000001.JPEG 1", "ILSVRC2012_val_00000002.JPEG 0"]),
        (
            "LOC_val_solution.csv",
            ["ImageId,PredictionString", "ILSVRC2012_val_00000001,n01443537 1 2 3 4 n01443537 5 6 7 8",
             "ILSVRC2012_val_00000002,n01440764 1 2 3 4"],
        ),
    ],
)  # fmt: skip
def test_flat_validation_pictures_of_imagenet(tmp_path: Path, name: str, lines: list[str]) -> None:
    config = imagenet(tmp_path / "r")
    for number in (1, 2):
        write_picture(tmp_path / "r/val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    with pytest.raises(DataError, match=r"2 pictures in no class folders, .*val_labels\.txt"):
        describe(config)
    (tmp_path / "r" / name).write_text("\n".join(lines))
    assert [sample["label"] for sample in samples(config, "val")] == [1, 0]
    (tmp_path / "r" / name).write_text(lines[0] + "\n" + (lines[1] if "ImageId" in lines[0] else ""))
    forget_scans()
    with pytest.raises(DataError, match=r"no class for .*00000002"):
        describe(config)


def test_flat_validation_labels_out_of_range(tmp_path: Path) -> None:
    config = imagenet(tmp_path / "r")
    write_picture(tmp_path / "r/val/ILSVRC2012_val_00000001.JPEG")
    (tmp_path / "r/val.txt").write_text("ILSVRC2012_val_00000001.JPEG 2")
    with pytest.raises(DataError, match=r"val\.txt: label 2 .*out of range.*from 0 to 1"):
        describe(config)


def test_kaggles_layout(tmp_path: Path) -> None:
    base = tmp_path / "r/ILSVRC/Data/CLS-LOC"
    write_tree(base, {f"train/{name}": 2 for name in IDS})
    write_picture(base / "val/ILSVRC2012_val_00000001.JPEG")
    (tmp_path / "r/LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n01443537 1 2")
    assert [s["label"] for s in samples(folder_config(tmp_path / "r", DataKind.imagenet), "val")] == [1]


def test_hold_out_of_several_labels() -> None:
    class Many:
        multilabel = True

        def __len__(self) -> int:
            return 400

        def split_name(self, index: int) -> str:
            return f"{index // 2}.png"  # each of them twice, as in a table with two rows a picture

    rest, held, exceptions = hold_out(Many(), 0.2)  # type: ignore[arg-type]
    assert exceptions == 0
    assert 50 <= len(held) <= 110 and len(rest) + len(held) == 400
    assert not set(rest // 2) & set(held // 2)
