"""What logits mean, and on which scale deep pictures are, go along with weights on every route."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_classifier import make_run, mu_config
from vit.config import LossKind, VitConfig
from vit.data.sources.files import forget_scans
from vit.evaluate.loaded import load_file, load_trained
from vit.evaluate.run import evaluate
from vit.losses import Criterion
from vit.predict.predictor import load_predictor
from vit.preprocessing import answers_of, from_checkpoint
from vit.weights.conversion import convert
from vit.weights.reading import read

CPU = ("trainer.device=cpu", "trainer.precision=fp32")
PATHS = {"safetensors": "a.safetensors", "npz": "a.npz", "hf": "a", "timm": "b"}


def config_of(tmp_path: Path, answers: str) -> VitConfig:
    """A run of three classes whose logits are softmax's, sigmoids of one choice, or sigmoids of any number."""
    for number in range(12):
        path = tmp_path / "p" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    cells = ["a|b", "b", "c", ""] if answers == "labels" else ["a", "b", "c"]
    rows = [f"p/{number}.png,{cells[number % len(cells)]}" for number in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    forget_scans()
    words = {"softmax": (), "sigmoid": ("loss.kind=bce",), "labels": ("loss.kind=bce", "data.multilabel=true")}
    table = ("data=csv", f"data.root={tmp_path / 't.csv'}", "data.val_share=0.5", "model.class_token=true")
    return mu_config(*table, "model.pool=cls", *words[answers])


@pytest.mark.parametrize("answers", ["softmax", "sigmoid", "labels"])
def test_a_file_answers_as_its_run(answers: str, tmp_path: Path) -> None:
    """Of several labels the likeliest one of a softmax was given, as if the others were not true."""
    run = tmp_path / "run"
    make_run(run, config_of(tmp_path, answers), head=3.0)
    pictures = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8))
    expected = load_predictor(run=str(run), overrides=CPU)
    wanted = expected.probabilities(pictures)
    assert (expected.multilabel, expected.sigmoid) == (answers == "labels", answers != "softmax")
    assert bool(((wanted.sum(dim=1) - 1).abs() > 0.1).any()) == (answers == "labels")
    said = {}
    for format, name in PATHS.items():
        said[format] = "\n".join(convert(run, tmp_path / name, format))
    for source in ("run", *PATHS.values()):
        found = load_predictor(weights=str(tmp_path / source), overrides=CPU)
        if source == PATHS["timm"] or (source == PATHS["hf"] and answers == "sigmoid"):  # which cannot say it
            assert not found.sigmoid
        else:
            torch.testing.assert_close(found.probabilities(pictures), wanted, atol=5e-3, rtol=0)  # npz: another GELU
    assert ("its probabilities are the sigmoids" in said["timm"]) == (answers != "softmax")
    assert ("its probabilities are the sigmoids" in said["hf"]) == (answers == "sigmoid")
    told = json.loads((tmp_path / "a/config.json").read_text()).get("problem_type")
    assert told == ("multi_label_classification" if answers == "labels" else None)


def test_a_strangers_folder_of_several_labels(tmp_path: Path) -> None:
    """Hugging Face's ``problem_type`` alone tells it."""
    make_run(tmp_path / "run", config_of(tmp_path, "softmax"))
    assert list(convert(tmp_path / "run", tmp_path / "a", "hf"))
    file = tmp_path / "a/config.json"
    assert read(tmp_path / "a").answers is None
    for kind, answers in (("single_label_classification", None), ("multi_label_classification", "labels")):
        file.write_text(json.dumps({**json.loads(file.read_text()), "problem_type": kind}))
        assert read(tmp_path / "a").answers == answers


@pytest.mark.parametrize("answers", ["sigmoid", "labels"])
def test_a_file_is_scored_as_its_run(answers: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, config_of(tmp_path, answers), head=3.0)
    assert list(convert(run, tmp_path / "a.safetensors", "safetensors"))
    expected = evaluate(load_trained(run)).values
    table = ["data=csv", f"data.root={tmp_path / 't.csv'}", "data.val_share=0.5"]
    config = mu_config(*table, *(["data.multilabel=true", "loss.kind=sigmoid"] if answers == "labels" else []))
    found = evaluate(load_file(str(tmp_path / "a.safetensors"), config)).values
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert name == "loss" or value == pytest.approx(expected[name], abs=1e-5)


def test_the_scale_of_deep_pictures_goes_along(tmp_path: Path) -> None:
    """12 bits in files of 16: without it a file's pictures are nearly black."""
    run = tmp_path / "run"
    make_run(run, mu_config("data.range=[0,4095]"))
    for format, name in PATHS.items():
        lines = "\n".join(convert(run, tmp_path / name, format))
        assert ("here 0 to 4095 become 0 to 255" in lines) == (format in ("hf", "timm"))
    for source in ("run", PATHS["safetensors"], PATHS["npz"]):
        assert load_predictor(weights=str(tmp_path / source), overrides=CPU).span == (0, 4095)
        assert load_file(str(tmp_path / source), mu_config()).config.data.range == [0, 4095]
        asked = load_file(str(tmp_path / source), mu_config("data.range=[0,1023]"), ["data.range"])
        assert asked.config.data.range == [0, 1023]
    assert load_predictor(weights=str(tmp_path / PATHS["timm"]), overrides=CPU).span is None


def test_checkpoints_of_before_tell_it_by_their_configuration() -> None:
    config = {"data": {"range": [0, 4095], "multilabel": True}, "loss": {"kind": "bce"}}
    found = from_checkpoint({"crop": "center"}, config)
    assert found.span == (0, 4095) and found.answers == "labels"
    assert from_checkpoint({"span": None, "answers": "softmax"}, config) == from_checkpoint(
        {"span": None, "answers": "softmax"}, {}
    )
    assert from_checkpoint({}, {}).answers is None


@pytest.mark.parametrize("kind", list(LossKind))
@pytest.mark.parametrize("multilabel", [False, True])
def test_answers_are_those_of_the_loss(kind: LossKind, multilabel: bool) -> None:
    if kind is LossKind.softmax and multilabel:
        return
    config = VitConfig().loss
    config.kind = kind
    independent = Criterion(config, ["a", "b"], None, multilabel).independent
    assert independent == (answers_of(kind, multilabel) != "softmax")
