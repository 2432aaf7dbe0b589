"""The report on a classifier's data, the contact sheet, and the script's exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.check_data import main
from tests.helpers.made_pictures import folder_config, write_picture, write_tree
from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data.checking.check import check_split, contact_sheet, format_report, open_splits
from vit.data.opening import open_source


def quiet(counts, total):
    return counts


def test_the_report(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 3, "train/b": 2, "val/a": 1, "val/b": 1})
    write_picture(root / "train/b/wide.jpg", (255, 255, 255), (12, 40))
    (root / "train/a/1.png").write_bytes(b"rubbish")
    (root / "train/a/x.txt").touch()
    splits = open_splits(folder_config(root))
    assert list(splits) == ["train", "val"]
    report = check_split(splits["train"], "train", quiet)
    assert report.sizes == {(12, 16): 4, (12, 40): 1} and report.checked == 6 and len(report.bad) == 1
    assert report.mean is not None and 0 < report.mean[0] < 1
    text = format_report([report])
    for part in (
        "train: 6 pictures, 2 classes, 3 channels", "a 3, b 3", "height 12..12, width 16..40", "12x16 4, 12x40 1",
        "skipped 1 file (1 .txt)", "1 of 6 pictures cannot be used", "train/a/1.png",
    ):  # fmt: skip
        assert part in text
    assert check_split(splits["train"], "train", quiet, most=2).checked == 2


def test_the_contact_sheet(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {f"train/{i}": 2 for i in range(12)} | {f"val/{i}": 1 for i in range(12)})
    source = open_source(folder_config(root), "train")
    path = contact_sheet(source, tmp_path / "new" / "sheet.png")
    assert path is not None
    with Image.open(path) as sheet:
        assert sheet.height == 10 * 132  # ten of the twelve classes
    for file in root.glob("train/*/*.png"):
        file.write_bytes(b"rubbish")
    assert contact_sheet(source, tmp_path / "none.png") is None and not (tmp_path / "none.png").exists()


def test_several_labels_and_one_channel(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png")
    write_picture(tmp_path / "1.png")
    (tmp_path / "t.csv").write_text("path,label\n0.png,x|y\n1.png,y\n")
    config = folder_config(tmp_path / "t.csv", DataKind.csv)
    config.data.multilabel, config.data.channels, config.data.val_root = True, 1, str(tmp_path / "t.csv")
    source = open_splits(config)["train"]
    assert "x 1, y 2" in format_report([check_split(source, "train", quiet)])
    assert contact_sheet(source, tmp_path / "sheet.png") is not None


def test_shapes_have_three_splits() -> None:
    config = VitConfig(resolution=[16, 16])
    config.data.shapes_samples = config.data.shapes_val_samples = 20
    assert list(open_splits(config)) == ["train", "val", "test"]


@pytest.mark.parametrize(("damaged", "code"), [(False, 0), (True, 2)])
def test_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damaged: bool, code: int
) -> None:
    root = write_tree(tmp_path / "r", {"a": 4, "b": 4})
    if damaged:
        (root / "b/3.png").write_bytes(b"rubbish")
    words = ["data=imagefolder", f"data.root={root}", f"out={tmp_path / 's.png'}"]
    monkeypatch.setattr(sys, "argv", ["check_data.py", *words])
    with pytest.raises(SystemExit) as done:
        main()
    out = capsys.readouterr().out
    assert done.value.code == code and "train: 5 pictures" in out and "10 % of every class are held out" in out
    assert (tmp_path / "s_train.png").exists() and (tmp_path / "s_val.png").exists()


def test_options_of_the_other_kind_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, problem in ((["data=digits", "flow=true"], "flow=true"), (["data=street", "most=3"], "most=3")):
        monkeypatch.setattr(sys, "argv", ["check_data.py", *words])
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code == 2 and problem in capsys.readouterr().err


def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code of the script and what it says."""
    monkeypatch.setattr(sys, "argv", ["check_data.py", *words])
    with pytest.raises(SystemExit) as done:
        main()
    said = capsys.readouterr()
    assert isinstance(done.value.code, int)
    return done.value.code, said.out + said.err


def test_a_recipe_says_how_its_data_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """vid2vid/footage draws landmarks: what is missing is their folder, not label maps."""
    code, said = script(monkeypatch, capsys, "experiment=vid2vid/footage", f"data.root={tmp_path}")
    assert code == 2 and "no folder 'landmarks' (data.sources has pose:landmarks)" in said


def test_pictures_of_twelve_bits_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(40):  # one alone uses all 12 bits: the few that a run looks at miss it
        path = tmp_path / "r" / f"c{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 4000 if number == 6 else 900, np.uint16)).save(path)
    words = ["data=imagefolder", f"data.root={tmp_path / 'r'}", f"out={tmp_path / 's.png'}"]
    code, text = script(monkeypatch, capsys, *words)
    assert code == 0 and "values go to 4000 at most" in text and "data.range=[0,4095] takes them as 12 bits" in text
    assert text.count("warning") == 1  # of all splits together: the one without the bright picture says nothing else
    code, text = script(monkeypatch, capsys, *words, "data.range=[0,4095]")
    assert code == 0 and "16 bits" not in text


UNLABELLED = {
    "flat": {"test/0.png": "", "test/1.png": ""},
    "one folder": {"test/unknown/0.png": "", "test/unknown/1.png": ""},
    "no column": {"train.csv": "path,label\ntrain/a/0.png,a\ntrain/b/0.png,b\ntrain/a/1.png,a\ntrain/b/1.png,b\n",
                  "test.csv": "path\ntest/0.png\n", "test/0.png": ""},
    "empty column": {"train.csv": "path,label\ntrain/a/0.png,a\ntrain/b/0.png,b\ntrain/a/1.png,a\ntrain/b/1.png,b\n",
                     "test.csv": "path,label\ntest/0.png,\n", "test/0.png": ""},
}  # fmt: skip


@pytest.mark.parametrize("case", UNLABELLED)
def test_a_test_split_without_labels_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 3, "train/b": 3})
    for name, text in UNLABELLED[case].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if text:
            (root / name).write_text(text)
        else:
            write_picture(root / name)
    kind = "csv" if "train.csv" in UNLABELLED[case] else "imagefolder"
    words = [f"data={kind}", f"data.root={root}", f"out={tmp_path / 's.png'}"]
    code, text = script(monkeypatch, capsys, *words)
    assert code == 0 and f"train: {2 if kind == 'csv' else 4} pictures, 2 classes" in text
    told = root / ("test.csv" if kind == "csv" else "test")
    assert f"scripts/predict.py run=runs/NAME source={told}" in text
    config = folder_config(root, DataKind(kind))
    with pytest.raises(DataError, match=r"no labels|without labels"):  # a score of them would be none
        open_source(config, "test")
