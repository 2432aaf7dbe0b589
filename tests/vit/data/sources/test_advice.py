"""Places without class folders: what lies there is recognised, and what is said of it works."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_pictures import folder_config, write_picture, write_tree
from tests.helpers.paths import ROOT
from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data import describe
from vit.data.opening import open_source
from vit.data.sources.advice import leading_words
from vit.data.sources.files import forget_scans

LINES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "data.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
IDS = ("n01443537", "n01629819", "n02124075")


def said(root: Path, kind: DataKind = DataKind.imagefolder) -> str:
    forget_scans()
    with pytest.raises(DataError) as caught:
        describe(folder_config(root, kind))
    return str(caught.value)


def flat(folder: Path, names: list[str]) -> Path:
    for name in names:
        write_picture(folder / name)
    return folder


def labels(config: VitConfig, split: str) -> dict[str, str]:
    source = open_source(config, split)
    return {Path(source.name(i)).name: source.classes[int(source.labels()[i])] for i in range(len(source))}


def test_tiny_imagenets_validation(tmp_path: Path) -> None:
    """Pictures in val/images, their classes in val/val_annotations.txt; training has a file in every class folder."""
    root = write_tree(tmp_path / "tiny", {f"train/{name}/images": 3 for name in IDS})
    told = {f"val_{number}.JPEG": IDS[number * 2 % 3] for number in range(7)}
    flat(root / "val/images", list(told))
    config = folder_config(root)
    with pytest.raises(DataError, match="images"):
        describe(config)
    text = "".join(f"{name}\t{label}\t0\t32\t44\t62\n" for name, label in told.items())
    (root / "val/val_annotations.txt").write_text(text)
    forget_scans()
    assert describe(config).classes == list(IDS) and labels(config, "val") == told
    (root / "val/val_annotations.txt").write_text(text.replace(IDS[2], "n09999999"))
    forget_scans()
    with pytest.raises(DataError, match="class n09999999 is not among the 3 classes"):
        describe(config)


def test_validation_with_a_file_of_classes_beside_it(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {f"train/{name}": 2 for name in ("ant", "bee", "cow")})
    flat(root / "val", ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"])
    assert f"or val_labels.txt into {root}, with lines of name and class" in said(root)
    (root / "val_labels.txt").write_text("ILSVRC2012_val_00000002.JPEG ant\nILSVRC2012_val_00000001.JPEG cow\n")
    config = folder_config(root)
    forget_scans()
    assert list(labels(config, "val").values()) == ["cow", "ant"]
    (root / "val_labels.txt").write_text("other.JPEG ant\n")  # about other pictures
    assert "no class folders" in said(root)


def test_classes_in_the_names_of_files(tmp_path: Path) -> None:
    """Kaggle's dogs-vs-cats: train holds all pictures, test1 those of the competition."""
    names = [f"{animal}.{number}.jpg" for animal in ("cat", "dog") for number in range(5)]
    root = tmp_path / "dogs-vs-cats"
    flat(root / "train", names)
    flat(root / "test1", [f"{number}.jpg" for number in range(1, 5)])
    for place in (root, root / "train"):
        assert "begin with cat, dog" in said(place) and "docs/data.md" in said(place)
    exec(LINES[0].replace("ROOT", str(root / "train")), {})
    forget_scans()
    config = folder_config(root)
    assert describe(config).classes == ["cat", "dog"]
    assert sum(len(open_source(config, split)) for split in ("train", "val")) == 10


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Abyssinian_1.jpg", "american_bulldog_12.jpg", "Abyssinian_2.jpg", "american_bulldog_3.jpg"],
         ["Abyssinian", "american_bulldog"]),
        (["IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg"], []),
        (["a1.jpg", "b2.jpg", "c3.jpg"], []),
        (["1.jpg", "2.jpg"], []),
        ([], []),
    ],
)  # fmt: skip
def test_words_that_names_begin_with(names: list[str], words: list[str]) -> None:
    assert leading_words(names) == words


def test_training_under_a_longer_name(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "inat", {"train_mini/a": 3, "train_mini/b": 3, "val/a": 1, "val/b": 2})
    config = folder_config(root)
    info = describe(config)
    assert info.train_samples == 6 and len(open_source(config, "val")) == 3
    assert f"training pictures from {root / 'train_mini'}" in info.notes


