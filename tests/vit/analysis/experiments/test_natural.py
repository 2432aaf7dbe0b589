"""analysis=natural from folders to a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.scripts import run_script
from trainer.records.intervals import wilson
from trainer.records.media import write_png
from vit.analysis.subjects import Subject

CIRCLE, SQUARE, TRIANGLE, STAR = range(4)
# file: the classifier's first and second choice
VAL = {
    "circle/val_00000001.png": (CIRCLE, STAR),
    "square/val_00000002.png": (SQUARE, STAR),
    "star/val_00000003.png": (SQUARE, STAR),  # right among circle and star
    "star/val_00000004.png": (TRIANGLE, CIRCLE),  # wrong also there
}
OTHER = {
    "circle/x.png": (SQUARE, CIRCLE),  # right among circle and star alone
    "circle/y.png": (STAR, CIRCLE),
    "star/x.png": (STAR, CIRCLE),
}
REAL = [[CIRCLE], [STAR, TRIANGLE], [SQUARE, STAR], []]  # of the four: right, wrong, right, none


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("natural")
    for folder, files in (("val", VAL), ("other", OTHER)):
        for name, (first, second) in files.items():
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture = torch.zeros(16, 16, 3, dtype=torch.uint8)
            picture[..., 0], picture[..., 1] = 10 * first, 10 * second
            write_png(root / folder / name, picture)
    (root / "real.json").write_text(json.dumps(REAL))
    make_run(root / "run", mu_config())
    sets = f"sets=[other={root}/other,val={root}/val,real={root}/real.json]"
    return "analysis=natural", f"run={root}/run", sets


def two_choices(self: Subject, pixels: Tensor) -> Tensor:
    first, second = (pixels[:, channel].float().mean(dim=(1, 2)).round().long() // 10 for channel in (0, 1))
    return 2.0 * torch.nn.functional.one_hot(first, 10) + torch.nn.functional.one_hot(second, 10)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["set"]: row for row in json.loads((folder / "analysis.json").read_text())["records"]}


def test_a_table_by_hand(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ``other`` 2 of 3 are right among its two classes; of ordinary validation's three pictures of these 2 too."""
    monkeypatch.setattr(Subject, "logits", two_choices)
    assert run_script("analyze", *words, f"out={tmp_path}") == 0
    found = records(tmp_path)
    assert list(found) == ["val", "other", "real"]
    assert (found["val"]["top1"], found["val"]["pictures"], found["val"]["answers"]) == (0.5, 4, 3)
    other = found["other"]
    assert (other["top1"], other["pictures"], other["answers"]) == (pytest.approx(2 / 3), 3, 2)
    assert (other["low"], other["high"]) == pytest.approx(wilson(2, 3))
    assert other["val_top1"] == pytest.approx(2 / 3) and other["gap"] == pytest.approx(0)
    assert (found["real"]["top1"], found["real"]["pictures"]) == (pytest.approx(2 / 3), 3), "one has no label"
    assert found["real"]["gap"] == pytest.approx(0.5 - 2 / 3)
    said = capsys.readouterr().out
    assert "other: answers are among 2 of the 10" in said and "gap -16.7" in said
    assert (tmp_path / "natural.png").is_file() and (tmp_path / "natural_errors.png").is_file()
    asked: list[str] = []
    monkeypatch.setattr(Subject, "logits", lambda self, pixels: asked.append(self.label) or two_choices(self, pixels))
    beside = f"compare=[again={words[1].removeprefix('run=')}]"
    assert run_script("analyze", *words, beside, "examples=0", f"out={tmp_path}") == 0
    assert set(asked) == {"again"}, "of the first all is known"


def test_a_set_without_a_class_of_ordinary_validation_has_no_gap(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subject, "logits", two_choices)
    (tmp_path / "apart/triangle").mkdir(parents=True)
    picture = torch.full((16, 16, 3), 10 * TRIANGLE, dtype=torch.uint8)
    write_png(tmp_path / "apart/triangle/x.png", picture)
    sets = words[2].replace("sets=[", f"sets=[apart={tmp_path}/apart,")
    assert run_script("analyze", *words[:2], sets, "examples=0", f"out={tmp_path}") == 0
    found = records(tmp_path)
    assert "gap" not in found["apart"] and found["apart"]["top1"] == 1
    assert found["other"]["val_top1"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_among_all_answers(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the restriction the first choices are judged: 1 of 3, and 1 of ordinary validation's 3 of these classes;
    a triangle, of which there is no folder, is another class."""
    monkeypatch.setattr(Subject, "logits", two_choices)
    again = (*words, "examples=0", f"out={tmp_path}", f"compare=[again={words[1].removeprefix('run=')}]")
    assert run_script("analyze", *again, "restrict=false") == 0
    found = records(tmp_path)
    assert found["other"]["top1"] == pytest.approx(1 / 3) and found["other"]["val_top1"] == pytest.approx(1 / 3)
    assert found["val"]["top1"] == 0.5 and found["val"]["answers"] == 10
    assert not (tmp_path / "natural_errors.png").is_file()
    assert run_script("analyze", *again) == 0, "another question: nothing is taken from before"
    assert records(tmp_path)["other"]["top1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("sets=[]",), ["sets= is missing", "val=PATH"]),
        (("examples=-1",), ["examples=-1"]),
        (("maps=[r=map.txt]",), ["r is none of sets=", "other"]),
        (("maps=[other=nowhere.txt]",), ["nowhere.txt"]),
        (("split=train",), ["split=train: sets= has pictures for evaluation alone", "leave split= out"]),
    ],
)
def test_mistakes(words: tuple[str, ...], capsys: pytest.CaptureFixture[str], more, named) -> None:
    keys = {word.partition("=")[0] for word in more}
    kept = [word for word in words if word.partition("=")[0] not in keys]
    assert run_script("analyze", *kept, *more) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named) and "Traceback" not in said, said
