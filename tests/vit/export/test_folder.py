"""An exported folder: equal answers in timm, transformers and by `vit.load`; what it says, and what it leaves out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vit
from tests.helpers.made_classifier import make_run, mu_config, mu_trainer
from tests.helpers.made_films import write_film
from tests.helpers.predictions import CPU, pictures, values
from tests.helpers.scripts import run_script
from trainer.cards.recipe import Recipe
from trainer.errors import ConfigError, UserError
from vit.data.clips.moving_shapes import MovingShapes
from vit.data.kinds import Motion
from vit.export import libraries
from vit.export.folder import export_folder
from vit.predict.predictor import load_predictor
from vit.trained import load_run_model


def exported(tmp_path: Path, *words: str, model: str = "vit_mu", licence: str | None = None) -> tuple[Path, Path]:
    """(a run, its folder)."""
    run, out = tmp_path / "run", tmp_path / "out"
    make_run(run, mu_config(*words, model=model))
    more = [] if licence is None else [f"licence={licence}"]
    assert run_script("export", f"run={run}", f"out={out}", "format=folder", *more) == 0
    return run, out


def same_answers(run: Path, out: Path, files: list[Path]) -> None:
    """Of ``vit.load`` and ``predict.py``, bit for bit."""
    expected = values(load_predictor(str(run)), files[0].parent)
    assert len(np.unique(expected.max(1))) == len(files)
    classifier = vit.load(out)
    assert np.array_equal(np.stack([answer.probabilities for answer in classifier(files)]), expected)
    assert classifier.classes == vit.load(run).classes
    assert np.array_equal(values(load_predictor(weights=str(out), overrides=CPU), files[0].parent), expected)
    weights = vit.load(out / "model.safetensors")
    assert np.array_equal(np.stack([answer.probabilities for answer in weights(files)]), expected)


def theirs(folder: Path, images: torch.Tensor) -> torch.Tensor:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        return model(pixel_values=images).logits


def timms(folder: Path, images: torch.Tensor) -> torch.Tensor:
    import timm

    with torch.no_grad():
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(images)


def images_for(run: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised pictures, and the run's logits."""
    model, config, meta = load_run_model(run)
    torch.manual_seed(1)
    images = torch.randn(3, len(meta["mean"]), *config.resolution)
    return images, model(images)


def test_a_plain_vit_is_everywhere_the_same(tmp_path: Path) -> None:
    files = pictures(tmp_path / "pictures")
    run, out = exported(tmp_path, "augment.eval_crop_ratio=0.8", licence="Apache-2.0")
    same_answers(run, out, files)
    images, expected = images_for(run)
    for found in (timms(out, images), theirs(out, images), theirs(out / "transformers", images)):
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {"README.md", "config.json", "model.safetensors"} | {
        f"transformers/{name}" for name in ("config.json", "model.safetensors", "preprocessor_config.json")
    }
    assert oct(out.stat().st_mode & 0o777) == "0o755" and not list(tmp_path.glob(".export-*"))
    card = (out / "README.md").read_text()
    assert "license: apache-2.0" in card and 'vit.load("DIR")' in card and "local-dir:DIR" in card