def test_classes_in_another_case(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets", {"train/cat": 2, "train/dog": 2, "val/Cat": 1, "val/dog": 1})
    assert "; Cat are among them in another case: rename them" in said(root)
    (root / "val/Cat").rename(root / "val/cat")
    forget_scans()
    assert describe(folder_config(root)).classes == ["cat", "dog"]


def test_numbered_parts_of_one_set_are_no_classes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "HAM", {"HAM10000_images_part_1": 3, "HAM10000_images_part_2": 3})
    assert describe(folder_config(root)).classes == ["HAM10000_images_part_1", "HAM10000_images_part_2"]
    (root / "HAM10000_metadata.csv").write_text("image_id,dx\nISIC_1,nv\n")
    text = said(root)
    assert "are parts of one set" in text and f"data=csv data.root={root}/HAM10000_metadata.csv" in text
    folds = write_tree(tmp_path / "folds", {f"fold{k}/{name}": 2 for k in (1, 2, 3) for name in "ab"})
    assert f"data.val_root={folds}/fold3" in said(folds)
    digits = write_tree(tmp_path / "digits", {f"digit_{k}": 2 for k in range(3)})
    (digits / "names.csv").write_text("x\n")
    assert len(describe(folder_config(digits)).classes) == 3


def test_splits_without_class_folders_beside_a_table(tmp_path: Path) -> None:
    root = tmp_path / "cassava"
    flat(root / "train_images", ["100.jpg", "200.jpg"])
    flat(root / "test_images", ["300.jpg"])
    for name in ("sample_submission.csv", "train.csv"):
        (root / name).write_text("image_id,label\n100.jpg,1\n")
    assert said(root).endswith(f"If train.csv tells the classes: data=csv data.root={root}/train.csv")


def test_files_that_another_kind_of_data_reads(tmp_path: Path) -> None:
    cifar = tmp_path / "cifar-10-batches-py"
    cifar.mkdir()
    (cifar / "data_batch_1").write_bytes(b"x")
    assert f"data=cifar10 data.root={tmp_path}" in said(cifar)
    assert f"give what holds it, data.root={tmp_path}" in said(cifar, DataKind.cifar10)
    pets = tmp_path / "oxford-iiit-pet"
    flat(pets / "images", ["Abyssinian_1.jpg"])
    (pets / "annotations").mkdir()
    (pets / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    assert said(pets).endswith(f"data=pets data.root={tmp_path}")
    for name, words in {"a.zip": "unpack a.zip first", "a.npz": "docs/data.md", "a.parquet": "data=hf"}.items():
        (tmp_path / name.replace(".", "_")).mkdir()
        (tmp_path / name.replace(".", "_") / name).write_bytes(b"x")
        assert words in said(tmp_path / name.replace(".", "_"))


def test_lines_that_make_pictures_of_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (12, 28, 28), dtype=np.uint8)
    numbers = (np.arange(12) % 3).astype(np.uint8)
    arrays = {"x_train": pixels, "y_train": numbers, "x_test": pixels[:4], "y_test": numbers[:4]}
    np.savez(tmp_path / "mnist.npz", **arrays)  # type: ignore[arg-type]
    assert "docs/data.md" in said(tmp_path)
    exec(LINES[1].replace("ROOT", str(tmp_path)), {})
    config = folder_config(tmp_path / "pictures")
    assert describe(config).counts == [4, 4, 4] and len(open_source(config, "val")) == 4
    source = open_source(config, "train")
    order = [int(Path(source.name(index)).stem) for index in range(12)]
    assert all((source.read(place)[0][0].numpy() == pixels[number]).all() for place, number in enumerate(order))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 12, 28, 28) + pixels.tobytes())
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 12) + numbers.tobytes())
    flat_rows = np.hstack([numbers[:, None], pixels.reshape(12, -1)])
    heading = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    np.savetxt(tmp_path / "train.csv", flat_rows, "%d", ",", header=heading, comments="")
    for lines in LINES[2:4]:
        names: dict[str, np.ndarray] = {}
        exec(lines.replace("ROOT", str(tmp_path)), names)
        assert (names["pixels"] == pixels).all() and (names["labels"] == numbers).all()
