"""Tables as competitions hand them out: splits and folds in a column, pictures in several folders, no heading."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.helpers.made_pictures import folder_config, write_picture
from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data import describe
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans
from vit.data.sources.table_advice import places
from vit.data.sources.unlabelled import list_pictures


def table(root: Path, text: str, name: str = "train.csv", pictures: int = 6) -> VitConfig:
    root.mkdir(exist_ok=True)
    for number in range(pictures):
        write_picture(root / f"{number}.png")
    (root / name).write_text(text)
    forget_scans()
    return folder_config(root / name, DataKind.csv)


def names(config: VitConfig, split: str) -> list[str]:
    source = open_source(config, split)
    return [Path(source.name(index)).name for index in range(len(source))]


def refused(config: VitConfig) -> str:
    forget_scans()
    with pytest.raises(DataError) as caught:
        describe(config)
    return str(caught.value)


def follow(config: VitConfig, text: str) -> None:
    """The keys that a message tells, unquoted as a shell does."""
    quoted = re.findall(r"'(data\.\w+=[^']*)'|\"(data\.\w+=[^\"]*)\"|(?<![\w'\"])(data\.\w+=[^\s;:,]+)", text)
    for word in ("".join(parts) for parts in quoted):
        key, _, value = word.removeprefix("data.").partition("=")
        value = value.strip("'") or " "
        setattr(config.data, key, value.strip("[]").split(",") if value.startswith("[") else value)
    forget_scans()


@pytest.mark.parametrize(
    ("column", "cells", "val", "test"),
    [
        ("split", ["train", "train", "valid", "test", "train", "valid"], [2, 5], [3]),
        ("Usage", ["Training", "PublicTest", "PrivateTest", "Training", "Training", "Training"], [1], [2]),
        ("is_valid", ["False", "True", "False", "False", "0", "1"], [1, 5], None),
    ],
)
def test_a_column_of_splits_is_one(
    column: str, cells: list[str], val: list[int], test: list[int] | None, tmp_path: Path
) -> None:
    """Its rows were all trained on, test and validation alike."""
    rows = "".join(f"{number}.png,{'ab'[number % 2]},{cell}\n" for number, cell in enumerate(cells))
    config = table(tmp_path, f"path,label,{column}\n{rows}")
    assert names(config, "val") == [f"{number}.png" for number in val]
    rest = [number for number in range(6) if number not in val + (test or [])]
    assert names(config, "train") == [f"{number}.png" for number in rest]
    if test:
        assert names(config, "test") == [f"{number}.png" for number in test]
    assert any(f"{len(rest)} rows of train by column '{column}'" in note for note in describe(config).notes)
    text = (tmp_path / "train.csv").read_text()
    (tmp_path / "train.csv").write_text("sep=;\n" + text.replace(",", ";"))  # as Excel saves it in Europe
    forget_scans()
    assert names(config, "val") == [f"{number}.png" for number in val]
    config.data.root = str(tmp_path)  # as train.csv of a folder
    forget_scans()
    assert names(config, "val") == [f"{number}.png" for number in val]
    config.data.csv_split = None
    forget_scans()
    assert len(names(config, "train")) + len(names(config, "val")) == 6


def test_columns_that_are_called_so_but_hold_other_things(tmp_path: Path) -> None:
    cells = ["train", "red", "blue", "test", "red", "blue"]
    rows = "".join(f"{number}.png,a,{cell}\n" for number, cell in enumerate(cells))
    config = table(tmp_path, f"path,label,set\n{rows}".replace(",a,t", ",b,t"))
    assert len(names(config, "train")) + len(names(config, "val")) == 6
    config.data.csv_split = "set"
    assert "holds blue, red, which are not train, val or test" in refused(config)
    config.data.csv_split = "sett"
    assert "no column 'sett'; did you mean 'set'" in refused(config)


def test_folds(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,{'ab'[number % 2]},{number // 2}\n" for number in range(6))
    config = table(tmp_path, f"path,label,kfold\n{rows}")
    config.data.csv_split = "kfold"
    follow(config, refused(config))
    assert config.data.csv_val == "0"
    for fold in range(3):
        config.data.csv_val = str(fold)
        forget_scans()
        held = [f"{2 * fold}.png", f"{2 * fold + 1}.png"]
        assert names(config, "val") == held
        assert names(config, "train") == [f"{number}.png" for number in range(6) if f"{number}.png" not in held]


def test_a_table_of_validation_under_another_name(tmp_path: Path) -> None:
    """CheXpert has train.csv and valid.csv: of the first a part was held out, the second not looked at."""
    config = table(tmp_path, "path,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    (tmp_path / "valid.csv").write_text("path,label\n4.png,a\n5.png,b\n")
    config.data.root = str(tmp_path)
    assert names(config, "val") == ["4.png", "5.png"] and len(names(config, "train")) == 4


@pytest.mark.parametrize("folders", [("part_1", "part_2"), ("images_001/images", "images_012/images"), ("a", "b/c")])
def test_pictures_in_several_folders(folders: tuple[str, str], tmp_path: Path) -> None:
    """HAM10000, ChestX-ray14: what was told for the first half did not find the second."""
    for number in range(8):
        write_picture(tmp_path / folders[number // 4] / f"ISIC_{number}.jpg")
    rows = "".join(f"ISIC_{number},{'ab'[number % 2]}\n" for number in range(8))
    config = table(tmp_path, f"path,label\n{rows}", pictures=0)
    text = refused(config)
    follow(config, text)
    info = describe(config)
    assert info.train_samples + len(names(config, "val")) == 8
    source = open_source(config, "train")
    assert all(Path(source.name(index)).is_file() for index in range(len(source)))
    listed = list_pictures(tmp_path / "train.csv", "path", f"{tmp_path}/{config.data.csv_folder}", ".jpg")
    assert len(listed.files) == 8 and all(file.is_file() for file in listed.files)


def test_a_list_of_pictures_in_several_folders(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / f"images_{number // 2}" / f"{number}.png")
    (tmp_path / "list.txt").write_text("".join(f"{number}.png\n" for number in (3, 0, 2)))
    listed = list_pictures(tmp_path / "list.txt", folder=f"{tmp_path}/images_*")
    assert [str(file.relative_to(tmp_path)) for file in listed.files] == [
        "images_1/3.png",
        "images_0/0.png",
        "images_1/2.png",
    ]
    assert listed.sheet is None


def test_where_pictures_of_one_folder_lie(tmp_path: Path) -> None:
    write_picture(tmp_path / "images/Train_0.jpg")
    assert places(["Train_0"], tmp_path) == {"data.csv_folder": "images", "data.csv_suffix": ".jpg"}
    assert places(["Test_0"], tmp_path) == {}


def test_a_list_without_a_heading(tmp_path: Path) -> None:
    config = table(tmp_path, "".join(f"{number}.png {number % 2}\n" for number in range(6)), "train.txt")
    text = refused(config)
    command = text[text.index("sed") : text.index(" puts one")]
    subprocess.run(shlex.split(command), check=True)
    follow(config, text)
    assert config.data.csv_delimiter == " " and describe(config).classes == ["0", "1"]
    config = table(tmp_path, "".join(f"{number}.png,{number % 2}\n" for number in range(6)), "list.csv")
    assert "put a line above it with a name for each column, such as path,label" in refused(config)


def test_other_tables_than_were_meant(tmp_path: Path) -> None:
    heading = ",".join(["label", *(f"pixel{number}" for number in range(784))])
    text = refused(table(tmp_path / "digits", f"{heading}\n" + ",".join(["0"] * 785), pictures=0))
    assert "and 765 more. It holds pixels" in text and len(text) < 600
    config = table(tmp_path / "plants", "path,healthy,rust,scab\n0.png,1,0,0\n1.png,0,1,0\n2.png,0,0,1\n3.png,1,0,0\n")
    config.data.val_root = config.data.root
    follow(config, refused(config))
    assert describe(config).classes == ["healthy", "rust", "scab"]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    """As Roboflow exports them."""
    for split in ("train", "valid", "test"):
        table(tmp_path / split, "path, label\n0.png, a\n1.png, b\n", "_classes.csv")
    config = folder_config(tmp_path, DataKind.csv)
    follow(config, refused(config))
    assert describe(config).classes == ["a", "b"]
    assert [len(names(config, split)) for split in ("train", "val", "test")] == [2, 2, 2]


@pytest.mark.timeout(20)
def test_cells_that_are_longer_than_any_path_or_number(tmp_path: Path) -> None:
    """10,000 folders in a name took a minute; Python reads no number of 5,000 digits."""
    rows = "0.png,a\n1.png,b\n2.png,a\n3.png,b\n"
    (tmp_path / "digits").mkdir()
    config = table(tmp_path / "digits", f"path,label\n{rows}4.png,{'9' * 5000}\n5.png,{'1' * 5000}\n")
    config.data.val_root = None
    assert describe(config).classes == ["1" * 5000, "9" * 5000, "a", "b"]
    (tmp_path / "folders").mkdir()
    assert "there is no file" in refused(table(tmp_path / "folders", f"path,label\n{rows}{'x/' * 10000}.png,a\n"))
