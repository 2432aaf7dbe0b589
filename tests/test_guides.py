"""The guides' commands, in the order of their pages, on small data: same words, and others that shorten the work."""

from __future__ import annotations

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

FILM = ROOT / "docs" / "your-own-film.md"
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


def follow(document: Path, section: str, more: Callable[[list[str]], list[str]], **instead: str) -> list[list[str]]:
    """Runs the commands below a heading, but for ``make`` and ``pip``; returns what was run.

    Args:
        more: words to add to a command.
        instead: values of placeholders: PATH of the guide.
    """
    text = document.read_text(encoding="utf-8").split(f"\n## {section}", 1)[1].split("\n## ")[0]
    done = []
    for words in commands(text):
        if words[0] in ("make", "pip"):
            continue
        filled = [word.replace("PATH", instead.get("PATH", "PATH")) for word in words]
        assert run_words([*filled, *more(filled)]) == 0, shlex.join(filled)
        done.append(filled)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
