"""evaluate.py, predict.py and check_data.py on a segmentation: what they write, and what they refuse."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_masks import pair, train_small, write
from tests.helpers.scripts import run_script
from trainer.records.media import write_video


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "street"
    train_small(folder)
    return str(folder)


def test_evaluate_writes_figures_and_pictures(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As training measured it, whatever the batch and the mode that see the whole picture."""
    trained = json.loads(Path(run, "eval.json").read_text())
    assert run_script("evaluate", f"run={run}", f"out={tmp_path}") == 0
    again = json.loads((tmp_path / "eval.json").read_text())
    assert again["miou"] == pytest.approx(trained["miou"]) and again["pictures"] == 2 and again["split"] == "val"
    assert "mIoU" in capsys.readouterr().out
    with (tmp_path / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows][:2] == ["road", "sidewalk"]
    assert sum(int(row["pixels"]) for row in rows) == 2 * 16 * 32
    assert {"predictions.png", "confusion.png"} <= {path.name for path in tmp_path.iterdir()}
    assert run_script("evaluate", f"run={run}", f"out={tmp_path}", "batch=2", "inference.mode=slide") == 0
    assert json.loads((tmp_path / "eval.json").read_text())["miou"] == pytest.approx(trained["miou"])


def test_evaluate_refuses_other_classes(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        pair(tmp_path, f"images/{name}.png", f"masks/{name}.png", size=(2, 2))
    words = ["data=masks", f"data.root={tmp_path}", "data.classes=[x,y,z]"]
    assert run_script("evaluate", f"run={run}", *words) == 2
    assert "the network tells 7 classes apart" in capsys.readouterr().err
    assert run_script("evaluate", f"run={run}", "model.decoder=naive") == 2
    assert "model.decoder=naive: the network is the run's" in capsys.readouterr().err
    for words, said in ((["augment.flip=0"], "augment.flip: has no part"), (["resolution=32"], "data.short_side=N"),
                        (["inference.mode=slide", "inference.stride=2"], "inference.stride=2")):  # fmt: skip
        assert run_script("evaluate", f"run={run}", "data=masks", f"data.root={tmp_path}", *words) == 2
        assert said in capsys.readouterr().err


def test_predict_writes_masks_colours_and_overlays(run: str, tmp_path: Path) -> None:
    """Of pictures of any size, in the folders that they lie in."""
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "sub/a.png", np.full((21, 30, 3), 120))
    write(source / "b.jpg", np.full((16, 32, 3), 60))
    (source / "broken.png").write_bytes(b"no picture")
    assert run_script("predict", f"run={run}", f"source={source}", f"out={out}") == 0
    mask = np.asarray(Image.open(out / "masks/sub/a.png"))
    assert mask.shape == (21, 30) and mask.max() <= 6
    colours = np.asarray(Image.open(out / "colours/sub/a.png"))
    assert np.array_equal(np.asarray(Image.open(out / "masks/sub/a.png").convert("RGB")), colours)
    assert np.asarray(Image.open(out / "overlays/b.png")).shape == (16, 32, 3)
    assert (out / "legend.png").is_file() and len((out / "classes.csv").read_text().splitlines()) == 8
    assert not (out / "masks/broken.png").exists()


def test_predict_refuses_what_would_overwrite_itself(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "a.jpg"):
        write(tmp_path / "in" / name, np.zeros((8, 8, 3)))
    assert run_script("predict", f"run={run}", f"source={tmp_path / 'in'}", f"out={tmp_path / 'out'}") == 2
    assert "several pictures would be written to a.png" in capsys.readouterr().err
    assert run_script("predict", f"run={run}", f"source={tmp_path / 'in'}", f"out={tmp_path / 'x.csv'}") == 2
    assert "pictures are written into a folder" in capsys.readouterr().err
    write(tmp_path / "one/a.png", np.zeros((8, 8, 3)))
    assert run_script("predict", f"run={run}", f"source={tmp_path / 'one'}", f"out={tmp_path / 'seen_v1.5'}") == 0
    assert (tmp_path / "seen_v1.5/masks/a.png").is_file()
    film = tmp_path / "a.mp4"
    film.write_bytes(b"a film")
    assert run_script("predict", f"run={run}", f"source={film}", f"out={film}") == 2
    assert f"out={film} is source={film} itself" in capsys.readouterr().err and film.read_bytes() == b"a film"


def test_predict_reads_a_video(run: str, tmp_path: Path) -> None:
    import av

    write_video(tmp_path / "film.mp4", np.full((3, 16, 32, 3), 100, np.uint8), 8)
    out = tmp_path / "seen.mp4"
    assert run_script("predict", f"run={run}", f"source={tmp_path / 'film.mp4'}", f"out={out}", "view=both") == 0
    with av.open(str(out)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 8
    assert len(frames) == 3 and frames[0].shape == (16, 64, 3) and (tmp_path / "seen-legend.png").is_file()


def test_check_data_counts_classes_and_names_bad_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    for name in ("a", "b", "c"):
        pair(root, f"train/images/{name}.png", f"train/masks/{name}.png")
        pair(root, f"val/images/{name}.png", f"val/masks/{name}.png")
    words = ["data=masks", f"data.root={root}", "data.num_classes=3", f"out={tmp_path / 'sheet.png'}"]
    assert run_script("check_data", *words) == 0
    told = capsys.readouterr().out
    assert "train: 3 of 3 pictures and masks can be used" in told and "class 2" in told and "25.000%" in told
    assert (tmp_path / "sheet_train.png").is_file() and (tmp_path / "sheet_val.png").is_file()
    write(root / "val/masks/b.png", [[0, 1], [7, 7]])
    assert run_script("check_data", *words) == 2
    assert "b.png: holds 7 in 50.00% of its pixels" in capsys.readouterr().out
