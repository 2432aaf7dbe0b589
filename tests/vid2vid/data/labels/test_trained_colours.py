"""Label maps of colours, whose table gives the same colours other ids elsewhere than in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml
from PIL import Image

from train import SCHEMAS
from trainer.cli import compose, load_run
from trainer.config.resolve import plain
from trainer.errors import CheckpointError, DataError
from trainer.loop import Trainer
from vid2vid.data.checking.check import find_sequences
from vid2vid.evaluate.run import evaluate_run
from vid2vid.future.sequence import open_future
from vid2vid.generate.video import generate_video, open_clip
from vid2vid.task import Vid2VidTask
from vid2vid.trained import LoadedRun, load_generator

COLOURS = {"sky": (1, 2, 250), "road": (200, 10, 3), "car": (9, 250, 9)}
QUIET = ["trainer.eval_every=0", "logger.tensorboard=false", "logger.curves=false", "data.workers=0"]
MODEL = ["model=vid2vid_tiny", "data=folders", "model.label_ids=null", "model.num_labels=4", "model.foreground=off"]


def data_set(root: Path, order: str) -> Path:
    """Two sequences, road below sky, with a table like CVAT's in this order of classes."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16], pixels[16:] = COLOURS["sky"], COLOURS["road"]
    for name in ("a", "b"):
        for i in range(6):
            for kind in ("labels", "images"):
                path = root / kind / name / f"{i:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    lines = [f"{name}:{','.join(map(str, COLOURS.get(name, (7, 7, 7))))}::" for name in order.split()]
    (root / "labelmap.txt").write_text("\n".join(lines))
    return root


def train(root: Path, run_dir: Path, steps: int, *words: str) -> None:
    words = (*MODEL, f"data.root={root}", "data.flow_cache=null", *QUIET, f"trainer.max_steps={steps}", *words)
    config = compose(list(words), SCHEMAS)
    Trainer(config, lambda: Vid2VidTask(config), run_dir).fit()
    (run_dir / "config.yaml").write_text(yaml.safe_dump(plain(config)))


def loaded(run_dir: Path, *words: str) -> LoadedRun:
    return load_generator(load_run(str(run_dir), SCHEMAS, list(words)), run_dir)


def test_a_table_in_another_order_is_not_taken_for_the_same_classes(tmp_path: Path):
    own, other = data_set(tmp_path / "own", "sky road car"), data_set(tmp_path / "other", "car sky road")
    more = data_set(tmp_path / "more", "sky road car tree")
    run_dir = tmp_path / "run"
    with pytest.raises(DataError, match=r"other/labelmap\.txt: its colours have other ids"):
        train(own, run_dir, 1, f"data.val_root={other}")
    words = [*MODEL, f"data.root={own}", f"data.val_root={other}"]
    with pytest.raises(DataError, match=r"other/labelmap\.txt: its colours have other ids"):
        find_sequences(compose(words, SCHEMAS))
    train(own, run_dir, 1)
    run = loaded(run_dir)
    assert run.colours == {
        "source": str(own / "labelmap.txt"),
        "ids": [[1, 2, 250, 0], [200, 10, 3, 1], [9, 250, 9, 2]],
    }
    words = r"labelmap\.txt: its colours have other ids .* \(1,2,250\) is 1, was 0; .*colors:" + str(own)
    with pytest.raises(DataError, match=words):
        generate_video(run, open_clip(str(other), run.config), tmp_path / "x.mp4")
    with pytest.raises(DataError, match=words):
        open_clip(str(other), run.config, learnt=[run.colours])
    for renderer, predictor in ((run, None), (replace(run, colours=None), run.colours)):  # a future is predicted
        rollout = cast(Any, SimpleNamespace(run=SimpleNamespace(past_frames=1, colours=predictor)))
        with pytest.raises(DataError, match=words):
            open_future(str(other), renderer, rollout, predict=1, observed=3)
        assert len(open_future(str(own), renderer, rollout, predict=1, observed=3)) == 4
    with pytest.raises(DataError, match=words):
        evaluate_run(loaded(run_dir, f"data.root={other}"))
    # A class more that training did not have, at the end, changes no other; and the remedy works.
    assert generate_video(run, open_clip(str(more), run.config), tmp_path / "y.mp4").frames == 6
    followed = loaded(run_dir, f"data.label_format=colors:{own / 'labelmap.txt'}")
    clip = open_clip(str(other), followed.config)
    assert next(iter(clip))["labels"].unique().tolist() == [0, 1]
    assert generate_video(followed, clip, tmp_path / "z.mp4").frames == 6
    with pytest.raises(CheckpointError, match=r"colours of classes: .*0 \(1,2,250\)"):
        (own / "labelmap.txt").write_text((other / "labelmap.txt").read_text())
        train(own, run_dir, 2)