@pytest.mark.parametrize(
    ("size", "words", "model"),
    [
        (24, ["resolution=[16,16]"], "vit_mu"),
        (16, ["resolution=[24,24]"], "vit_mu"),
        (24, ["resolution=[16,16]", "model.pos_embed=sincos2d"], "vit_mu"),
        (24, ["resolution=[16,16]", "model.pool=cls_gap"], "vit_mu"),
        (48, ["resolution=[32,32]", "model.name=test_vit", "model.name_options={dynamic_img_size:true}"], "timm"),
    ],
)
def test_a_stage_of_another_resolution(size: int, words: list[str], model: str, tmp_path: Path) -> None:
    """A checkpoint answers for pictures of the size that its stage trained at, as predict.py has it."""
    files, run, out = pictures(tmp_path / "pictures"), tmp_path / "run", tmp_path / "out"
    config = mu_config(*words, f"curriculum.stages.all.resolution=[{size},{size}]", model=model)
    make_run(run, config, size=size)
    assert run_script("export", f"run={run}", f"out={out}", "format=folder") == 0
    expected, classifier = values(load_predictor(str(run)), files[0].parent), vit.load(out)
    found = np.stack([answer.probabilities for answer in classifier(files)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=0 if model == "vit_mu" else 1e-5)
    assert classifier.size == (size, size)
    graph = tmp_path / "graph.pt2"
    assert run_script("export", f"run={run}", f"out={graph}", "format=torch_export", "batch=1") == 0
    assert json.loads(graph.with_name("graph.pt2.json").read_text())["size"] == [size, size]


def test_pictures_are_prepared_alike_by_timm_and_transformers(tmp_path: Path) -> None:
    from PIL import Image
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    transformers = pytest.importorskip("transformers")
    (file,) = pictures(tmp_path / "pictures", count=1, size=(61, 40))
    _, out = exported(tmp_path, "augment.eval_crop_ratio=0.8", "data.mean=[0.4,0.4,0.4]", "data.std=[0.2,0.2,0.2]")
    import timm

    classifier = vit.load(out)
    own = (classifier.prepare(file)[0] / 255 - torch.tensor(classifier.mean)[:, None, None]) / 0.2
    model = timm.create_model(f"local-dir:{out}", pretrained=True)
    transform: Any = create_transform(**resolve_data_config(model=model))
    torch.testing.assert_close(transform(Image.open(file)), own, rtol=0, atol=0.05)  # a grey level or two
    processor = transformers.AutoImageProcessor.from_pretrained(out / "transformers", local_files_only=True)
    found = processor(Image.open(file), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(found, own, rtol=0, atol=0.05)
    config = json.loads((out / "transformers" / "config.json").read_text())
    assert list(config["id2label"].values()) == classifier.classes


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["model.pos_embed=sincos2d", "model.pool=gap", "model.class_token=false"], ["transformers"]),
        (["model.registers=2"], []),
        (["model.pool=cls_gap"], ["timm"]),
        (["model.pool=map", "model.class_token=false"], ["transformers"]),
        (["model.qk_norm=rms"], ["timm", "transformers"]),
    ],
    ids=["sincos", "registers", "cls_gap", "map", "rms"],
)
def test_what_a_library_cannot_express_is_named(words: list[str], refused: list[str], tmp_path: Path) -> None:
    run, out = exported(tmp_path, *words)
    same_answers(run, out, pictures(tmp_path / "pictures"))
    card, (images, expected) = (out / "README.md").read_text(), images_for(run)
    config = json.loads((out / "config.json").read_text())
    if "timm" in refused:
        assert "timm cannot express" in card and "architecture" not in config and "local-dir" not in card
        assert "library_name: vivid" in card
    else:
        torch.testing.assert_close(timms(out, images), expected, rtol=0, atol=2e-5)
    assert ("no transformers/" in card) is ("transformers" in refused)
    assert (out / "transformers").is_dir() is ("transformers" not in refused)


@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_a_network_of_timm(name: str, tmp_path: Path) -> None:
    run, out = exported(tmp_path, f"model.name={name}", "resolution=[32,32]", model="timm")
    same_answers(run, out, pictures(tmp_path / "pictures"))
    images, expected = images_for(run)
    for found in (timms(out, images), theirs(out, images)):
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)
    assert "is a network of timm" in (out / "README.md").read_text()


