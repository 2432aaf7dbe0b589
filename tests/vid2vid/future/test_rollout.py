"""Maps that a predictor of known motion makes of observed ones, and which predictor fits which renderer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.made_predictor import IDS, SCHEMAS, make_predictor
from tests.helpers.made_run import make_run, street_config
from trainer.errors import ConfigError
from vid2vid.config import ForegroundKind, SourceKind, Vid2VidConfig
from vid2vid.data.augment import Crop
from vid2vid.future.rollout import LabelRollout
from vid2vid.future.sequence import FutureSequence
from vid2vid.future.trained import load_predictor
from vid2vid.trained import LoadedRun, load_generator


def renderer(folder: Path, ids: list[int] | None = None, resolution: tuple[int, int] = (32, 64)) -> LoadedRun:
    config = street_config(resolution)
    config.model.label_ids = list(IDS) if ids is None else ids
    make_run(folder / "renderer", config)
    return load_generator(config, folder / "renderer")


def test_labels_and_instances_move_by_the_predicted_flow(tmp_path: Path) -> None:
    make_predictor(tmp_path / "labels", flow=(-2.0, 0.0))
    rollout = LabelRollout(load_predictor(tmp_path / "labels", SCHEMAS, renderer(tmp_path)))
    labels = np.full((32, 64), 7, np.int16)
    labels[8:16, 10:14] = 26
    frame = {"labels": labels, "instances": np.where(labels == 26, 26003, 7).astype(np.int32)}
    for _ in range(2):
        rollout.observe(frame)
    with pytest.raises(ValueError, match="2 label maps observed, the predictor needs 3"):
        rollout.step()
    rollout.observe(frame)
    for ahead in (1, 2):
        made = rollout.step()
        moved = np.roll(labels, 2 * ahead, axis=1)
        assert np.array_equal(made["labels"].numpy(), moved) and made["labels"].numpy().dtype == np.int16
        assert np.array_equal(made["instances"].numpy(), np.where(moved == 26, 26003, 7))
        assert made["flow"][:, 5, 5].tolist() == [-2.0, 0.0]
    rollout.reset()
    rollout.observe({"labels": labels})
    rollout.observe({"labels": labels})
    rollout.observe({"labels": labels})
    assert "instances" not in rollout.step()


def test_a_predictor_of_other_classes_or_another_size_is_refused(tmp_path: Path) -> None:
    make_predictor(tmp_path / "labels")
    with pytest.raises(ConfigError) as refused:
        load_predictor(tmp_path / "labels", SCHEMAS, renderer(tmp_path, ids=[7, 8], resolution=(48, 64)))
    text = str(refused.value)
    assert "train a predictor with model.label_ids=[7,8]" in text
    assert "was trained at resolution=[32,64], the renderer works at [48,64]" in text
    reordered = renderer(tmp_path / "other", ids=IDS[::-1])
    assert load_predictor(tmp_path / "labels", SCHEMAS, reordered).past_frames == 3, "their order is its own affair"


def test_a_renderer_of_pictures_and_a_run_that_predicts_nothing_are_refused(tmp_path: Path) -> None:
    run = renderer(tmp_path)
    with pytest.raises(ConfigError, match="is a run of task vid2vid, which predicts no label maps"):
        load_predictor(tmp_path / "renderer", {**SCHEMAS, "vid2vid": Vid2VidConfig}, run)
    make_predictor(tmp_path / "labels")
    run.config.model.source, run.config.model.foreground = SourceKind.image, ForegroundKind.off
    with pytest.raises(ConfigError, match=r"trained with model\.source=image: give a renderer of label maps"):
        load_predictor(tmp_path / "labels", SCHEMAS, run)


def test_predicted_frames_are_cut_as_the_observed_ones() -> None:
    """Boxes of edits are in pixels of the source: whoever edits a future must know the crop."""
    crop = Crop((64, 96), 0, 16, 64, 64, (32, 32))
    source: Any = SimpleNamespace(name="a", fps=16.0, crop=None)
    future = FutureSequence(source, None, 1, 1)  # type: ignore[arg-type]
    source.crop = crop  # known when the first frame is read
    assert future.crop is crop
