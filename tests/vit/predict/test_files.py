"""What is predicted, and where answers go: folders, tables, patterns, streams; the columns that are asked for."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.predictions import CPU, pictures, read, values
from tests.helpers.scripts import run_script
from trainer.errors import UserError
from vit.data.sources.unlabelled import list_pictures
from vit.predict.predictor import load_predictor

# Sources


@pytest.mark.parametrize("backwards", [False, True])
def test_a_folder_of_two_names_has_one(backwards: bool, tmp_path, monkeypatch) -> None:
    """Whatever order the disk lists them in."""
    pictures(tmp_path / "pics/real", 2)
    (tmp_path / "pics/alias").symlink_to(tmp_path / "pics/real", target_is_directory=True)
    walk = os.walk

    def listed(root: Path, **options: bool):
        for place, folders, files in walk(root, **options):
            folders.sort(reverse=backwards)
            yield place, folders, files

    monkeypatch.setattr("vit.data.sources.unlabelled.os.walk", listed)
    assert list_pictures(tmp_path / "pics").names == ["alias/0.png", "alias/1.png"]


def test_json_lines_are_utf_8_whatever_files_are_called(tmp_path) -> None:
    make_run(tmp_path / "run", mu_config())
    (path,) = pictures(tmp_path / "pics", 1)
    for name in (b"caf\xc3\xa9.png", b"caf\xe9.png"):
        try:
            os.link(path, os.path.join(os.fsencode(tmp_path / "pics"), name))
        except OSError:
            pytest.skip("this file system takes UTF-8 alone")
    out = tmp_path / "p.jsonl"
    assert run_script("predict", f"run={tmp_path / 'run'}", f"source={tmp_path / 'pics'}", f"out={out}", *CPU) == 0
    text = out.read_text(encoding="utf-8")
    names = {os.fsencode(json.loads(line)["file"]) for line in text.splitlines()}
    assert names == {b"0.png", b"caf\xc3\xa9.png", b"caf\xe9.png"} and "café.png" in text


def test_rows_that_name_no_picture_are_counted(tmp_path) -> None:
    pictures(tmp_path, 2)
    (tmp_path / "t.csv").write_text("label,file\nx,0.png\ny,\nz\nx,1.png\n\n")
    listed = list_pictures(tmp_path / "t.csv")
    assert listed.names == ["0.png", "1.png"] and "left out 2 rows that name no picture" in listed.notes[-1]


def test_tables_as_people_have_them(tmp_path) -> None:
    pictures(tmp_path / "test")
    table = tmp_path / "sample.csv"
    table.write_text("id;label\n0;0\n5;0\n\n3;0\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"none of its 3 files exists, first .*/0\. Names are taken from"):
        list_pictures(table)
    with pytest.raises(UserError, match=r"did you mean suffix=.png\?"):
        list_pictures(table, folder=str(tmp_path / "test"))
    listed = list_pictures(table, folder=str(tmp_path / "test"), suffix=".png")
    assert listed.names == ["0", "5", "3"]
    assert listed.files == [tmp_path / "test" / f"{n}.png" for n in (0, 5, 3)]
    table.write_bytes("straße,größe\ntest/1.png,2\n".encode("latin-1"))
    listed = list_pictures(table, column="straße")
    assert listed.names == ["test/1.png"] and "Latin-1" in listed.notes[0]
    with pytest.raises(UserError, match=r"which of its columns names the files \(straße, größe\)\? .*column=NAME"):
        list_pictures(table)
    with pytest.raises(UserError, match=r"no column 'strase'.*straße"):
        list_pictures(table, column="strase")
    names = tmp_path / "names.txt"
    names.write_text("test/4.png\ntest/2.png\n")  # no heading
    assert list_pictures(names).names == ["test/4.png", "test/2.png"]
    with pytest.raises(UserError, match="is empty"):
        names.write_text("\n")
        list_pictures(names)


def test_missing_files_of_a_table_are_listed(tmp_path, capsys) -> None:
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics", count=2)
    (tmp_path / "pics" / "t.csv").write_text("file\n0.png\ngone.png\n1.png\n")
    out = tmp_path / "p.csv"
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'pics' / 't.csv'}", f"out={out}", "format=kaggle", *CPU)
    assert run_script("predict", *words) == 0
    assert "gone.png: cannot be read (No such file or directory)" in capsys.readouterr().out
    assert [row["id"] for row in read(out)] == ["0", "1"]
    assert read(tmp_path / "p-unreadable.csv")[0]["file"] == "gone.png"


def test_patterns_and_streams(tmp_path, monkeypatch, capsys) -> None:
    made = pictures(tmp_path / "a" / "b", count=3) + pictures(tmp_path / "a" / "c d", count=1)
    (tmp_path / "a" / "b" / "notes.md").write_text("x")
    monkeypatch.chdir(tmp_path)
    listed = list_pictures("a/**/*")
    assert listed.names == ["b/0.png", "b/1.png", "b/2.png", "c d/0.png"]
    assert [file.resolve() for file in listed.files] == made and "1 other files (1 .md)" in listed.notes[0]
    assert list_pictures(str(tmp_path / "a" / "b" / "[12].png")).names == ["1.png", "2.png"]
    pictures(tmp_path / "odd[1]", count=1)
    assert list_pictures("odd[1]").names == ["0.png"] == list_pictures("odd[1]/0.png").names  # what is there is meant
    with pytest.raises(UserError, match=r"a/\*.jpg: no picture in it, nothing is like that; seen from"):
        list_pictures("a/*.jpg")
    make_run(tmp_path / "run", mu_config())
    for text, names in [
        (b"a/b/2.png\r\n\na/c d/0.png\n", ["a/b/2.png", "a/c d/0.png"]),
        (b"a/c d/0.png\0a/b/1.png\0", ["a/c d/0.png", "a/b/1.png"]),
    ]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert run_script("predict", "run=run", "source=-", "out=p.csv", *CPU) == 0
        assert [row["file"] for row in read(tmp_path / "p.csv")] == names
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"2\n")))
    assert list_pictures("-", folder="a/b", suffix=".png").files == [Path("a/b/2.png")]
    for text, message in [(b"\n", "names no pictures"), (b"gone.png", "none of the 1 files exists, first gone.png")]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert run_script("predict", "run=run", "source=-", *CPU) == 2
        assert message in capsys.readouterr().err


SAMPLES = {  # a competition's table, and what comes of it: 1.png is a circle, 0.png a square, bad.png cannot be read
    "ids with suffixes": (
        "image_id,label\n1.png,0\nbad.png,7\n0.png,0\n",
        ["image_id,label", "1.png,?", "0.png,?", "bad.png,7"],
    ),
    "ids without": ("label;Id\n0;1\n0;0\n", ["label,Id", "?,1", "?,0"]),
    "ids and files": ("id,path\na,1.png\nb,0.png\n", ["id,label", "1,?", "0,?"]),
}  # fmt: skip


@pytest.mark.parametrize("sample", list(SAMPLES))
def test_a_competitions_table_comes_back_filled(sample: str, tmp_path, capsys) -> None:
    """Its heading, its ids letter for letter, all of its rows: else it is not accepted."""
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics", count=2)
    (tmp_path / "pics" / "bad.png").write_bytes(b"x")
    table, expected = SAMPLES[sample]
    (tmp_path / "sample.csv").write_text(table)
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'sample.csv'}", f"folder={tmp_path / 'pics'}", *CPU)
    suffix = ["suffix=.png"] if sample == "ids without" else []
    assert run_script("predict", *words, *suffix, f"out={tmp_path / 'k.csv'}", "format=kaggle") == 0
    assert run_script("predict", *words, *suffix, f"out={tmp_path / 'p.csv'}") == 0
    labels = {Path(row["file"]).stem: row["label_1"] for row in read(tmp_path / "p.csv")}
    found = (tmp_path / "k.csv").read_text().splitlines()
    assert found == [line.replace("?", labels["1" if "1" in line else "0"]) for line in expected]
    if "bad" in table:
        assert "1 pictures cannot be used and keep their rows of the table" in capsys.readouterr().out


def test_a_column_for_every_class_holds_its_probability(tmp_path, capsys) -> None:
    make_run(tmp_path / "run", mu_config())
    pictures(tmp_path / "pics", count=2)
    predictor = load_predictor(str(tmp_path / "run"))
    columns = list(reversed(predictor.classes))
    (tmp_path / "sample.csv").write_text("\n".join([",".join(["id", *columns]), "1" + ",0.1" * len(columns)]))
    out = tmp_path / "k.csv"
    words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'sample.csv'}", f"folder={tmp_path / 'pics'}", *CPU)
    assert run_script("predict", *words, "suffix=.png", f"out={out}", "format=kaggle") == 0
    heading, (name, *shares) = (line.split(",") for line in out.read_text().splitlines())
    assert heading == ["id", *columns] and name == "1"
    image = predictor.transform(torch.from_numpy(np.array(Image.open(tmp_path / "pics" / "1.png"))).permute(2, 0, 1))
    wanted = predictor.probabilities(image[None])[0].flip(0)
    np.testing.assert_allclose([float(share) for share in shares], wanted.numpy(), rtol=1e-4)
    (tmp_path / "sample.csv").write_text("id,label,width\n1,0,5\n")
    assert run_script("predict", *words, "suffix=.png", f"out={out}", "format=kaggle") == 2
    assert "which columns are to be filled (label, width)?" in capsys.readouterr().err


def test_a_sample_submission_tells_the_columns(tmp_path, capsys) -> None:
    """Its ids, as they are there, its order and its columns: a label, or the probabilities of classes."""
    make_run(tmp_path / "run", mu_config())
    paths = pictures(tmp_path / "pics", count=3)
    predictor = load_predictor(run=str(tmp_path / "run"), overrides=CPU)
    expected = values(predictor, tmp_path / "pics")
    classes, out = predictor.classes, tmp_path / "p.csv"

    def submit(text: str) -> int:
        (tmp_path / "sample.csv").write_text(text)
        words = (f"run={tmp_path / 'run'}", f"source={tmp_path / 'sample.csv'}", f"folder={paths[0].parent}")
        return run_script("predict", *words, f"out={out}", "format=kaggle", *CPU)

    assert submit("image_id,disease\n2.png,0\n0.png,0\n") == 0
    assert out.read_text().splitlines() == [
        "image_id,disease",
        *(f"{number}.png,{classes[int(expected[number].argmax())]}" for number in (2, 0)),
    ]
    chosen = [classes[4], classes[0], classes[2]]
    assert submit(f"id,{','.join(chosen)}\n1.png,0,0,0\n") == 0
    (row,) = read(out)
    assert list(row) == ["id", *chosen] and row["id"] == "1.png"
    np.testing.assert_allclose([float(row[name]) for name in chosen], expected[1][[4, 0, 2]], rtol=1e-4)
    assert submit(f"id,{classes[0]},badger\n1.png,0,0\n") == 2
    assert "columns badger are no classes of the model" in capsys.readouterr().err
