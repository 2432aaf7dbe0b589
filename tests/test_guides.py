"""The guides' commands, in the order of their pages, on small data: same words, and others that shorten the work."""

from __future__ import annotations

import csv
import json
import runpy
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import own_data
from tests.helpers.documents import commands
from tests.helpers.fake_people import fake_people
from tests.helpers.paths import ROOT
from tests.helpers.scripts import run_script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # seconds, for a machine with much other work

FILM, PICTURES, CHECKPOINTS, ABLATIONS = (
    ROOT / "docs" / f"{name}.md" for name in ("your-own-film", "your-own-pictures", "checkpoints", "ablations")
)
TIMM = "timm:vit_small_patch16_224.augreg_in21k"  # what the guide begins with; made here
QUICK = ["trainer.device=cpu", "trainer.precision=fp32", "trainer.micro_batch=null", "trainer.log_every=1"]
QUICK += ["data.workers=0", "logger.tensorboard=false"]
SMALL = [*QUICK, "trainer.budget=null", "trainer.max_samples=2", "model.ngf=4", "model.ndf=4", "model.blocks=2"]
SMALL += ["trainer.eval_samples=1", "data.val_frames=3", "curriculum.stages.all.frames=3", "model.temporal_scales=1"]


def run_words(words: Sequence[str]) -> int:
    """The exit code of a command of a guide, in this process and the working directory."""
    assert words[0] == "python", shlex.join(words)
    name = Path(words[1])
    if name.parent.name == "scripts":
        return run_script(name.stem, *words[2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(words[1:]))
        try:
            runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def follow(
    document: Path, section: str | None, more: Callable[[list[str]], list[str]], **instead: str
) -> list[list[str]]:
    """Runs the commands below a heading (None: of the whole guide), but for ``make``; returns what was run.

    Args:
        more: words to add to a command.
        instead: what stands for placeholders and for files that are not here: ``PATH="data/street"``.
    """
    text = document.read_text(encoding="utf-8")
    if section is not None:
        text = text.split(f"\n## {section}", 1)[1].split("\n## ")[0]
    done = []
    for words in commands(text):
        if words[0] == "make":
            continue
        for place, value in instead.items():
            words = [word.replace(place, value) for word in words]
        assert run_words([*words, *more(words)]) == 0, shlex.join(words)
        done.append(words)
    return done


def small_segformer(folder: Path) -> Path:
    """A network of transformers with five classes and random weights."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    two = {"depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 8], "num_attention_heads": [1, 1]}
    config = SegformerConfig(
        num_encoder_blocks=2, patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[1, 1], decoder_hidden_size=8,
        id2label=dict(enumerate(("road", "sky", "car", "tree", "person"))), **two,
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 64}).save_pretrained(folder)
    return folder


def frames_of(video: Path) -> np.ndarray:
    with av.open(str(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film = own_data.film(Path("walk.mp4"), frames=12, size=(64, 128))

    def more(words: list[str]) -> list[str]:
        return SMALL if "train.py" in words else []

    done = follow(FILM, "Edges", more)
    assert [Path(words[1]).stem for words in done] == ["prepare", "train", "generate"]
    with Image.open("data/walk/contact_sheet.png") as sheet:
        assert sheet.width > 256
    made = frames_of(Path("walk-made.mp4"))
    assert made.shape == (12, 80, 384, 3)  # source, real and generated at 64x128, beneath titles
    real = frames_of(film)
    assert np.abs(made[:, 15:79, 128:256].astype(float) - real).mean() < 8  # pixels, after two encodings


def test_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("friend", "other"):
        own_data.film(Path(f"{name}.mp4"), frames=12, size=(64, 64))
    found_by = [f"people_python={fake_people(tmp_path, standing=True)}"]

    def more(words: list[str]) -> list[str]:
        small = [*SMALL, "resolution=[32,32]", "model.downsamplings=2", "model.discriminator_layers=2"]
        return found_by if "people" in words else small if "train.py" in words else []

    done = follow(FILM, "A person", more)
    assert [Path(words[1]).stem for words in done] == ["prepare", "prepare", "train", "generate"]
    assert len(list(Path("data/other/landmarks/other").glob("*.json"))) == 12
    assert frames_of(Path("driven.mp4")).shape == (12, 32, 32, 3)


def test_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_data.film(Path("walk.mp4"), frames=12, size=(64, 128))
    network = small_segformer(tmp_path / "segformer")

    def more(words: list[str]) -> list[str]:
        return SMALL if "train.py" in words else []

    done = follow(FILM, "Classes", more, PATH=str(network))
    assert [Path(words[1]).stem for words in done] == ["prepare", "train", "generate"]
    with Image.open("data/street/labels/walk/000003.png") as labels:
        assert labels.mode == "P" and np.asarray(labels).max() < 5
    assert frames_of(Path("street-made.mp4")).shape == (12, 80, 384, 3)


SMALL_VIT = [*QUICK, "trainer.budget=null", "trainer.max_samples=8", "curriculum.stages.all.batch_size=4"]


def vit_s16(path: Path) -> Path:
    """timm's ViT-S/16 with random weights, as its file."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("vit_small_patch16_224", num_classes=5).state_dict(), str(path))
    return path


def test_own_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = own_data.pictures(Path("photos"), count=60, side=32)
    files = sorted(photos.rglob("*.png"))
    table = [f"{path},{path.with_suffix('')},{name},{int(name == 'cat')},{int(name == 'dog')}"
             for path, name in zip(files, ["cat", "dog"] * 30, strict=True)]  # fmt: skip
    Path("labels.csv").write_text("\n".join(["path,id,label,cat,dog", *table]))

    def more(words: list[str]) -> list[str]:
        if "train.py" not in words:
            return []
        small = [*SMALL_VIT, "resolution=[32,32]"]
        if "trainer.data_changed=accept" in words:
            (photos / "circle" / "new.png").write_bytes(files[0].read_bytes())
            told = [word for word in words if word != "trainer.data_changed=accept"]
            assert run_words([*told, *small]) == 2  # what the guide says happens without it
        if "data.on_bad_file=skip" in words:
            (photos / "star" / "broken.png").write_bytes(b"no picture")
        return small if "name=tuned" in words else [*small, "model.variant=mu", "trainer.max_epochs=null"]

    done = follow(PICTURES, None, more, **{TIMM: str(vit_s16(tmp_path / "s16.safetensors"))})
    assert len(done) == 10
    lines = Path("predictions.csv").read_text().splitlines()
    assert len(lines) == 61 and "circle" in "".join(lines)
    names = sorted(path.name for path in Path("runs").iterdir() if (path / "done.json").is_file())
    assert names == ["columns", "photos", "several", "skipping", "table", "tuned"]
    assert json.loads(Path("runs/skipping/eval.json").read_text())
    assert (Path("runs/photos/confusion.png")).is_file()


def test_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    from safetensors.torch import load_file

    monkeypatch.chdir(tmp_path)
    own_data.pictures(Path("photos"), count=40, side=32)
    made = vit_s16(tmp_path / "s16.safetensors")

    def more(words: list[str]) -> list[str]:
        if "train.py" not in words:
            return []
        if "model=vid2vid_tiny" in words:
            return [*QUICK, "trainer.max_steps=2"]
        return [*SMALL_VIT, "trainer.max_steps=2", "resolution=[32,32]"]

    done = follow(CHECKPOINTS, None, more, **{"model.weights=PATH": f"model.weights={made}", "PATH": "runs/small"})
    assert len(done) == 16
    small = load_file("runs/small/checkpoints/step-00000002/ema.safetensors")
    as_timm = timm.create_model("local-dir:out/timm", pretrained=True).state_dict()
    assert torch.equal(as_timm["patch_embed.proj.weight"], small["model.patch_embed.proj.weight"])
    for name in (
        "small.npz",
        "hf/config.json",
        "small.safetensors",
        "small.pth",
        "small.onnx",
        "small.pt2",
        "folder/README.md",
    ):
        assert (tmp_path / "out" / name).stat().st_size > 0, name
    street = load_file(next(Path("runs/street/checkpoints").glob("step-*/weights.safetensors")))
    back = load_file("out/street.safetensors")
    averaged = load_file(next(Path("runs/street/checkpoints").glob("step-*/ema.safetensors")))
    assert back.keys() <= street.keys() and any(name.startswith("d_video") for name in back)
    for name, value in back.items():
        assert torch.equal(value, averaged.get(name, street[name])) or torch.equal(value, street[name]), name


def test_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def more(words: list[str]) -> list[str]:
        if "--help" in words or "scripts/compare.py" in words:
            return []
        return ["trainer.max_samples=64", *QUICK]

    done = follow(ABLATIONS, "One thing changed", more) + follow(ABLATIONS, "Many at once", more)
    assert len(done) == 8
    for folder, runs in (("seeds", 3), ("rates", 4)):
        with open(Path("runs", folder, "compare.csv"), newline="", encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == runs, folder
    assert Path("runs/compare.png").is_file()


def test_ablations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def more(words: list[str]) -> list[str]:
        small = ["resolution=[32,64]", "data.val_clips=1", "data.val_frames=6", "model.ngf=8", "model.ndf=8"]
        words_of_its_own = ["steps=1", "seeds=1", "frames=2", "segmenter_steps=1"]
        return [*words_of_its_own, *small, "trainer.device=cpu", "trainer.precision=fp32"]

    done = follow(ABLATIONS, "vid2vid's ablations", more)
    assert [words[1] for words in done] == ["scripts/ablations.py"]
    table = Path("runs/ablations/ablations.md").read_text(encoding="utf-8")
    assert all(title in table for title in ("full", "no D_V", "no flow", "no foreground prior", "frame by frame"))
