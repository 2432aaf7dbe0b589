"""generate.py and evaluate.py with a predictor: which frames are observed, what is measured, what is refused."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.made_predictor import IDS, SCHEMAS, make_predictor
from tests.helpers.made_run import make_run, street_config
from trainer.errors import ConfigError, DataError
from vid2vid.config import Vid2VidConfig
from vid2vid.data.street import StreetDataset
from vid2vid.evaluate import command as evaluate
from vid2vid.future.rollout import LabelRollout
from vid2vid.future.sequence import open_future
from vid2vid.future.trained import load_predictor
from vid2vid.generate import command as generate
from vid2vid.trained import load_generator

ALL = {**SCHEMAS, "vid2vid": Vid2VidConfig}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A renderer and a predictor that repeats the last label map."""
    folder = tmp_path_factory.mktemp("runs")
    config = street_config()
    config.model.label_ids = list(IDS)
    make_run(folder / "renderer", config)
    make_predictor(folder / "still")
    return str(folder / "renderer"), str(folder / "still")


def test_a_video_has_the_observed_frames_then_the_predicted(runs: tuple[str, str], tmp_path: Path) -> None:
    run, still = runs
    config = street_config()
    config.model.label_ids = list(IDS)
    loaded = load_generator(config, Path(run))
    rollout = LabelRollout(load_predictor(still, SCHEMAS, loaded))
    frames = list(open_future("street", loaded, rollout, predict=2, observed=5))
    captions = [frame["captions"] for frame in frames]
    assert captions[:5] == [("observed labels", "observed")] * 5
    assert captions[5:] == [("predicted labels", "predicted t+1"), ("predicted labels", "predicted t+2")]
    assert np.array_equal(frames[6]["labels"].numpy(), frames[4]["labels"])
    assert not np.array_equal(frames[6]["image"], frames[4]["image"]), "the real picture is there to compare with"

    said: list[str] = []
    asked: dict[str, Any] = {"run": run, "source": "street", "frames": 5, "predictor": still, "predict": 2}
    out = tmp_path / "pictures"
    generate.run(generate.Arguments(out=str(out), **asked), ALL, said.append)
    pictures = sorted(out.glob("*.png"))
    assert len(pictures) == 7 and any("7 frames of 64x32" in line for line in said)
    from PIL import Image

    shown = [np.asarray(Image.open(path)) for path in pictures]
    for t in range(5):
        assert np.array_equal(shown[t], frames[t]["image"].transpose(1, 2, 0)), "observed frames are the real ones"
    assert not np.array_equal(shown[5], shown[4])


def test_a_renderer_without_a_past_draws_from_labels_alone(tmp_path: Path) -> None:
    config = street_config()
    config.model.label_ids, config.model.past_frames, config.model.flow = list(IDS), 0, False
    make_run(tmp_path / "frames", config)
    make_predictor(tmp_path / "still")
    asked = {"run": str(tmp_path / "frames"), "predictor": str(tmp_path / "still")}
    evaluate.run(evaluate.Arguments(**asked, predict=2, clips=1), ALL, lambda line: None)
    (written,) = (tmp_path / "frames").glob("future-still-2-*.json")
    record = json.loads(written.read_text())
    assert record["clips"] == 1 and record["scores"]["psnr"]["predicted"][0] > 0


def test_what_is_measured_is_what_numpy_measures(runs: tuple[str, str]) -> None:
    run, still = runs
    said: list[str] = []
    evaluate.run(evaluate.Arguments(run=run, predictor=still, predict=3), ALL, said.append)
    with (Path(run) / "future-still-3.csv").open() as file:
        rows = {(row["frame"], row["method"]): row for row in csv.DictReader(file)}
    assert len(rows) == 3 * 4 and (Path(run) / "future-still-3.png").stat().st_size > 5000
    record = json.loads((Path(run) / "future-still-3.json").read_text())
    assert record["observed"] == 3 and record["clips"] == 2 and record["predictor"] == still
    dataset = StreetDataset(street_config(), "val", (32, 64), 6)
    clips = [dataset.sample(i, np.random.default_rng(0)) for i in range(2)]
    for k in (1, 2, 3):
        decibels, last, true = [], [], []
        for clip in clips:
            images = clip["images"].astype(np.float64) / 255
            decibels.append(-10 * math.log10(((images[2 + k] - images[2]) ** 2).mean()))
            last.append(clip["labels"][2])
            true.append(clip["labels"][2 + k])
        guess, real = np.stack(last), np.stack(true)
        shares = [((guess == c) & (real == c)).sum() / ((guess == c) | (real == c)).sum() for c in np.unique(real)]
        row = rows[f"t+{k}", "last_frame"]
        assert float(row["psnr"]) == pytest.approx(np.mean(decibels), rel=1e-4)
        assert float(row["miou"]) == pytest.approx(np.mean(shares), rel=1e-4)
        assert row["miou"] == rows[f"t+{k}", "predicted"]["miou"], "this predictor repeats the last map"
        assert rows[f"t+{k}", "true_labels"]["miou"] == ""
        assert rows[f"t+{k}", "predicted"]["psnr"] != rows[f"t+{k}", "true_labels"]["psnr"]
    assert said[-1].endswith("future-still-3.csv, with curves in future-still-3.png")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"predict": None}, "predictor=RUN and predict=N go together"),
        ({"predictor": None}, "predictor=RUN and predict=N go together"),
        ({"predict": 0}, "predict=0: must be at least 1"),
        ({"frames": 2}, "frames=2: 2 observed frames, but model.past_frames=3 of the predictor and 2 of the renderer"),
        ({"image": "x.png"}, "first_frame=image: predict=N begins with real frames; leave it out"),
    ],
)
def test_what_cannot_be_generated(runs: tuple[str, str], tmp_path: Path, words: dict[str, Any], told: str) -> None:
    asked: dict[str, Any] = {
        "run": runs[0],
        "source": "street",
        "out": str(tmp_path / "x.mp4"),
        "predictor": runs[1],
        "predict": 2,
    }
    with pytest.raises((ConfigError, DataError), match=told.replace("+", r"\+")):
        generate.run(generate.Arguments(**(asked | words)), ALL, print)
    assert not list(tmp_path.iterdir())


def test_observed_frames_have_pictures(runs: tuple[str, str], tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "maps").mkdir()
    for k in range(5):
        Image.fromarray(np.full((32, 64), 7, np.uint8)).save(tmp_path / "maps" / f"{k}.png")
    asked: dict[str, Any] = {"run": runs[0], "predictor": runs[1], "predict": 2}
    out = tmp_path / "x.mp4"
    with pytest.raises(DataError, match="a future begins with real pictures, and an observed frame has none"):
        generate.run(generate.Arguments(source=str(tmp_path / "maps"), out=str(out), **asked), ALL, lambda line: None)
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"predict": None}, "predictor=RUN and predict=N go together"),
        ({"predict": 0}, "predict=0: must be at least 1"),
        ({"frames": 9}, "frames= does not go with predictor="),
    ],
)
def test_what_cannot_be_measured(runs: tuple[str, str], words: dict[str, Any], told: str) -> None:
    asked: dict[str, Any] = {"run": runs[0], "predictor": runs[1], "predict": 2}
    with pytest.raises(ConfigError, match=told):
        evaluate.run(evaluate.Arguments(**(asked | words)), ALL, print)
