"""Tables of pictures and labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_pictures import write_picture
from tests.helpers.made_tables import rows, table
from trainer.config.fields import OnBadFile
from trainer.errors import DataError
from vit.data import build_dataset, describe
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans
from vit.data.sources.unlabelled import list_pictures


def test_names_as_labels(tmp_path: Path) -> None:
    config = table(tmp_path, rows("dog", "cat", "dog", "cat10", "cat10", "cat"))
    info = describe(config)
    assert info.classes == ["cat", "cat10", "dog"] and info.counts == [1, 1, 1]
    val = build_dataset(config, "val", (16, 16))
    found = [val.sample(index, np.random.default_rng(0)) for index in range(3)]
    told = {"0.png": 2, "1.png": 0, "2.png": 2, "3.png": 1, "4.png": 1, "5.png": 0}
    assert [sample["label"] for sample in found] == [told[Path(sample["name"]).name] for sample in found]
    assert {sample["label"] for sample in found} == {0, 1, 2}


def test_other_columns_and_separators(tmp_path: Path) -> None:
    text = "\ufeffid,file,tags\n1,pictures/0.png,a;b\n\n2,pictures/1.png,b\n"
    config = table(tmp_path, text)
    with pytest.raises(DataError, match=r"no column 'path'.*data\.csv_path.*columns are: id, file, tags"):
        describe(config)
    config.data.csv_path, config.data.csv_label, config.data.csv_separator = "file", "tag", ";"
    config.data.multilabel = True
    with pytest.raises(DataError, match=r"no column 'tag'.*did you mean 'tags'"):
        describe(config)
    config.data.csv_label = "tags"
    info = describe(config)
    assert info.classes == ["a", "b"] and any("skipped 1 blank lines" in note for note in info.notes)


def test_a_folder_of_tables(tmp_path: Path) -> None:
    table(tmp_path, rows("a", "b"), "train.csv")
    config = table(tmp_path, rows("b"), "val.csv")
    config.data.root = str(tmp_path)
    assert describe(config).counts == [1, 1]
    assert open_source(config, "val").labels().tolist() == [1]
    (tmp_path / "val.csv").write_text(rows("c"))
    forget_scans()
    with pytest.raises(DataError, match=r"val\.csv: label c not among the 2 classes of the training split \(a, b\)"):
        describe(config)
    (tmp_path / "train.csv").rename(tmp_path / "other.csv")
    forget_scans()
    with pytest.raises(DataError, match=r"no training pictures"):
        describe(config)
    (tmp_path / "val.csv").unlink()
    forget_scans()
    with pytest.raises(DataError, match=r"no train\.csv .*other\.csv"):
        describe(config)


def test_missing_files(tmp_path: Path) -> None:
    config = table(tmp_path, rows("a", "b", "a", "b"), pictures=3)
    with pytest.raises(DataError, match=r"there is no file .*3\.png \(line 5\)\. Paths are relative to the table"):
        describe(config)
    config.data.on_bad_file = OnBadFile["skip"]
    assert any("1 of 4 pictures are missing" in note for note in describe(config).notes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no column 'path'.*none, the file is empty"),
        ("path,label\n", "no rows below the heading"),
        ("path,label\npictures/0.png\n", "line 2: 1 cells"),
        ("path,label\npictures/0.png,\n", "line 2: no label in column 'label'"),
        ("path,label\npictures/0.png,a\n", "no class has two pictures"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        describe(table(tmp_path, text))


NAMES = ("Biene", "Käfer", "Käfer", "Biene")


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", None), ("utf-8-sig", None), ("cp1252", "Windows-1252"), ("latin-1", "Windows-1252"),
     ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16-LE"), ("utf-16-be", "UTF-16-BE"), ("utf-32", "UTF-32")],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, said: str | None, delimiter: str) -> None:
    config = table(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes(rows(*NAMES).replace(",", delimiter).encode(encoding))
    info = describe(config)
    assert info.classes == ["Biene", "Käfer"]
    notes = "; ".join(info.notes)
    assert ("read as" in notes) == (said is not None) and (said is None or f"read as {said}" in notes)
    assert ("cells are separated by" in notes) == (delimiter != ",")


def test_a_delimiter_that_is_told(tmp_path: Path) -> None:
    config = table(tmp_path, "path:label\npictures/0.png:a\npictures/1.png:a\n")
    with pytest.raises(DataError, match="columns are: path:label"):
        describe(config)
    config.data.csv_delimiter = ":"
    assert describe(config).classes == ["a"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [(rows("a", "b\0"), "line 3: a NUL character"), ('path,label\n"0.png,a\n', "line 2: a quote .* never closes")],
)
def test_what_is_no_table(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        describe(table(tmp_path, text))


def test_long_cells(tmp_path: Path) -> None:
    text = "path,label,note\n" + "".join(f"pictures/{i}.png,a,{'x' * 200_000}\n" for i in range(4))
    assert describe(table(tmp_path, text)).classes == ["a"]


def test_names_without_folder_and_suffix(tmp_path: Path) -> None:
    text = "id_code,diagnosis\n" + "".join(f"{i},{i % 2}\n" for i in range(6))
    config = table(tmp_path, text)
    config.data.csv_path, config.data.csv_label = "id_code", "diagnosis"
    with pytest.raises(DataError, match=r"found with data\.csv_folder=pictures data\.csv_suffix=\.png"):
        describe(config)
    config.data.csv_folder, config.data.csv_suffix = "pictures", ".png"
    assert describe(config).classes == ["0", "1"]


def test_missing_files_are_listed(tmp_path: Path) -> None:
    config = table(tmp_path, rows("a", "b", "a", "b", "a", "b"), pictures=2)
    with pytest.raises(DataError, match=r"2\.png \(line 4\), .*3\.png \(line 5\), .*5\.png \(line 7\)\. Paths"):
        describe(config)
    config.data.on_bad_file = OnBadFile["skip"]
    assert any("4 of 6 pictures are missing: " in note and "5.png (line 7)" in note for note in describe(config).notes)
    table(tmp_path, rows("a", "b"), pictures=0)
    for picture in (tmp_path / "pictures").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match="there is no file"):
        describe(config)


def test_paths_written_on_windows(tmp_path: Path) -> None:
    assert describe(table(tmp_path, rows("a", "a").replace("/", "\\"))).train_samples == 1


@pytest.mark.parametrize(
    ("stray", "line", "said"),
    [
        ({1: '"cat'}, 3, r"a quote \(\"\) opens here and never closes"),  # swallows all rows to the end
        ({1: '"cat', 4: '"dog'}, 6, "column 'label' goes over several lines .cat pictures/2.png,dog"),  # and up to it
    ],
)
def test_a_stray_quote_swallows_no_rows(stray: dict[int, str], line: int, said: str, tmp_path: Path) -> None:
    labels = [stray.get(number, "dog") for number in range(6)]
    with pytest.raises(DataError, match=rf"labels\.csv, line {line}: {said}"):
        describe(table(tmp_path, rows(*labels)))
    pictures = "path\n" + "".join(f"pictures/{number}.png\n" for number in range(5))
    (tmp_path / "list.csv").write_text(pictures.replace("pictures/3", '"pictures/3'))
    with pytest.raises(DataError, match=r"list\.csv, line 5: a quote .* opens here"):
        list_pictures(tmp_path / "list.csv")
    closed = pictures.replace("pictures/3", '"pictures/3').replace("pictures/4", '"pictures/4')
    (tmp_path / "list.csv").write_text(closed)
    with pytest.raises(DataError, match=r"list\.csv, line 6: column 1 goes over several lines"):
        list_pictures(tmp_path / "list.csv")


def test_quotes_that_belong_to_the_text(tmp_path: Path) -> None:
    """Those within a cell, doubled ones, and line breaks in columns that are not read."""
    text = 'path,label,note\npictures/0.png,5" disc,"two\nlines"\npictures/1.png,"a ""b""",\npictures/2.png,5" disc,x\n'
    info = describe(table(tmp_path, text + 'pictures/3.png,"a ""b""",x'))
    assert info.classes == ['5" disc', 'a "b"'] and info.train_samples == 2


