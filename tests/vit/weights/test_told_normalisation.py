"""Input normalisation that a file does not tell, told by the user: in every command as its remedy says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.helpers.made_vits import made
from tests.helpers.scripts import run_script
from trainer.errors import ConfigError
from vit.predict.predictor import load_predictor
from vit.weights.conversion import convert
from vit.weights.reading import read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model, _ = made(classes=3, heads=2)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    note = next(note for note in read(tmp_path / "a.pth").notes if "nothing tells its input normalisation" in note)
    assert "set data.mean and data.std, in convert.py and export.py mean and std" in note
    return tmp_path / "a.pth"


def test_predictions(file: Path) -> None:
    words = ["data.mean=[0.1,0.2,0.3]", "data.std=[0.5]", "trainer.device=cpu"]
    predictor = load_predictor(None, str(file), None, None, words)
    assert (predictor.mean, predictor.std) == ([0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    with pytest.raises(ConfigError, match=r"data\.mean has 2 numbers, the network 3 channels"):
        load_predictor(None, str(file), None, None, ["data.mean=[0.1,0.2]"])


def test_predictions_see_it(file: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (255, 0, 51)).save(tmp_path / "x.png")
    outs = []
    for word in ("data.mean=[0.1]", "data.mean=[0.9]"):
        words = (f"weights={file}", f"source={tmp_path / 'x.png'}", f"out={tmp_path / 'o.csv'}", "trainer.device=cpu")
        assert run_script("predict", *words, word) == 0
        outs.append((tmp_path / "o.csv").read_text())
    assert outs[0] != outs[1]


def test_conversions_carry_it(file: Path, tmp_path: Path) -> None:
    list(convert(file, tmp_path / "b", "hf", heads=2, mean=[0.1, 0.2, 0.3], std=[0.5]))
    found = read(tmp_path / "b")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    assert run_script("convert", f"src={file}", f"dst={tmp_path / 'c'}", "format=timm", "mean=[0.4]", "std=[0.6]") == 0
    assert read(tmp_path / "c").mean == (0.4, 0.4, 0.4)


def test_exports_carry_it(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    words = (f"weights={file}", f"out={tmp_path / 'a.pt2'}", "format=torch_export", "batch=1")
    assert run_script("export", *words, "mean=[0.1,0.2,0.3]", "std=[0.5]") == 0
    told = json.loads((tmp_path / "a.pt2.json").read_text())
    assert told["mean"] == [0.1, 0.2, 0.3] and told["std"] == [0.5] * 3
