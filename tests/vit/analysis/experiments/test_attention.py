"""analysis=attention from words to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_films import write_film
from tests.helpers.scripts import run_script
from trainer.data.video.decode import OpenVideo
from vit.analysis.experiments import attention


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attention") / "run"
    make_run(folder, mu_config("model.patch=4", "model.depth=2"))
    return folder


def analysed(*words: str) -> int:
    return run_script("analyze", "analysis=attention", *words)


def test_figures_of_every_head_and_a_sheet(run: Path, tmp_path: Path) -> None:
    words = (f"run={run}", f"compare=[again={run}]", "pictures=2", "rollout=false", f"out={tmp_path}")
    assert analysed(*words) == 0
    rows = list(csv.DictReader((tmp_path / "attention.csv").read_text().splitlines()))
    assert [(row["model"], row["block"], row["head"]) for row in rows[:5]] == [
        ("run", "1", "0"), ("run", "1", "1"), ("run", "2", "0"), ("run", "2", "1"), ("again", "1", "0"),
    ]  # fmt: skip
    assert len(rows) == 8 and all(0 < float(row["distance_px"]) < 17 and row["pictures"] == "20" for row in rows)
    found = json.loads((tmp_path / "analysis.json").read_text())
    mean = np.mean([float(row["distance_px"]) for row in rows[:2]])
    assert found["values"]["run/distance_px_block_1"] == pytest.approx(mean)
    sheet = np.asarray(Image.open(tmp_path / "attention-run.png"))
    assert sheet.shape[1] == 5 * 150, "picture, map, what the heads are together, two heads"
    assert {"attention_heads.png", "attention_distance.png"} <= {path.name for path in tmp_path.iterdir()}


def test_pictures_and_films_that_the_user_has(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(source / "deep/a.jpg")
    write_film(tmp_path / "film.mp4", frames=5, fps=10)
    assert analysed(f"run={run}", f"inputs={source}", "query=1x3", f"out={tmp_path}/out") == 0
    assert (tmp_path / "out/attention-run/deep/a.jpg.png").is_file()
    assert analysed(f"run={run}", f"inputs={tmp_path}/film.mp4", "smooth=0.5", f"out={tmp_path}/out") == 0
    with OpenVideo(tmp_path / "out/attention-run/film.mp4") as film:
        frames = list(film.pictures())
        assert film.rate == 10
    assert len(frames) == 5 and frames[0].shape[2] == 4 * 262
    found = json.loads((tmp_path / "out/analysis.json").read_text())
    assert found["records"] == [{"model": "run", "film": "film.mp4", "frames": 5}]
    assert "attention-run/film.mp4" in found["files"]


def test_maps_stay_below_the_folder(run: Path, tmp_path: Path) -> None:
    """Names in a table may be whole paths: the pictures there are the user's own."""
    picture = tmp_path / "mine.png"
    Image.new("RGB", (10, 10), "teal").save(picture)
    (tmp_path / "list.csv").write_text(f"path\n{picture}\n")
    before = picture.read_bytes()
    assert analysed(f"run={run}", f"inputs={tmp_path}/list.csv", f"out={tmp_path}/out") == 0
    assert picture.read_bytes() == before
    assert (tmp_path / "out/attention-run" / picture.relative_to("/")).is_file()


def test_films_of_one_name_do_not_take_each_others_place() -> None:
    films = [Path("/in/walk/01.mp4"), Path("/in/run/01.mp4"), Path("/in/run/01.avi"), Path("/in/run/02.mp4")]
    assert attention._apart(films) == ["walk/01.mp4", "run/01.mp4", "run/01.avi", "02"]
    assert attention._apart(films[:1]) == ["01"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("inputs=nowhere",), ["inputs=nowhere", "no such file"]),
        (("query=dist",), ["query=dist", "it has mean, 0x0 to 3x3, cls"]),
        (("blocks=[3]",), ["blocks", "3"]),
        (("heads=first",), ["heads=first", "0,3"]),
        (("discard=1",), ["discard=1"]),
        (("pictures=0",), ["pictures=0"]),
    ],
)
def test_mistakes(run: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: list[str]) -> None:
    assert analysed(f"run={run}", *words) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in named) and "Traceback" not in said, said