@pytest.mark.parametrize(
    ("start", "folder"),
    [
        ("/home/other/data/", ""),  # from another machine
        ("C:\\Users\\me\\data\\", ""),
        ("data/", ""),  # seen from a folder above the table
        ("D:/x/pictures/", "pictures"),
    ],
)
def test_names_from_another_place(tmp_path: Path, start: str, folder: str) -> None:
    """As long as the rest of the names leads to files; the same start is left out of all of them."""
    text = rows("a", "b", "a", "b", "a", "b")
    text = text.replace("pictures/", start + ("" if folder else "pictures\\" if "\\" in start else "pictures/"))
    config = table(tmp_path, text)
    config.data.csv_folder, config.data.val_root = folder or None, config.data.root
    info = describe(config)
    assert info.classes == ["a", "b"] and info.counts == [3, 3]
    told = f"6 files are named from {start}, which is not here: taken from {tmp_path}".replace("\\", "/")
    assert any(told in note for note in info.notes)
    assert open_source(config, "train").read(0)[0].shape == (3, 12, 16)
    (tmp_path / "labels.csv").write_text(text + f"{start}other/0.png,a\n")
    forget_scans()
    with pytest.raises(DataError, match=r"there is no file .*other/0\.png \(line 8\)"):
        describe(config)


