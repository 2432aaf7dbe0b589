"""``vit.load``: what `scripts/predict.py` says, bit for bit, of pictures of every kind; and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import vit
from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.paths import ROOT
from tests.helpers.predictions import pictures, values
from tests.helpers.scripts import run_script
from trainer.errors import ConfigError, DataError, UserError
from vit.encoding import normalise
from vit.predict.predictor import load_predictor


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    make_run(folder, mu_config("augment.eval_crop_ratio=0.8"))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return pictures(tmp_path_factory.mktemp("pictures"))


def test_answers_are_those_of_predict(run_dir: Path, files: list[Path], tmp_path: Path) -> None:
    classifier = vit.load(run_dir)
    found = classifier(files)
    expected = values(load_predictor(str(run_dir)), files[0].parent)
    assert np.array_equal(np.stack([answer.probabilities for answer in found]), expected)
    assert len({answer.probability for answer in found}) == 6, "they are told apart"
    out = tmp_path / "answers.jsonl"
    assert run_script("predict", f"run={run_dir}", f"source={files[0].parent}", f"out={out}", "top=2") == 0
    for line, answer in zip(out.read_text().splitlines(), found, strict=True):
        told = json.loads(line)["predictions"]
        assert [each["label"] for each in told] == [label for label, _ in answer.top(2)]
        assert told[0]["probability"] == float(f"{answer.probability:.6g}") and told[0]["label"] == answer.label


def test_every_path_into_a_run_is_the_same_classifier(run_dir: Path, files: list[Path], tmp_path: Path) -> None:
    expected = vit.load(run_dir)(files[:2])
    step = run_dir / "checkpoints" / "step-00000007"
    for path in (str(run_dir), step, step.parent / "latest", step / "ema.safetensors", step / "weights.safetensors"):
        for one, other in zip(vit.load(path)(files[:2]), expected, strict=True):
            assert np.array_equal(one.probabilities, other.probabilities), path
    alone = tmp_path / "moved"
    alone.mkdir()
    for file in step.iterdir():
        if file.is_file():
            (alone / file.name).write_bytes(file.read_bytes())
    (alone / "state").mkdir()
    for file in (step / "state").iterdir():
        (alone / "state" / file.name).write_bytes(file.read_bytes())
    moved = vit.load(alone, overrides=["trainer.precision=fp32"])
    assert np.array_equal(moved(files[:2])[0].probabilities, expected[0].probabilities)


def test_pictures_of_every_kind(run_dir: Path, files: list[Path]) -> None:
    """A picture says the same as a file, PIL's, an array or a tensor."""
    classifier = vit.load(run_dir)
    expected = classifier(files[0])[0].probabilities
    opened = Image.open(files[0])
    array = np.array(opened)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for picture in (str(files[0]), opened, array, tensor, opened.convert("RGBA"), tensor[None], [array]):
        (answer,) = classifier(picture)
        assert np.array_equal(answer.probabilities, expected)
    grey = np.array(opened.convert("L"))
    (answer,), (other,) = classifier(grey), classifier(np.stack([grey] * 3, axis=-1))
    assert np.array_equal(answer.probabilities, other.probabilities)
    turned = Image.fromarray(array).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    assert np.array_equal(classifier(turned)[0].probabilities, expected)


def test_logits_and_features(run_dir: Path, files: list[Path]) -> None:
    classifier = vit.load(run_dir)
    images = classifier.prepare(files)
    assert images.dtype == torch.uint8 and images.shape == (6, 3, 16, 16) and classifier.size == (16, 16)
    logits = classifier.logits(images)
    assert torch.equal(logits, classifier.model(normalise(images, classifier.mean, classifier.std)))
    assert torch.equal(logits, classifier.logits(normalise(images, classifier.mean, classifier.std)))
    assert torch.equal(logits, classifier.logits(files))
    found = torch.from_numpy(np.stack([answer.probabilities for answer in classifier(files)]))
    torch.testing.assert_close(logits.softmax(dim=1), found)
    assert logits.shape == (6, len(classifier.classes)) and not logits.requires_grad
    features = classifier.features(files)
    expected = load_predictor(str(run_dir), features=True)
    assert np.array_equal(features.numpy(), values(expected, files[0].parent, features=True))
    head: Any = classifier.model.head
    torch.testing.assert_close(head(features), logits)
    classifier.batch = 4
    torch.testing.assert_close(classifier.logits(files), logits)
    assert classifier.to("cpu") is classifier and classifier.device == torch.device("cpu")
    assert not classifier.model.training and "Classifier(" in repr(classifier)


