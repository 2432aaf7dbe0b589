from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_films import numbered, write_film
from tests.helpers.scripts import run_script
from vid2vid.prepare import storage


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "walk.mp4", frames=6, fps=10)


def _run(film: Path, out: Path, *words: str, what: str = "edges") -> int:
    settings = ("data.video_cache=null", "data.cut_threshold=null")
    return run_script("prepare", what, f"source={film}", f"out={out}", *settings, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("walk", "source=a", "out=b"), "what=walk"),
        (("source=a", "out=b"), "what=... is missing: the word people, edges, labels or depth"),
        (("edges", "source=a", "out=b", "model=c"), "model=c: is for labels and depth, not edges"),
        (("edges", "source=a", "out=b", "fps=0"), "fps=0.0: must be above 0"),
        (("edges", "source=a", "out=b", "height=3"), "height=3: needs at least 16 pixels"),
        (("people", "source=a", "out=b", "min_cutoff=-1"), "min_cutoff=-1.0: must be 0 or more"),
        (("labels", "source=a", "out=b"), "model=... is missing: labels are made by a network that you give"),
        (("depth", "source=a", "out=b", "model=none"), "model=none: no such file or folder. Give the folder"),
        (("edges", "source=nowhere.mp4", "out=b"), "nowhere.mp4: no such file or folder"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("prepare", *words) == 2
    assert said in capsys.readouterr().err


def test_other_settings_and_other_films_are_not_mixed(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _run(film, out) == 0
    assert _run(film, out, "height=24", "data.edge_low=10") == 2
    error = capsys.readouterr().err
    assert f"height=24: {out} was made with height=512" in error
    assert f"data.edge_low=10: edges in {out} were made with data.edge_low=60" in error
    other = write_film(tmp_path / "walk.mp4", frames=5, fps=10)
    assert _run(other, out) == 2
    assert f"out={out} has frames called walk of another film" in capsys.readouterr().err
    second = write_film(tmp_path / "run.mp4", frames=5, fps=10)
    assert _run(second, out) == 0
    assert sorted(path.name for path in (out / "images").iterdir()) == ["run", "walk"]


def test_no_room(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = storage.shutil.disk_usage(tmp_path)._replace(free=4000)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda place: free)
    assert _run(film, tmp_path / "out") == 2
    assert "6 frames need about 0.0 GB, and 0.0 GB are free there. Give seconds=" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_data_set_s_own_pictures(tmp_path: Path) -> None:
    """Something is added to a data set that has pictures: they stay, whatever their kind and size."""
    images = tmp_path / "set" / "images" / "a"
    images.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(numbered(index, 48, 64)).save(images / f"frame{index}.jpg")
    assert (
        run_script("prepare", "edges", f"source={tmp_path / 'set/images'}", f"out={tmp_path / 'set'}", "height=20") == 0
    )
    assert sorted(path.name for path in images.iterdir()) == ["frame0.jpg", "frame1.jpg", "frame2.jpg"]
    with Image.open(tmp_path / "set" / "edges" / "a" / "frame1.png") as edges:
        assert edges.size == (64, 48) and set(np.unique(np.asarray(edges)).tolist()) == {0, 255}


def test_the_pictures_of_a_film_that_was_prepared_are_its_own(film: Path, tmp_path: Path) -> None:
    """Edges of out/images into out, though they were made of a film, and with a height."""
    out = tmp_path / "out"
    assert _run(film, out, "height=24") == 0
    (out / "edges" / "walk" / "000003.png").unlink()
    assert _run(out / "images", out) == 0 and (out / "edges" / "walk" / "000003.png").is_file()
    assert _run(film, out, "height=24") == 0, "the film's command goes on as before"


def test_commands_that_are_advised_can_be_typed(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my friend (1)"
    assert _run(film, out) == 0
    (advice,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("train: ")]
    assert shlex.split(advice)[-2:] == [f"data.root={out}", "data.sources=[image:edges]"]


def test_what_is_made_does_not_become_footage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run would find the frames and edges of the first among the pictures of its source."""
    Image.fromarray(numbered(0, 48, 64)).save(tmp_path / "frame0.png")
    assert run_script("prepare", "edges", f"source={tmp_path}", f"out={tmp_path / 'out'}") == 2
    assert f"lies among the pictures of source={tmp_path}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("not to be mixed with frames")
    assert _run(film, tmp_path) == 2
    assert f"out={tmp_path}: has other things in it" in capsys.readouterr().err


def test_the_record_of_a_folder_is_damaged(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out" / ".prepare").mkdir(parents=True)
    record = tmp_path / "out" / ".prepare" / "settings.json"
    record.write_text("{")
    assert _run(film, tmp_path / "out") == 2
    assert f"{record}: damaged" in capsys.readouterr().err