def test_a_network_of_clips_is_for_us_alone(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    words = ("data=moving_shapes", "model.frames=4", "model.patch=8", "trainer.max_steps=1", "data.clip_stride=3")
    mu_trainer(run, *words).fit()
    assert run_script("export", f"run={run}", f"out={out}", "format=folder") == 0
    frames = MovingShapes("val", (16, 16), 2, list(Motion)[:4]).frames(0, np.arange).permute(0, 2, 3, 1).numpy()
    film = tmp_path / "film.mkv"
    write_film(film, "ffv1", frames, pix_fmt="yuv444p")
    one, other = vit.load(run), vit.load(out)
    assert one.prepare(film).shape == (1, 4, 3, 16, 16) and torch.equal(one.prepare(film), other.prepare(film))
    assert np.array_equal(one(film)[0].probabilities, other(film)[0].probabilities)
    with pytest.raises(ConfigError, match="looks at clips of 4 frames: give paths of videos"):
        other(np.zeros((8, 8, 3), np.uint8))
    assert "timm cannot express clips of 4 frames" in (out / "README.md").read_text()


def test_weights_of_others_become_a_folder(tmp_path: Path) -> None:
    run, out = exported(tmp_path)
    again = tmp_path / "again"
    assert run_script("export", f"weights={out / 'transformers'}", f"out={again}", "format=folder") == 0
    images, expected = images_for(run)
    torch.testing.assert_close(timms(again, images), expected, rtol=0, atol=2e-5)
    assert "of no run of vivid" in (again / "README.md").read_text()


def test_no_place_and_no_name_of_its_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.cards import places

    monkeypatch.setattr(places.getpass, "getuser", lambda: "annabel")
    run = tmp_path / "annabel" / "first"
    make_run(run, mu_config("data.root=/home/annabel/cats", "data.cache_dir=/scratch/annabel", "name=annabel"))
    (run / "eval.json").write_text(json.dumps({"top1": 0.25, "step": 7, "data_root": "/home/annabel/cats"}))
    out = tmp_path / "out"
    assert run_script("export", f"run={run}", f"out={out}", "format=folder") == 0
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"annabel" not in content and str(tmp_path).encode() not in content, path
    assert "| top1 | 0.25 |" in (out / "README.md").read_text()


def test_a_folder_that_answers_otherwise_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = exported(tmp_path)
    monkeypatch.setattr(libraries, "_timm", lambda folder: lambda images: torch.zeros(len(images), 10))
    assert run_script("export", f"run={run}", f"out={tmp_path / 'wrong'}", "format=folder") == 2
    assert not (tmp_path / "wrong").exists() and not list(tmp_path.glob(".export-*"))


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = exported(tmp_path)
    for words, told in (
        ([f"out={out}", "format=folder"], "there is something already"),
        ([f"out={tmp_path / 'n'}", "format=folder", "batch=2"], "with format=folder leave them out"),
        ([f"out={tmp_path / 'n'}", "format=folder", "resolution=[8,8]"], "keeps the size"),
        ([f"out={tmp_path / 'n.pt2'}", "format=torch_export", "licence=MIT"], "is for the card of format=folder"),
    ):
        assert run_script("export", f"run={run}", *words) == 2
        assert told in capsys.readouterr().err
    model, _, meta = load_run_model(run)
    with pytest.raises(ConfigError, match="there is something already"):
        export_folder(model, out, meta, Recipe("x"))


def test_without_transformers_it_says_what_was_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries.importlib.util, "find_spec", lambda name: None)
    _, out = exported(tmp_path)
    assert "not tried, for transformers is not installed here" in (out / "README.md").read_text()


def test_a_folder_of_a_stranger_runs_nothing(tmp_path: Path) -> None:
    """Damaged or hostile settings are an error in words; no module, pickle or interpolation of theirs is followed."""
    _, out = exported(tmp_path)
    file = out / "config.json"
    told = json.loads(file.read_text())
    hostile = {"clip_stride": "1 trainer.device=cuda", "clip_views": "${oc.env:HOME}", "clip_order": {"a": 1}}
    file.write_text(json.dumps({**told, "vivid": {**told["vivid"], "clips": hostile}}))
    assert vit.load(out).classes
    for text in ("[]", "{", '{"vivid": 3}', "[" * 5000, '{"architecture": "os.system"}'):
        file.write_text(text)
        try:
            vit.load(out)
        except UserError as error:
            assert str(file) in str(error) or str(out) in str(error)
    (out / "model.safetensors").write_bytes(b"\x80\x02cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(UserError):
        vit.load(out)
    assert not os.path.exists("/tmp/never")
