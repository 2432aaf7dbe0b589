"""Labels of tables that are not what they would be taken for: other marks, other separators."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.made_pictures import folder_config, write_picture
from tests.helpers.paths import ROOT
from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data import describe
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans

LINES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "data.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def table(tmp_path: Path, heading: str, *rows: str, **settings: object) -> VitConfig:
    """A table whose first column is ``path``; rows are the others' cells."""
    for number in range(len(rows)):
        write_picture(tmp_path / f"{number}.png")
    lines = [f"path,{heading}", *(f"{number}.png,{row}" for number, row in enumerate(rows))]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    config = folder_config(tmp_path / "train.csv", DataKind.csv)
    config.data.val_root = str(tmp_path / "train.csv")
    for name, value in settings.items():
        setattr(config.data, name, value)
    forget_scans()
    return config


def test_uncertain_marks_are_no_classes(tmp_path: Path) -> None:
    """CheXpert: 1.0, 0.0, -1.0 and empty cells. It was read as the classes 0.0, 1.0 and -1.0."""
    rows = ("1.0,", "0.0,-1.0", "-1.0,1.0", ",0.0")
    columns: dict[str, object] = {"csv_label": ["Edema", "Pleural Effusion"], "multilabel": True}
    config = table(tmp_path, "Edema,Pleural Effusion", *rows, **columns)
    with pytest.raises(DataError, match=r"'Pleural Effusion' has -1\.0 in line 3 \(2 cells .*docs/data\.md"):
        describe(config)
    exec(LINES[-1].replace("ROOT", str(tmp_path)), {})
    config.data.root = str(tmp_path / "train-zeros.csv")
    config.data.val_root = config.data.root
    forget_scans()
    assert describe(config).classes == ["Edema", "Pleural Effusion"]
    assert open_source(config, "train").labels().tolist() == [[True, False], [False, False], [False, True], [False] * 2]


def test_columns_that_hold_names_are_still_labels(tmp_path: Path) -> None:
    columns: dict[str, object] = {"csv_label": ["first", "second"], "multilabel": True}
    config = table(tmp_path, "first,second", "cat,dog", "dog,", "bird,1", **columns)
    assert describe(config).classes == ["1", "bird", "cat", "dog"]
    config = table(tmp_path, "first,second", "3,1", "2,", "4,2", "1,3", **columns)
    assert describe(config).classes == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("rows", "separator", "classes"),
    [
        (("haze primary", "clear primary road", "cloudy"), " ", ["clear", "cloudy", "haze", "primary", "road"]),
        (("a;b", "b;c", "a"), ";", ["a", "b", "c"]),
        (('"a, b"', '"b,c"', "a"), ",", ["a", "b", "c"]),
    ],
)
def test_another_separator_is_told(rows: tuple[str, ...], separator: str, classes: list[str], tmp_path: Path) -> None:
    config = table(tmp_path, "label", *rows, multilabel=True)
    with pytest.raises(DataError, match=r"no cell has '\|' between labels") as caught:
        describe(config)
    told = re.search(r'"data\.csv_separator=(.+?)" separates', str(caught.value))
    assert told is not None
    config.data.csv_separator = told[1].strip("'") or " "
    forget_scans()
    assert config.data.csv_separator == separator and describe(config).classes == classes
    other = re.search(r"data\.csv_separator=(\S)$", str(caught.value))
    assert other is not None
    config.data.csv_separator = other[1]
    forget_scans()
    info = describe(config)
    assert len(info.classes) == 3 and any("is taken as one label" in note for note in info.notes)


def test_single_labels_of_several_words_pass(tmp_path: Path) -> None:
    config = table(tmp_path, "label", "black cat", "white dog", "bird", multilabel=True)
    assert describe(config).classes == ["bird", "black cat", "white dog"]


def test_several_labels_that_are_taken_as_one_are_said(tmp_path: Path) -> None:
    """ChestX-ray14 without data.multilabel: every combination would be a class."""
    rows = ("Hernia", "Effusion|Hernia", "Effusion|Mass", "None")
    config = table(tmp_path, "label", *rows)
    assert any("data.multilabel=true takes them as several of Effusion" in note for note in describe(config).notes)
    config.data.multilabel = True
    forget_scans()
    assert describe(config).classes == ["Effusion", "Hernia", "Mass", "None"]
    config = table(tmp_path, "label", "a|b", "c", "d")  # nothing shared: perhaps a name
    assert not any("multilabel" in note for note in describe(config).notes)
