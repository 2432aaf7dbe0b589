"""scripts/drift.py from its arguments to its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.made_frames import label_map, picture, save
from tests.helpers.made_run import make_run, street_config
from train import SCHEMAS
from trainer.errors import ConfigError, DataError
from vid2vid.drift.command import Arguments, lines, problems, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "tiny"
    make_run(path, street_config())
    return path


def test_a_table_a_picture_and_the_figures(folder: Path) -> None:
    said: list[str] = []
    run(Arguments(str(folder), frames=8, clips=2, reference=2, window=3), SCHEMAS, said.append)
    rows = list(csv.DictReader((folder / "drift.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == [str(t) for t in range(1, 9)]
    assert rows[0]["warp_error"] == "" and float(rows[1]["warp_error"]) > 0 and float(rows[7]["gradient_real"]) > 0
    figures = json.loads((folder / "drift.json").read_text())
    assert figures["clips"] == 2 and figures["frames"] == 8 and figures["flow"] == "exact" and figures["step"] == 7
    columns = [[float(row[name]) for row in rows[5:]] for name in ("gradient", "gradient_real")]
    assert figures["sharpness_at_8"] == pytest.approx(sum(columns[0]) / sum(columns[1]), rel=1e-4)
    with Image.open(folder / "drift.png") as picture_of_it:
        assert picture_of_it.size[0] > 1000
    change = f"{abs(figures['sharpness_change']):.1%} of frame 2 in sharpness"
    assert any(f"frame 8 is within {change}" in line for line in said)


def test_longer_films_of_ones_own(folder: Path, tmp_path: Path) -> None:
    for name, frames in (("a", 4), ("b", 6)):
        for t in range(frames):
            save(tmp_path / "labels" / name / f"{t}.png", label_map(t))
            save(tmp_path / "images" / name / f"{t}.png", picture(t))
    arguments = Arguments(str(folder), 6, 2, str(tmp_path / "labels"), 1, 2, out=str(tmp_path / "out"))
    said: list[str] = []
    run(arguments, SCHEMAS, said.append)
    assert json.loads((tmp_path / "out" / "drift.json").read_text())["clips"] == 1
    assert any("is left out: it has 4 frames" in line for line in said)
    arguments.frames = 9
    with pytest.raises(DataError, match=r"frames=9: no clip is so long.*use frames=6"):
        run(arguments, SCHEMAS, said.append)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (Arguments("r", frames=1), "frames=1: must be at least 2"),
        (Arguments("r", clips=0), "clips=0"),
        (Arguments("r", frames=50), "reference=100.*frames=50.*reference=5"),
        (Arguments("r", frames=120), "window=51.*window=14 or less"),
        (Arguments("r", frames=100, reference=50, window=50), "overlap; use window=34 or less"),
        (Arguments("r", seed=-1), "seed=-1: must be at least 0"),
        (Arguments("r", source="films", seed=5), "seed=5 draws the world of source=street"),
    ],
)
def test_arguments_that_do_not_go_together(arguments: Arguments, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(arguments, SCHEMAS, print)
    assert problems(Arguments("r")) == problems(Arguments("r", frames=100, reference=50, window=34)) == []


def test_where_it_is_written_is_checked_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "drift.png").mkdir()
    with pytest.raises(ConfigError, match=f"out={tmp_path}: {tmp_path}/drift.png is a folder; give another place"):
        run(Arguments(str(folder), frames=10**4, out=str(tmp_path)), SCHEMAS, print)


def test_without_real_frames_the_line_says_so() -> None:
    values = {f"{name}_{what}": 0.5 for name in ("sharpness", "red", "green", "blue", "colour")
              for what in ("at_1", "at_9", "change", "change_plain")}  # fmt: skip
    assert "of the generated frames alone" in lines(values, 1, 9, False)[-1]
