"""Which number a class has: a function of the labels alone."""

from __future__ import annotations

import itertools
import os
import unicodedata
from pathlib import Path

import pytest

from tests.helpers.made_pictures import folder_config, write_picture, write_tree
from tests.helpers.made_shards import picture, shard_config, write_shard
from tests.helpers.made_tables import rows, table
from trainer.data.natural_order import natural_key
from trainer.errors import DataError
from vit.config import ClassOrder
from vit.data import build_dataset, describe
from vit.data.class_names import in_order, readable
from vit.data.opening import open_source
from vit.data.source import under_classes
from vit.data.sources.files import forget_scans

LOOK_ALIKE = ["7", "07", "v7", "v07", "a1b", "a01b", "10", "2"]


@pytest.mark.parametrize("order", ClassOrder)
def test_no_two_names_tie(order: ClassOrder) -> None:
    assert len({repr(natural_key(name)) for name in LOOK_ALIKE}) == len(LOOK_ALIKE)
    found = {tuple(in_order(names, order)) for names in itertools.permutations(LOOK_ALIKE)}
    natural = ("2", "07", "7", "10", "a01b", "a1b", "v07", "v7")
    assert found == {natural if order is ClassOrder.natural else tuple(sorted(LOOK_ALIKE))}


def test_folders_tables_and_shards_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["v7", "v07", "v10"]
    members = {f"{i}.{end}": data for i, name in enumerate(names * 2)
               for end, data in (("png", picture(i)), ("txt", name.encode()))}  # fmt: skip
    write_shard(tmp_path / "shards/0.tar", members)
    configs = [
        folder_config(write_tree(tmp_path / "r", {name: 2 for name in names})),
        table(tmp_path, rows(*names * 2)),
        shard_config(tmp_path / "shards", tmp_path),
    ]
    import os

    listed = os.scandir
    for order, expected in ((ClassOrder.natural, ["v07", "v7", "v10"]), (ClassOrder.ascii, ["v07", "v10", "v7"])):
        for config, backwards in itertools.product(configs, (False, True)):

            class Listing(list):
                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    return None

            def scandir(folder, backwards=backwards):
                with listed(folder) as entries:
                    return Listing(sorted(entries, key=lambda entry: entry.name, reverse=backwards))

            monkeypatch.setattr("os.scandir", scandir)
            forget_scans()
            config.data.class_order = order
            info = describe(config)
            assert info.classes == expected and info.order is order
    monkeypatch.undo()


def test_whole_numbers_far_apart_are_names(tmp_path: Path) -> None:
    config = table(tmp_path, rows("104", "482733", "104", "482733", "9", "9"))
    info = describe(config)
    assert info.classes == ["9", "104", "482733"] and sorted(info.counts or []) == [1, 1, 1]
    assert any("far apart (9 ... 482733)" in note and "num_classes=482734" in note for note in info.notes)
    config.data.class_order = ClassOrder.ascii
    assert describe(config).classes == ["104", "482733", "9"]
    config.model.num_classes = 482734
    forget_scans()
    assert len(describe(config).classes) == 482734


def test_another_number_of_classes_is_another_reading(tmp_path: Path) -> None:
    """In one process, as the jobs of a sweep are: nothing of the last job's classes stays."""
    config = table(tmp_path, rows("104", "4827", "104", "4827", "9", "9"))
    assert len(describe(config).classes) == 3
    config.model.num_classes = 5000
    assert len(describe(config).classes) == 5000
    config.model.num_classes = None
    assert len(describe(config).classes) == 3


def test_ids_of_twenty_digits_are_names(tmp_path: Path) -> None:
    ids = [str(10**19 + number) for number in (1, 2)]
    config = table(tmp_path, rows(*ids * 3))
    assert describe(config).classes == ids
    config.model.num_classes = 5
    forget_scans()
    with pytest.raises(DataError, match=r"label 10000000000000000001 .* is out of range"):
        describe(config)


def test_whole_numbers_far_apart_in_shards(tmp_path: Path) -> None:
    def members(*labels: int) -> dict[str, bytes]:
        return {f"{label}-{i}.{end}": data for i in range(3) for label in labels
                for end, data in (("png", picture(i)), ("cls", str(label).encode()))}  # fmt: skip

    write_shard(tmp_path / "r/train-0.tar", members(17, 4096, 81312))
    write_shard(tmp_path / "r/val-0.tar", members(81312))
    config = shard_config(tmp_path / "r", tmp_path)
    assert describe(config).classes == ["17", "4096", "81312"]
    assert open_source(config, "val").labels().tolist() == [2, 2, 2]


