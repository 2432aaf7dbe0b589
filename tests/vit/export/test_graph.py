"""Exported classifiers: what the file answers, what it tells of itself, and that a wrong one does not stay."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.paths import ROOT
from trainer.errors import ConfigError, UserError
from trainer.export import graph as export
from vit.config import ModelConfig, PosEmbed
from vit.encoding import normalise
from vit.export import Format
from vit.export.graph import Deployed, bake_positions, export_model
from vit.model.architecture import architecture
from vit.model.transformer import VisionTransformer
from vit.trained import load_run_model

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def made(**options: Any) -> VisionTransformer:
    """vit_mu at 32 px with a head that answers something."""
    torch.manual_seed(0)
    model = VisionTransformer(architecture(ModelConfig(variant="mu", patch=16, **options), 10, 3, (32, 32)))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval().requires_grad_(False)


def answers_of(path: Path, images: torch.Tensor) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"image": images.numpy()})[0])


def test_onnx_takes_bytes_in_any_number_and_says_what_it_is(tmp_path: Path) -> None:
    import onnx

    model, path = made(), tmp_path / "new" / "model.onnx"
    classes = [f"Klasse ä{i}" for i in range(10)]
    about = {"interpolation": "bicubic", "crop_ratio": 0.875}
    options = {"size": (32, 32), "mean": MEAN, "std": STD, "classes": classes}
    written = export_model(model, path, Format.onnx, **options, normalise=True, about=about)
    assert set(written.differences) == {1, 3} and max(written.differences.values()) <= 1e-4
    for count in (1, 5):
        images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
        expected = model(normalise(images, MEAN, STD))
        assert expected.std() > 0.1  # the answers are not all alike
        torch.testing.assert_close(answers_of(path, images), expected, rtol=0, atol=1e-4)
    told = {item.key: item.value for item in onnx.load(path).metadata_props}
    assert json.loads(told["classes"]) == classes and json.loads(told["mean"]) == MEAN
    assert told["interpolation"] == "bicubic" and json.loads(told["normalised_inside"]) is True
    beside = json.loads(written.sidecar.read_text())
    assert (
        written.sidecar.name == "model.onnx.json"
        and beside["classes"] == classes
        and beside["std"] == STD
        and beside["vivid"]
    )
    assert beside["input"]["shape"] == ["batch", 3, 32, 32] and beside["input"]["values"] == "uint8, 0..255"
    assert beside["largest_difference"] == max(written.differences.values())
    text = "\n".join(written.lines())
    assert "at batch 1" in text and "at batch 3" in text and str(path) in text


def test_torch_export_gives_the_same_again(tmp_path: Path) -> None:
    model, path = made(), tmp_path / "model.pt2"
    export_model(model, path, Format.torch_export, size=(32, 32), mean=MEAN, std=STD)
    extra = {export.METADATA: ""}
    again = torch.export.load(path, extra_files=extra).module()
    for count in (1, 4):
        images = torch.randn(count, 3, 32, 32)
        torch.testing.assert_close(again(images), model(images), rtol=0, atol=1e-6)
    assert json.loads(extra[export.METADATA])["mean"] == MEAN


def test_a_fixed_batch_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    written = export_model(made(), path, Format.torch_export, size=(32, 32), mean=MEAN, std=STD, batch=2)
    assert list(written.differences) == [2]
    again = torch.export.load(path).module()
    assert again(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises((RuntimeError, AssertionError)):
        again(torch.randn(3, 3, 32, 32))


@pytest.mark.parametrize("kind", [PosEmbed.learned, PosEmbed.sincos2d, PosEmbed.none])
def test_positions_are_baked_at_another_resolution(kind: PosEmbed) -> None:
    """The network answers as before, and no longer resamples."""
    model = made(pos_embed=kind)
    images = torch.randn(2, 3, 64, 48)
    expected = model(images)
    bake_positions(model, (64, 48))
    assert torch.equal(model(images), expected)
    if kind is not PosEmbed.none:
        assert model.pos_embed is not None and model.pos_embed.shape[1] == model.arch.position_prefix + 12
        assert model.positions((4, 3)) is model.pos_embed


@pytest.mark.parametrize("normalised", [True, False])
def test_normalisation_is_that_of_training(normalised: bool) -> None:
    deployed = Deployed(nn.Identity(), MEAN, STD, normalise=normalised)
    images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    given = images if normalised else normalise(images, MEAN, STD)
    torch.testing.assert_close(deployed(given), normalise(images, MEAN, STD), rtol=0, atol=1e-6)


class Restless(nn.Module):
    """Answers differently once it is exported."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pooled = image.mean(dim=(2, 3))
        return pooled + 1e-3 if torch.compiler.is_exporting() else pooled