def test_names_in_another_case(tmp_path: Path) -> None:
    config = table(tmp_path, rows("a", "b", "a", "b", "a", "b").replace(".png", ".PNG").replace("pict", "Pict"))
    config.data.val_root = config.data.root
    info = describe(config)
    assert info.counts == [3, 3] and any("6 files are written in another case" in note for note in info.notes)
    write_picture(tmp_path / "pictures" / "0.Png", (99, 0, 0))  # which of the two is meant, nobody knows
    forget_scans()
    with pytest.raises(DataError, match=r"there is no file .*0\.PNG \(line 2\)"):
        describe(config)


def test_suffixes_in_another_case(tmp_path: Path) -> None:
    config = table(tmp_path, "path,label\n" + "".join(f"{i},{i % 2}\n" for i in range(6)))
    config.data.csv_folder, config.data.csv_suffix = "pictures", ".PNG"
    config.data.val_root = config.data.root
    assert describe(config).train_samples == 6


def test_excels_tables_with_decimal_commas(tmp_path: Path) -> None:
    text = "path;cat;dog;age\n" + "".join(f"pictures/{i}.png;{i % 2},0;{1 - i % 2},0;0,{i}\n" for i in range(4))
    config = table(tmp_path, text)
    config.data.csv_label, config.data.val_root = ["cat", "dog"], config.data.root
    assert describe(config).classes == ["cat", "dog"]
    assert open_source(config, "train").labels().tolist() == [1, 0, 1, 0]
    (tmp_path / "labels.csv").write_text(text.replace("0,0;1,0", "0,3;1,0"))
    forget_scans()
    with pytest.raises(DataError, match=r"line 2: .*'0,3', neither 0 nor 1"):
        describe(config)


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n", "\n\n"])
def test_what_excel_writes_above_the_heading(tmp_path: Path, line: str) -> None:
    config = table(tmp_path, line + rows("a", "b", "a", "b").replace(",", ";"))
    config.data.val_root = config.data.root
    assert describe(config).classes == ["a", "b"] and describe(config).train_samples == 4


def test_cells_with_line_breaks(tmp_path: Path) -> None:
    text = 'path,"what\nelse",label\n' + "".join(
        f'pictures/{i}.png,"one\ntwo, three",{"ab"[i % 2]}\n' for i in range(3)
    )
    config = table(tmp_path, text + 'pictures/9.png,"x\ny",a\n')
    with pytest.raises(DataError, match=r"9\.png \(line 10\)"):
        describe(config)


def test_a_table_without_heading(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(pictures/0\.png, a\) names a picture.*such as path,label"):
        describe(table(tmp_path, rows("a", "b").removeprefix("path,label\n")))


def test_files_in_several_rows(tmp_path: Path) -> None:
    """One row per object, as of detection: a picture with one class of several."""
    again = rows("a", "b", "a", "b") + "pictures/1.png,b\n"
    config = table(tmp_path, again)
    assert any("1 files stand in several rows, which count each" in note for note in describe(config).notes)
    config = table(tmp_path, again + "pictures/0.png,b\n")
    told = "warning: .*1 files stand in several rows with different labels, first .*0.png \\(lines 2, 7\\)"
    assert any(re.search(told, note) for note in describe(config).notes)
    assert not any("several rows" in note for note in describe(table(tmp_path, rows("a", "b", "a", "b"))).notes)


def test_a_pointer_of_git_lfs_in_place_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: is no text but a pointer of Git LFS .*git lfs pull"):
        describe(table(tmp_path, "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"))
