"""A face from files to a video: trained, kept with its proportions, driven by another one from landmarks alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_faces import made_face, placed, write_faces
from tests.helpers.made_frames import picture, save
from tests.helpers.scripts import run_script
from trainer.cli import compose
from trainer.loop import Trainer
from vid2vid.data.face.proportions import neutral_face
from vid2vid.task import Vid2VidTask
from vid2vid.trained import load_generator

WORDS = [
    "model=vid2vid_tiny", "data=face", "data.face_background=edges", "resolution=[32,32]", "model.blocks=1",
    "curriculum.stages.all.frames=3", "trainer.max_steps=1", "trainer.device=cpu", "trainer.precision=fp32",
    "logger.tensorboard=false", "logger.curves=false", "data.flow_cache=null", "trainer.visuals_every=0", "name=friend",
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch) -> Path:
    """Footage of one face, and landmarks of another."""
    monkeypatch.chdir(tmp_path)
    for name, face in (("friend", made_face()), ("driver", made_face(height=1.4))):
        write_faces(tmp_path / name / "landmarks/a", [placed(face, x, 40, 10) for x in (50, 52, 54)])
    for number in range(3):
        save(tmp_path / f"friend/images/a/{number:06d}.png", picture(number, 80, 120))
    return tmp_path


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_a_face_is_trained_and_driven_by_another(home: Path, capfd):
    from train import SCHEMAS

    config = compose([*WORDS, f"data.root={home / 'friend'}"], SCHEMAS)
    Trainer(config, lambda: Vid2VidTask(config), home / "runs/friend").fit()
    loaded = load_generator(config, home / "runs/friend")
    assert loaded.encoder.channels == 15 and loaded.proportions is not None
    np.testing.assert_allclose(loaded.proportions["face"], neutral_face(made_face()[None]), atol=1e-4)
    driven = ["run=runs/friend", f"source={home / 'driver/landmarks'}"]
    save(home / "behind.png", picture(7, 80, 120))
    calls = {"plain": [], "fitted": ["retarget=true"], "before": ["background=behind.png"]}
    for name, words in calls.items():
        assert run_script("generate", *driven, f"out={home / name}", *words) == 0
    plain, fitted, before = (pixels(home / name) for name in calls)
    assert plain.shape == fitted.shape == before.shape == (3, 32, 32, 3)
    assert (plain != fitted).any() and (plain != before).any()
    assert "no edges behind the face: the source has no pictures" in capfd.readouterr().out
    assert run_script("generate", *driven, "out=none", "background=behind.png", "data.face_background=none") == 2
    assert "has learnt faces without edges behind them" in capfd.readouterr().err
    assert not (home / "none").exists()
