"""The table, the sheet and the video of runs that are there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.made_films import plainly
from tests.helpers.made_run import make_run, street_config
from train import SCHEMAS
from trainer.cli import load_run
from trainer.errors import ConfigError
from vid2vid.ablations.command import Arguments, TableName, run
from vid2vid.config import Gan
from vid2vid.evaluate.run import evaluate_run
from vid2vid.evaluate.styling import styled
from vid2vid.trained import load_generator


def test_rows_with_styles_are_drawn_by_those_of_the_real_frames(tmp_path: Path) -> None:
    config = street_config()
    config.data.val_frames, config.data.val_clips, config.model.style_channels = 4, 1, 2
    make_run(tmp_path / "2018-seed0", config)
    (tmp_path / "2018-seed0" / "done.json").write_text("{}")
    asked = Arguments(
        TableName.modern, out=str(tmp_path), table_only=True, segmenter_steps=1, frames=4, zoom=1, sheet=[0],
        overrides=["model.style_channels=2"],
    )  # fmt: skip
    run(asked, SCHEMAS, lambda line: None)
    kept = json.loads((tmp_path / "2018-seed0" / "ablation.json").read_text())
    loaded = load_generator(load_run(tmp_path / "2018-seed0", SCHEMAS), tmp_path / "2018-seed0")
    assert kept["psnr"] == pytest.approx(evaluate_run(loaded, style=styled(loaded)).values["psnr"])
    assert len(plainly(tmp_path / "ablations.mp4")) == 4


def test_the_table_of_what_is_trained_so_far(tmp_path: Path) -> None:
    """A row of two seeds, one of the later seed only, which is shown too; the rest is still to be trained."""
    config = street_config()
    config.data.val_frames, config.data.val_clips = 4, 2
    for name, gan in (("2018-seed0", Gan.lsgan), ("nearest-seed1", Gan.hinge), ("2018-seed1", Gan.lsgan)):
        config.model.gan = gan
        make_run(tmp_path / name, config)
        (tmp_path / name / "done.json").write_text("{}")
    make_run(tmp_path / "wide3-seed0", config)  # not at its end yet
    said: list[str] = []
    asked = Arguments(
        TableName.modern, out=str(tmp_path), table_only=True, segmenter_steps=1, frames=5, zoom=1, sheet=[0, 4]
    )
    run(asked, SCHEMAS, said.append)
    lines = (tmp_path / "ablations.md").read_text().splitlines()
    heading, _, *body = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert [row[0] for row in body] == ["2018", "nearest"] and [row[-1] for row in body] == ["2", "1"]
    assert heading[1:-1] == [
        *("PSNR [dB]", "SSIM", "warping error", "tOF", "sharpness", "sharpness, hallucination", "mIoU"),
        *("people", "cars", "FD 1/4", "FD 1/8", "sharpness drift", "colour drift", "period 2", "updates"),
    ]
    assert lines[-1].endswith("over seeds; 420 s of CPU time each, 3 trainings")
    rows = list(csv.DictReader((tmp_path / "ablations.csv").read_text().splitlines()))
    assert [(row["variant"], row["seed"]) for row in rows] == [("2018", "0"), ("2018", "1"), ("nearest", "1")]
    kept = json.loads((tmp_path / "nearest-seed1" / "ablation.json").read_text())
    assert float(rows[2]["fd_4"]) == pytest.approx(kept["fd_4"], rel=1e-5) and float(rows[2]["ratio"]) == 1
    caption = 15  # of 32 pixels
    with Image.open(tmp_path / "ablations.png") as sheet:
        assert sheet.size == (4 * 64, 2 * (32 + caption)), "labels, real, two rows; frames 0 and 4"
    assert len(plainly(tmp_path / "ablations.mp4")) == 5
    (tmp_path / "nearest-seed1" / "done.json").unlink()
    with pytest.raises(ConfigError, match="segmenter_steps=2: the runs of"):
        asked.segmenter_steps = 2
        run(asked, SCHEMAS, said.append)
