"""Folders as strangers lay them out: a root one level too high, rubbish of archives, links."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.made_pictures import folder_config, write_tree
from trainer.errors import ConfigError, DataError
from vit.config import DataKind, VitConfig
from vit.data import describe
from vit.data.checking.check import check_split, format_report, open_splits
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans
from vit.data.sources.layout import role_in


def advice(config: VitConfig) -> str:
    with pytest.raises(DataError) as caught:
        describe(config)
    return str(caught.value)


def follow(config: VitConfig, text: str) -> VitConfig:
    """The keys that a message tells, set as it tells them."""
    for key, value in re.findall(r"data\.(\w+)=(\S+)", text):
        setattr(config.data, key, value)
    forget_scans()
    return config


def test_one_folder_that_holds_the_classes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "archive", {"PetImages/Cat": 6, "PetImages/Dog": 6})
    (root / "licence.txt").touch()
    config = folder_config(root)
    text = advice(config)
    assert "PetImages, which would be the only class; the class folders (Cat, Dog)" in text
    assert describe(follow(config, text)).classes == ["Cat", "Dog"]


def test_one_folder_that_holds_splits(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "x", {f"xray/{s}/{c}": 2 for s in ("train", "val", "test") for c in ("A", "B")})
    (root / "__MACOSX/xray").mkdir(parents=True)
    (root / "__MACOSX/xray/._train").touch()
    config = folder_config(root)
    info = describe(follow(config, advice(config)))
    assert info.classes == ["A", "B"] and len(open_source(config, "test")) == 4


def test_splits_that_are_called_more_than_that(tmp_path: Path) -> None:
    places = {f"seg_train/seg_train/{c}": 4 for c in "abc"} | {f"seg_test/seg_test/{c}": 3 for c in "abc"}
    root = write_tree(tmp_path / "intel", {**places, "seg_pred/seg_pred": 4})
    config = folder_config(root)
    text = advice(config)
    assert "seg_pred, seg_test, seg_train are splits by their names, not classes" in text
    follow(config, text)
    assert describe(config).classes == ["a", "b", "c"]
    assert len(open_source(config, "train")) + len(open_source(config, "val")) == 12
    assert len(open_source(config, "test")) == 9


def test_splits_that_hold_another_folder(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {f"{s}/{s}/{c}": 2 for s in ("train", "val") for c in "ab"}))
    info = describe(follow(config, advice(config)))
    assert info.classes == ["a", "b"] and info.train_samples == 4 and len(open_source(config, "val")) == 4


def test_rubbish_of_archives_is_no_class(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"a": 3, "b": 3, "__MACOSX": 1, "a/__MACOSX": 1})
    info = describe(folder_config(root))
    assert info.classes == ["a", "b"] and any("folder __MACOSX" in note for note in info.notes)
    assert sum(len(open_source(folder_config(root), split)) for split in ("train", "val")) == 6


def test_train_as_a_class(tmp_path: Path) -> None:
    assert describe(folder_config(write_tree(tmp_path / "r", {"bus": 3, "train": 3}))).classes == ["bus", "train"]


def test_names_of_splits_in_any_case(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"Training/a": 3, "Training/b": 2, "VALIDATION/a": 1}))
    assert describe(config).train_samples == 5 and len(open_source(config, "val")) == 1


@pytest.mark.parametrize(
    ("name", "role"),
    [("imagenet1k-validation-00", "val"), ("imagenet1k-train-0000", "train"), ("seg_test", "test"), ("trainer", None),
     ("valley", None), ("train_val", None), ("x", None), ("Training", "train")],
)  # fmt: skip
def test_words_of_splits(name: str, role: str | None) -> None:
    assert role_in(name) == role


def test_links_to_themselves_and_to_nothing(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"a": 3, "b": 3})
    os.symlink("loop", root / "a" / "loop")
    os.symlink("top", root / "top")
    os.symlink("..", root / "b" / "up")
    config = folder_config(root)
    assert describe(config).classes == ["a", "b"]
    names = [open_source(config, split).name(i) for split in ("train", "val")
             for i in range(len(open_source(config, split)))]  # fmt: skip
    assert sorted(os.path.relpath(name, root) for name in names) == [f"{c}/{i}.png" for c in "ab" for i in range(3)]


def test_a_single_class_is_told(tmp_path: Path) -> None:
    from vit.weights.classes import one_class

    config = folder_config(write_tree(tmp_path / "r", {"a": 3}))
    with pytest.raises(ConfigError, match=r"one class, 'a'.*data\.root"):
        one_class(describe(config))
    report = format_report([check_split(open_splits(config)["train"], "train", lambda counts, total: counts)])
    assert "one class alone" in report


def test_the_only_folder_with_pictures_is_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"images/a": 2, "images/b": 2, "annotations": 0})
    (root / "annotations/x.xml").touch()
    assert f"All pictures lie below {root}/images" in advice(folder_config(root))


def test_classes_one_level_too_deep_in_a_split_of_its_own(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"a": 3, "b": 3}))
    config.data.val_root = str(write_tree(tmp_path / "v", {"held/a": 1, "held/b": 1}))
    text = advice(config)
    assert "only there: held" in text and f"data.val_root={tmp_path}/v/held" in text


def test_remedies_can_be_typed_into_a_shell(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "archive (1)", {f"my pets, v=2/{name}": 3 for name in ("a cat", "b=dog")})
    text = advice(folder_config(root))
    word = next(word for word in shlex.split(text) if word.startswith("data.root="))
    assert describe(folder_config(Path(word.removeprefix("data.root=")))).classes == ["a cat", "b=dog"]


@pytest.mark.parametrize("ending", [".tar.gz", ".tar", ".zip"])
def test_an_archive_is_unpacked_first(tmp_path: Path, ending: str) -> None:
    """By the command that the message tells, into the folder that it tells."""
    tree = write_tree(tmp_path / "r", {"a": 3, "b": 3})
    form = {".tar.gz": "gztar", ".tar": "tar", ".zip": "zip"}[ending]
    shutil.make_archive(str(tmp_path / "my pets"), form, tree)
    text = advice(folder_config(tmp_path / f"my pets{ending}"))
    assert f"my pets{ending}: is a file, but a folder is wanted" in text
    command = text.partition("Unpack it first: ")[2].partition(", and give ")[0]
    if ending == ".zip" and shutil.which("unzip") is None:
        shutil.unpack_archive(shlex.split(command)[1], shlex.split(command)[3])
    else:
        subprocess.run(command, shell=True, check=True, capture_output=True)
    given = text.partition(", and give ")[2].partition("; or ")[0]
    config = folder_config(Path(shlex.split(given)[0].removeprefix("data.root=")))
    forget_scans()
    assert describe(config).classes == ["a", "b"]
    (tmp_path / "outer").mkdir()
    (tmp_path / f"my pets{ending}").rename(tmp_path / f"outer/pets{ending}")
    with pytest.raises(DataError, match=rf"no class folders .*unpack pets\{ending} first"):
        describe(folder_config(tmp_path / "outer"))


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("t.csv", "imagefolder", "data=csv"),
        ("t.parquet", "imagefolder", "data=hf"),
        ("metadata.jsonl", "csv", "data=hf"),
        ("t.rar", "imagefolder", "Unpack it"),
        ("0.jpg", "imagefolder", "the one that holds the class folders"),
    ],
)
def test_a_file_that_is_no_root(tmp_path: Path, name: str, kind: str, told: str) -> None:
    (tmp_path / name).write_text('{"file_name": "0.png", "label": 0}\n')
    with pytest.raises(DataError, match=told):
        describe(folder_config(tmp_path / name, DataKind(kind)))


def test_tables_of_another_kind_are_told(tmp_path: Path) -> None:
    (tmp_path / "r/data").mkdir(parents=True)
    (tmp_path / "r/data/train-0.parquet").touch()
    with pytest.raises(DataError, match=r"1 \.parquet.*data=hf"):
        describe(folder_config(tmp_path / "r"))
    write_tree(tmp_path / "m", {"train": 2})
    (tmp_path / "m/train/metadata.csv").write_text("file_name,label\n0.png,a\n1.png,b\n")
    with pytest.raises(DataError, match=r"no class folders.*metadata\.csv there is read with data=hf"):
        describe(folder_config(tmp_path / "m/train"))
