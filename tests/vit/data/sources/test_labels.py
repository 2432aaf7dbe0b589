"""How labels are written in tables: numbers, names, several of them, a column for each class, nothing at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_tables import rows, table
from trainer.errors import ConfigError, DataError
from vit.data import build_dataset, describe
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans


def test_numbers_are_class_indices(tmp_path: Path) -> None:
    info = describe(table(tmp_path, rows("03", "0", "3", "0", "1", "1")))
    assert info.classes == ["0", "1", "2", "3"] and info.counts == [1, 1, 0, 1]
    assert any("no training picture of 1 of 4 classes: 2" in note for note in info.notes)


@pytest.mark.parametrize(("labels", "wrong"), [(("0", "7"), "7"), (("-1", "2"), "-1")])
def test_numbers_out_of_range(tmp_path: Path, labels: tuple[str, ...], wrong: str) -> None:
    config = table(tmp_path, rows(*labels))
    config.model.num_classes = 5
    with pytest.raises(DataError, match=rf"labels\.csv: label {wrong} \(picture \d\) is out of range.*from 0 to 4"):
        describe(config)


def test_several_labels(tmp_path: Path) -> None:
    config = table(tmp_path, rows("sea|sky", "", "sky", "sea| sun", "sun", "sky|sea|sun"))
    config.data.multilabel = True
    info = describe(config)
    assert info.multilabel and info.classes == ["sea", "sky", "sun"]
    config.data.val_root = config.data.root  # so that all are trained on
    train = open_source(config, "train").labels().astype(int).tolist()
    assert train == [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 1]]
    label = build_dataset(config, "train", (16, 16)).sample(0, np.random.default_rng(0))["label"]
    assert label.dtype == np.float32 and label.tolist() == [1, 1, 0]
    assert describe(config).counts == [3, 3, 3]
    config.data.balanced = True
    with pytest.raises(ConfigError, match=r"data\.balanced"):
        describe(config)


def test_a_column_for_each_class(tmp_path: Path) -> None:
    text = "path,cat,dog,bird\n" + "".join(
        f"pictures/{i}.png,{row}\n" for i, row in enumerate(("1,0,0", "0,1,0", "0,0,1", "1,0,0"))
    )
    config = table(tmp_path, text)
    config.data.csv_label, config.data.val_root = ["cat", "dog", "bird"], config.data.root
    assert describe(config).classes == ["cat", "dog", "bird"]
    assert open_source(config, "train").labels().tolist() == [0, 1, 2, 0]
    config.data.multilabel = True
    assert open_source(config, "train").labels().astype(int).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    config.data.csv_label = "cat"
    with pytest.raises(DataError, match=r"columns cat, dog, bird hold 0 and 1 alone.*data\.csv_label=\[cat,dog,bird\]"):
        describe(config)
    (tmp_path / "labels.csv").write_text(text.replace("1,0,0", "1,0,1.0"))
    forget_scans()
    config.data.csv_label = ["cat", "dog", "bird"]
    assert open_source(config, "val").labels()[0].astype(int).tolist() == [1, 0, 1]
    config.data.multilabel = False
    with pytest.raises(DataError, match=r"line 2: 2 of the columns cat, dog, bird are 1.*data\.multilabel=true"):
        describe(config)


@pytest.mark.parametrize("odd", ["-1.0", "0.5", "-1"])
def test_marks_that_are_neither_yes_nor_no(odd: str, tmp_path: Path) -> None:
    """CheXpert's -1 is "uncertain": the classes were -1.0, 0.0 and 1.0."""
    text = "path,cat,dog\n" + "".join(
        f"pictures/{i}.png,{row}\n" for i, row in enumerate(("1.0,0.0", ",1.0", f"0.0,{odd}", "1.0,"))
    )
    config = table(tmp_path, text)
    config.data.csv_label, config.data.multilabel = ["cat", "dog"], True
    with pytest.raises(DataError, match=rf"labels\.csv: column 'dog' has {odd} in line 4 .*0 or 1"):
        describe(config)
    (tmp_path / "labels.csv").write_text(text.replace(f"0.0,{odd}", "0.0,0"))
    forget_scans()
    assert describe(config).classes == ["cat", "dog"]


