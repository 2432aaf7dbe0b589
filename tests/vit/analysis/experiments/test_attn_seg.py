"""analysis=attn_seg from words to files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_masks import pair
from tests.helpers.scripts import run_script
from vit.analysis.experiments import attn_seg
from vit.data.shapes.source import open_shapes

CONFIG = mu_config("model.patch=4", "resolution=[32,32]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attn_seg") / "run"
    make_run(folder, CONFIG)
    return folder


def analysed(*words: str) -> int:
    return run_script("analyze", "analysis=attn_seg", *words)


def rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    table = csv.DictReader((folder / "attn_seg.csv").read_text().splitlines())
    return {(row["keep"], row["heads"]): row for row in table}


def test_keeping_all_attention_is_the_whole_picture(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose index is the share of pixels that the shapes cover; again, nothing is computed anew."""
    words = (f"run={run}", "keep=[0.5,1.0]", "pictures=1", f"out={tmp_path}", "batch=8")
    assert analysed(*words) == 0
    found, source = rows(tmp_path), open_shapes(CONFIG, "val", None)
    share = np.mean([source.cover(index).float().mean().item() for index in range(20)])
    for heads in ("best", "mean", "whole picture", "head 0"):
        assert float(found["1.0", heads]["jaccard"]) == pytest.approx(share, abs=1e-6)
        assert found["1.0", heads]["pictures"] == "20"
    best, mean = (float(found["0.5", heads]["jaccard"]) for heads in ("best", "mean"))
    each = [float(found["0.5", f"head {head}"]["jaccard"]) for head in range(2)]
    assert max(each) <= best < 1 and 0 < mean < 1
    assert (tmp_path / "attn_seg-run.png").is_file() and (tmp_path / "attn_seg.png").is_file()

    def never(asked: object, images: torch.Tensor, masks: torch.Tensor) -> None:
        raise AssertionError("it is known")

    monkeypatch.setattr(attn_seg._Asked, "indices", never)
    assert analysed(*words) == 0
    assert rows(tmp_path) == found


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("keep=[1.5]",), ["keep=[1.5]"]),
        (("query=[dist]",), ["query=dist", "has no such token"]),
        (("data=digits", "data.channels=3"), ["data=digits has no masks", "masks=PATH"]),
    ],
)
def test_mistakes(run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: list[str]) -> None:
    assert analysed(f"run={run}", *words) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named) and "Traceback" not in said, said


def test_objects_that_are_255(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Black and white masks, as sets of salient objects have them: what is void elsewhere is the object."""
    pair(tmp_path / "data", "images/a.png", "masks/a.png", [[255, 0], [0, 0]])
    words = (f"run={run}", f"masks={tmp_path}/data", "keep=[1.0]", f"out={tmp_path}/out")
    assert analysed(*words) == 2 and "label_map=255:1 if objects are 255" in capsys.readouterr().err
    assert analysed(*words, "label_map=white:1") == 2
    assert "  - label_map=white:1: neither OLD:NEW pairs, such as label_map=255:1" in capsys.readouterr().err
    assert analysed(*words, "label_map=255:1") == 0
    assert float(rows(tmp_path / "out")["1.0", "best"]["jaccard"]) == pytest.approx(1 / 4)


def test_masks_of_files_with_void(run: Path, tmp_path: Path) -> None:
    """Kept is all: one quarter is the object, one void, which counts nowhere, or as the paper has it."""
    pair(tmp_path / "data", "images/a.png", "masks/a.png", [[1, 0], [0, 255]])
    words = (f"run={run}", f"masks={tmp_path}/data", "keep=[1.0]")
    assert analysed(*words, f"out={tmp_path}/out") == 0
    assert float(rows(tmp_path / "out")["1.0", "best"]["jaccard"]) == pytest.approx(1 / 3)
    assert analysed(*words, "void=paper", f"out={tmp_path}/out") == 0
    assert float(rows(tmp_path / "out")["1.0", "best"]["jaccard"]) == pytest.approx(1 / 4)
    assert analysed(*words, "background=-1", f"out={tmp_path}/out") == 0
    assert float(rows(tmp_path / "out")["1.0", "best"]["jaccard"]) == pytest.approx((1 / 3 + 2 / 3) / 2)