@pytest.mark.parametrize("kind", list(export.SUFFIX))
def test_a_file_that_answers_differently_does_not_stay(kind: Format, tmp_path: Path) -> None:
    path = tmp_path / f"model{export.SUFFIX[kind]}"
    path.write_text("an older one")
    with pytest.raises(UserError, match=r"differ from the model's by 0\.001, more than 0\.0001; the file was removed"):
        export_model(Restless(), path, kind, size=(8, 8), mean=MEAN, std=STD)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "an older one"


def test_answers_that_are_no_numbers_are_a_difference(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="differ from the model's by nan"):
        export_model(Weighted(float("nan")), tmp_path / "a.pt2", Format.torch_export, size=(8, 8), mean=MEAN, std=STD)
    assert not list(tmp_path.iterdir())


class Weighted(nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.weight * image.mean(dim=(2, 3))


class Undecided(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3)) if image.sum() > 0 else image.amax(dim=(2, 3))


def test_a_network_that_cannot_be_traced_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the network cannot be exported"):
        export_model(Undecided(), tmp_path / "a.pt2", Format.torch_export, size=(8, 8), mean=MEAN, std=STD)
    assert not list(tmp_path.iterdir())


def test_another_suffix_and_no_batch_are_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"size": (8, 8), "mean": MEAN, "std": STD}
    with pytest.raises(ConfigError, match=rf"format=onnx writes \.onnx files: out={tmp_path}/model\.onnx"):
        export_model(Restless(), tmp_path / "model.pt2", Format.onnx, **options)
    with pytest.raises(ConfigError, match="batch=0: must be at least 1"):
        export_model(Restless(), tmp_path / "model.onnx", Format.onnx, **options, batch=0)


def test_missing_packages_come_with_their_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.import_module

    def without(name: str) -> Any:
        if name in ("onnxruntime", "onnxscript"):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(export.importlib, "import_module", without)
    with pytest.raises(UserError, match=r"format=onnx needs onnxscript, onnxruntime, .*pip install -e '\.\[export\]'"):
        export_model(Restless(), tmp_path / "a.onnx", Format.onnx, size=(8, 8), mean=MEAN, std=STD)


def script(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """scripts/export.py in this process."""
    spec = importlib.util.spec_from_file_location("export_script", ROOT / "scripts" / "export.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "export_script", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["export.py", *words])
    module.main()


def test_the_script_exports_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "run", mu_config())
    words = (f"run={tmp_path / 'run'}", f"out={tmp_path / 'a.pt2'}", "format=torch_export", "normalise=true")
    script(monkeypatch, *words)
    shown = capsys.readouterr().out
    assert "largest difference from the model: " in shown and "step-00000007" in shown
    model, _, meta = load_run_model(tmp_path / "run")
    images = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    found = torch.export.load(tmp_path / "a.pt2").module()(images)
    torch.testing.assert_close(found, model(normalise(images, meta["mean"], meta["std"])), rtol=0, atol=1e-5)
    assert json.loads((tmp_path / "a.pt2.json").read_text())["classes"] == meta["classes"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("out=a.onnx",), "give one of run=DIRECTORY and weights=FILE|timm:NAME"),
        (("out=a.onnx", "run=a", "weights=b"), "give one of run=DIRECTORY and weights=FILE|timm:NAME"),
        (("run=a",), "out=... is missing"),
        (("out=a.onnx", "run=a", "batch=many"), "batch=many: must be a number of pictures"),
        (("out=a.onnx", "run=nowhere"), "run=nowhere: no config.yaml there"),
        (("out=a.onnx", "weights=nothing.npz"), "nothing.npz does not exist"),
    ],
)
def test_the_scripts_mistakes_are_one_message(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.yaml").write_text("task: vit\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        script(monkeypatch, *words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "swin_tiny_patch4_window7_224"])
def test_timm_models_are_exported_too(name: str, tmp_path: Path) -> None:
    from vit.weights.timm_models.build import build_timm

    model, _ = build_timm(ModelConfig(name=name), 5, 3, (56, 56) if "swin" in name else (64, 64))
    size = (56, 56) if "swin" in name else (64, 64)
    written = export_model(model.eval(), tmp_path / "a.onnx", Format.onnx, size=size, mean=MEAN, std=STD)
    assert max(written.differences.values()) <= 1e-4