def test_several_columns_of_labels(tmp_path: Path) -> None:
    text = "path,first,second\npictures/0.png,sea,sky\npictures/1.png,sky,\npictures/2.png,sun,sun\n"
    config = table(tmp_path, text)
    config.data.csv_label = ["first", "second"]
    with pytest.raises(DataError, match=r"line 2: .*names 2 columns.*'sea'.*data\.multilabel=true"):
        describe(config)
    config.data.multilabel, config.data.val_root = True, config.data.root
    assert open_source(config, "train").labels().astype(int).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (("0.0", "2.0", "1.0", "0.0"), ["0", "1", "2"], [0, 2, 1, 0]),  # pandas, of a column that had gaps
        (("1.0", "0", "01", "0"), ["0", "1"], [1, 0, 1, 0]),
        (("1.5", "0", "2.0", "0"), ["0", "1.5", "2.0"], [1, 0, 2, 0]),  # no whole numbers
        (("[3]", "[0]", "[1]", "[1]"), ["0", "1", "2", "3"], [3, 0, 1, 1]),
        ((" a ", "b", "a\u00a0", '"b\n"'), ["a", "b"], [0, 1, 0, 1]),
    ],
)
def test_how_labels_are_written(
    tmp_path: Path, labels: tuple[str, ...], classes: list[str], numbers: list[int]
) -> None:
    config = table(tmp_path, rows(*labels))
    config.data.val_root = config.data.root
    assert describe(config).classes == classes
    assert open_source(config, "train").labels().tolist() == numbers


def test_numbers_of_one_table_with_a_point_and_of_another_without(tmp_path: Path) -> None:
    config = table(tmp_path, rows("0", "1", "0", "1"))
    (tmp_path / "val.csv").write_text(rows("1.0", "0.0"))
    config.data.val_root = str(tmp_path / "val.csv")
    assert open_source(config, "val").labels().tolist() == [1, 0]


@pytest.mark.parametrize("nothing", ["nan", "NaN", "<NA>", ""])
def test_no_label_is_no_class(tmp_path: Path, nothing: str) -> None:
    with pytest.raises(DataError, match=r"line 3: no label in column 'label'; give one, or leave the row out"):
        describe(table(tmp_path, rows("a", nothing, "b", "a")))


@pytest.mark.parametrize(
    "labels",
    [
        ('"[1, 3]"', "[]", "[0]", '"[3,1]"'),
        ("[1 3]", "", "[0]", "[3 1]"),  # NumPy
        ("\"['1', '3']\"", "nan", "\"['0']\"", "\"['3', '1']\""),
        ("1|3", "", "0", "3|1.0"),
    ],
)
def test_lists_of_labels(tmp_path: Path, labels: tuple[str, ...]) -> None:
    config = table(tmp_path, rows(*labels))
    config.data.val_root, config.data.multilabel = config.data.root, True
    assert describe(config).classes == ["0", "1", "2", "3"]
    found = open_source(config, "train").labels()
    assert [np.flatnonzero(row).tolist() for row in found] == [[1, 3], [], [0], [1, 3]]
    if "[" in labels[0]:
        config.data.multilabel = False
        with pytest.raises(DataError, match=r"line [23]: .*data\.multilabel=true|line 3: no label"):
            describe(config)


def test_another_separator_than_is_told(tmp_path: Path) -> None:
    config = table(tmp_path, rows("haze primary", "clear", "clear water", "haze"))
    config.data.val_root, config.data.multilabel = config.data.root, True
    with pytest.raises(DataError, match=r"no cell has '\|' .*'haze primary' share clear, haze"):
        describe(config)
    config.data.csv_separator = "/"
    forget_scans()
    assert any("no cell has '/'" in note and "'haze primary'" in note for note in describe(config).notes)
    config.data.csv_separator = " "
    assert describe(config).classes == ["clear", "haze", "primary", "water"]