def test_data_under_a_heads_numbers(tmp_path: Path) -> None:
    config = folder_config(write_tree(tmp_path / "r", {"train/a": 2, "train/b": 3, "val/a": 1, "val/b": 2}))
    info = describe(config, ["b", "x", "a"])
    assert info.classes == ["b", "x", "a"] and info.counts == [3, 0, 2]
    assert any("matched by name: the data have 2 (a, b) of the head's 3" in note for note in info.notes)
    config.data.cache = True
    dataset = build_dataset(config, "val", (16, 16), classes=["b", "x", "a"])
    import numpy as np

    found = [dataset.sample(i, np.random.default_rng(0)) for i in range(3)]
    assert [(Path(s["name"]).parent.name, s["label"]) for s in found] == [("a", 2), ("b", 0), ("b", 0)]
    assert under_classes(open_source(config, "val"), ["a", "c"]).classes == ["a", "b"]  # b is not among them


def test_several_labels_under_a_heads_numbers(tmp_path: Path) -> None:
    config = table(tmp_path, rows("sea|sky", "", "sky", "sea", "sun", "sky|sun"))
    config.data.multilabel, config.data.val_root = True, config.data.root
    seen = under_classes(open_source(config, "train"), ["sun", "sky", "sea"])
    assert seen.labels().astype(int).tolist()[:3] == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]
    assert seen.read(0)[1].tolist() == seen.label(0).tolist() == [0, 1, 1]


def test_a_split_may_lack_classes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 2, "train/b": 2, "train/c": 2, "val/c": 2, "val/a": 1, "val/b": 0})
    config = folder_config(root)
    info = describe(config)
    assert open_source(config, "val").labels().tolist() == [0, 2, 2]
    assert any("no validation picture of 1 of 3 classes: b;" in note for note in info.notes)
    (root / "val/b").rmdir()
    write_picture(tmp_path / "t/b/0.png")
    config.data.test_root = str(tmp_path / "t")
    forget_scans()
    assert describe(config).classes == ["a", "b", "c"]
    assert open_source(config, "test").labels().tolist() == [1]


def test_accents_are_one_name_however_they_are_spelled(tmp_path: Path) -> None:
    """A Mac's disk writes them in two characters; the message said that cafe differs from cafe."""
    tree = {f"train/{unicodedata.normalize('NFC', name)}": 2 for name in ("thé", "café")}
    tree |= {f"val/{unicodedata.normalize('NFD', name)}": 1 for name in ("thé", "café")}
    config = folder_config(write_tree(tmp_path / "r", tree))
    info = describe(config)
    assert info.classes == [unicodedata.normalize("NFC", name) for name in ("café", "thé")]
    assert open_source(config, "val").labels().tolist() == [0, 1]
    turned = under_classes(open_source(config, "val"), [unicodedata.normalize("NFD", x) for x in ("thé", "café")])
    assert turned.labels().tolist() == [1, 0]


def test_pictures_on_both_sides_are_told(tmp_path: Path) -> None:
    """Through a link, or in two tables: a score on what was trained on tells nothing."""
    root = write_tree(tmp_path / "r", {"train/a": 3, "train/b": 3})
    (root / "val").symlink_to(root / "train", target_is_directory=True)
    assert any("6 of 6 validation pictures are training pictures too, first a/0.png" in x for x in
               describe(folder_config(root)).notes)  # fmt: skip
    config = table(tmp_path, rows("x", "y", "x", "y"))
    (tmp_path / "val.csv").write_text(rows("x", "y", "x", "y", "x", "y"))
    config.data.val_root = str(tmp_path / "val.csv")
    notes = describe(config).notes
    assert any("4 of 6 validation pictures are training pictures too, first pictures/0.png" in x for x in notes)
    (tmp_path / "val.csv").write_text("path,label\npictures/4.png,x\npictures/5.png,y\n")
    forget_scans()
    assert not any("training pictures too" in note for note in describe(config).notes)


def test_folders_whose_names_are_no_utf_8(tmp_path: Path) -> None:
    """Archives of Windows leave them: the name went into pictures and tables, which ended in tracebacks."""
    root = write_tree(tmp_path / "r", {"train/x": 2, "train/caf": 2, "train/the": 2})
    for name, raw in (("caf", b"caf\xe9"), ("the", b"th\xe9")):
        try:
            os.rename(os.fsencode(root / "train" / name), os.path.join(os.fsencode(root / "train"), raw))
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
    config = folder_config(root)
    config.data.val_share = 0.4
    info = describe(config)
    assert info.classes == ["café", "thé", "x"]
    assert any("no UTF-8 are read as Windows-1252: café, thé" in note for note in info.notes)
    source = open_source(config, "train")
    found = {info.classes[source.label(i)]: os.fsencode(source.name(i)) for i in range(len(source))}
    assert os.path.dirname(found["café"]).endswith(b"caf\xe9") and source.read(0)[0].shape[0] == 3
    assert readable(["a", "caf\udce9"]) == ["a", "café"] and readable(["café", "caf\udce9"]) == ["café", "caf\udce9"]