def test_weights_without_a_head_give_features(run_dir: Path, files: list[Path], tmp_path: Path) -> None:
    state = dict(vit.load(run_dir).model.state_dict())
    save_file({name: value for name, value in state.items() if not name.startswith("head")}, tmp_path / "w.safetensors")
    classifier = vit.load(tmp_path / "w.safetensors", overrides=["resolution=[16,16]", "model.heads=1"])
    assert classifier.classes == [] and classifier.features(files).shape[0] == 6
    with pytest.raises(ConfigError, match="no head that tells classes apart; features"):
        classifier(files)


def test_what_is_refused(run_dir: Path, files: list[Path], tmp_path: Path) -> None:
    classifier = vit.load(run_dir)
    bad = tmp_path / "bad.png"
    bad.write_bytes(files[0].read_bytes()[:200])
    with pytest.raises(DataError, match=r"bad\.png"):
        classifier([files[0], bad])
    with pytest.raises(ConfigError, match="at least one"):
        classifier([])
    with pytest.raises(ConfigError, match=r"item 0 is of float32 and 8x8x3: give an array \(H, W\) or \(H, W, C\) of"):
        classifier(np.zeros((8, 8, 3), np.float32))
    with pytest.raises(ConfigError, match="item 0 is a int: give paths"):
        classifier([3])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"a tensor of 1x3x8x8: the network sees \(B, 3, 16, 16\); prepare"):
        classifier.logits(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="device=tpu: is no device"):
        classifier.to("tpu")
    with pytest.raises(UserError, match="does not exist: give a run, a checkpoint or a weights file"):
        vit.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="is no run: give the checkpoint itself"):
        vit.load(tmp_path, checkpoint="best")


def test_importing_loads_no_torch() -> None:
    program = "import sys, vit, vid2vid; print(sorted({'torch', 'numpy', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_deep_pictures_in_memory_mean_what_they_do_in_files(tmp_path: Path) -> None:
    make_run(tmp_path / "run", mu_config("data.range=[100,4000]"))
    classifier = vit.load(tmp_path / "run")
    deep = np.random.default_rng(0).integers(0, 5000, (20, 20), dtype=np.uint16)
    for name, picture in (("deep.png", Image.fromarray(deep)), ("deep.tif", Image.fromarray(deep.astype(np.float32)))):
        picture.save(tmp_path / name)
        expected = classifier.prepare(tmp_path / name)
        assert expected.float().std() > 30 and torch.equal(classifier.prepare(picture), expected)
        assert torch.equal(classifier.prepare(Image.open(tmp_path / name)), expected)


def test_a_run_of_a_card_is_opened_where_it_is_asked_for(run_dir: Path, files: list[Path], tmp_path: Path) -> None:
    make_run(tmp_path / "run", mu_config("augment.eval_crop_ratio=0.8", "trainer.device=cuda"))
    found = vit.load(tmp_path / "run", device="cpu")(files[0])[0].probabilities
    assert np.array_equal(found, vit.load(run_dir)(files[0])[0].probabilities)
    with pytest.raises(ConfigError, match="device=tpu: "):
        vit.load(run_dir, device="tpu")
    with pytest.raises(ConfigError, match=r"checkpoint=best: .*latest is a checkpoint already"):
        vit.load(run_dir / "checkpoints" / "latest", checkpoint="best")


def test_tensors_that_do_not_fit(run_dir: Path) -> None:
    classifier = vit.load(run_dir)
    images = torch.randn(2, 3, 16, 16)
    expected = classifier.logits(images.half().float())
    assert torch.equal(classifier.logits(images.half()), expected)
    assert torch.equal(classifier.logits(images.double()), classifier.logits(images))
    with pytest.raises(ConfigError, match="1x2x3x16x16: the network sees"):
        classifier.logits(images[None])
    classifier.batch = 0
    with pytest.raises(ConfigError, match="batch=0: must be at least 1"):
        classifier.logits(images)
    classifier.batch = 1
    with torch.no_grad():
        next(classifier.model.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="item 0: "):
        classifier(np.zeros((16, 16, 3), np.uint8))


@pytest.mark.parametrize("kind", ["I", "I;16", "I;16B", "F"])
def test_modes_of_pil_mean_what_they_do_in_files(kind: str, run_dir: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((40, 44))
    scale = {"I": (65535, np.int32), "I;16": (65535, "<u2"), "I;16B": (65535, ">u2"), "F": (1, np.float32)}[kind]
    picture = Image.frombytes(kind, (44, 40), (values * scale[0]).astype(scale[1]).tobytes())
    file = tmp_path / "picture.tif"
    picture.save(file)
    classifier = vit.load(run_dir)
    expected = classifier.prepare(file)
    assert expected.float().std() > 10
    assert torch.equal(classifier.prepare(picture), expected)
    if kind == "I":  # beyond 16 bits a file is refused, and so is the picture
        with pytest.raises(DataError, match="16 bits"):
            classifier.prepare(Image.fromarray(np.full((40, 44), 70_000, np.int32)))
