"""MediaPipe itself, on a film of which every motion is known; and from the film to a driven video by three commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers import astronaut
from tests.helpers.made_films import write_film
from tests.helpers.made_tasks import made_tasks
from tests.helpers.paths import ROOT
from tests.helpers.scripts import run_script
from vid2vid.data.landmarks.read import read_people
from vid2vid.prepare.people.detector import ENVIRONMENT

PYTHON = ROOT / ENVIRONMENT / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason="make people-tools first: it needs PyPI and Python 3.9 to 3.12"),
]
FRAMES = 100


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        image = astronaut.picture()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"scikit-image's wheel, which has the picture, cannot be had from PyPI: {error}")
    path = tmp_path_factory.mktemp("film") / "astronaut.mkv"
    return write_film(path, "ffv1", astronaut.film(image, FRAMES), fps=astronaut.FPS, pix_fmt="bgr0")


@pytest.fixture(scope="module")
def prepared(film: Path) -> Path:
    out = film.parent / "data"
    assert run_script("prepare", "people", f"source={film}", f"out={out}", "data.video_cache=null") == 0
    return out


def _people(out: Path) -> list:
    files = sorted((out / "landmarks" / "astronaut").iterdir())
    assert [path.name for path in files] == [f"{index:06d}.json" for index in range(FRAMES)]
    return [read_people(path.read_bytes(), path) for path in files]


def test_landmarks_move_as_the_picture_does(prepared: Path) -> None:
    """A face of 110 pixels is followed to half a pixel, in every frame; nothing of it trembles or lags."""
    people = _people(prepared)
    assert all(len(one) == 1 for one in people)
    face = np.stack([one[0].face for one in people]).astype(float)
    assert (face[..., 2] == 1).all()
    still = face[..., :2] + astronaut.offsets(FRAMES)[:, None]  # where in the picture
    rms = np.sqrt(((still - still.mean(0)) ** 2).sum(-1).mean())
    assert rms < 0.8
    moved = np.diff(face[..., :2].mean(1), axis=0)
    assert np.abs(moved - astronaut.flow(FRAMES)).max() < 1.0
    nose = still[:, 30].mean(0)  # its tip; looked up in the picture enlarged ten times: (223, 127)
    assert np.abs(nose - (223, 127)).max() < 3
    body = np.stack([one[0].body for one in people])
    assert (body[:, 0, 2] > 0.9).all() and np.abs(body[:, 0, :2] - face[:, 30, :2]).max() < 12  # both have the nose


def test_the_matte_is_the_person(prepared: Path) -> None:
    with Image.open(prepared / "mattes" / "astronaut" / "000000.png") as matte:
        pixels = np.asarray(matte)
    x, y = (223, 127) - astronaut.offsets()[0]
    assert pixels.shape == (256, 256) and pixels[round(y), round(x)] > 250  # the nose
    assert (pixels[:60, :20] < 5).all() and 0.3 < (pixels > 127).mean() < 0.7  # wall, left above


def test_task_files_of_newer_versions(film: Path, prepared: Path) -> None:
    models, out = made_tasks(film.parent / "models", PYTHON), film.parent / "tasks"
    words = (f"source={film}", f"out={out}", "people=2", "seconds=1", "data.video_cache=null")
    assert run_script("prepare", "people", f"models={models}", *words) == 0
    file = "landmarks/astronaut/000010.json"
    (holistic,) = read_people((prepared / file).read_bytes(), prepared / file)
    (tasks,) = read_people((out / file).read_bytes(), out / file)
    seen = (holistic.body[:, 2] > 0.9) & (tasks.body[:, 2] > 0.9)
    assert seen.sum() >= 6 and np.abs(tasks.body[seen, :2] - holistic.body[seen, :2]).max() < 10
    assert not tasks.face.any()  # no file of faces was given


def test_from_a_film_to_a_driven_video(prepared: Path, run_train, tmp_path: Path) -> None:
    words = ["experiment=vid2vid/footage_64", f"data.root={prepared}", "data.workers=0", "data.flow_cache=null"]
    done = run_train(*words, "trainer.max_steps=4", "trainer.eval_every=0", "name=astronaut")
    assert done.returncode == 0, done.stderr
    video = tmp_path / "driven.mp4"
    run = tmp_path / "runs" / "astronaut"
    assert run_script("generate", f"run={run}", f"source={prepared}", f"out={video}", "frames=12", "compare=true") == 0
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 12 and frames[0].shape[1] == 4 * 64  # skeleton, face, real, generated
