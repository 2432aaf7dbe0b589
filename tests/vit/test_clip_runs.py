"""A network of clips in the ordinary trainer: a run, its pictures, its answers to video files, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import mu_config, mu_trainer, task_of
from tests.helpers.made_films import write_film
from tests.helpers.predictions import CPU
from tests.helpers.scripts import run_script
from trainer.errors import ConfigError, UserError
from trainer.task import StepContext
from vit.analysis.subjects import any_classes
from vit.data.clips.folders import read_frames
from vit.data.clips.moving_shapes import MovingShapes
from vit.data.kinds import Motion
from vit.evaluate.loaded import load_trained
from vit.evaluate.plots import Gallery
from vit.evaluate.run import evaluate
from vit.export import Format
from vit.export.graph import export_model
from vit.model.video import VideoTransformer
from vit.predict.clips import holds_videos, list_clips
from vit.predict.predictor import load_predictor, predict

MOTIONS = [motion for motion in Motion if not motion.turns]
WORDS = ("data=moving_shapes", "model.frames=4", "model.patch=8", "augment.erasing=1.0", "augment.mixup=0.2",
         "trainer.max_steps=3", "data.val_share=0.5")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "run"
    mu_trainer(folder, *WORDS).fit()
    return folder


def test_a_batch_is_erased_and_mixed_alike_in_all_frames(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, *WORDS)
    task, (stage,) = task_of(trainer), trainer.curriculum.stages
    assert isinstance(task.model, VideoTransformer) and stage.frames == task.frames_per_sample(stage) == 4
    still = torch.full((6, 4, 3, 16, 16), 90, dtype=torch.uint8)
    context = StepContext(0, 0, None, 0.0, torch.device("cpu"), torch.no_grad, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    (segment,) = task.segments({"image": still, "label": torch.arange(6)}, context)
    images = segment["images"]
    assert images.shape == still.shape
    touched = (images - task.prepare(still)).abs().amax(2) > 1e-6
    assert touched.any() and touched.equal(touched[:, :1].expand_as(touched))  # one box through time


def test_a_run_is_evaluated_and_answers_video_files(run: Path, tmp_path: Path) -> None:
    loaded = load_trained(run, overrides=CPU)
    assert loaded.transform_line.startswith("4 frames, stride 2; ")
    result = evaluate(loaded, samples=16)
    assert result.samples == 16 and "top1" in result.values
    source = MovingShapes("val", (16, 16), 8, MOTIONS)
    for index in range(3):
        frames = source.frames(index, np.arange).permute(0, 2, 3, 1).numpy()
        write_film(tmp_path / "films" / f"{index}.mkv", "ffv1", frames, pix_fmt="yuv444p")
    (tmp_path / "films" / "damaged.mkv").write_bytes(b"nothing")
    listed = list_clips(str(tmp_path / "films"))
    assert listed.names == ["0.mkv", "1.mkv", "2.mkv", "damaged.mkv"] and holds_videos(str(tmp_path / "films"))
    predictor = load_predictor(run=str(run), overrides=CPU)
    assert predictor.classes == [motion.value for motion in MOTIONS]
    (answers,) = predict(predictor, listed, batch=4, workers=0)
    assert answers.indices == [0, 1, 2] and "damaged or not a video" in answers.bad[3]
    numbers = [12, 14, 16, 18]  # 7 of 32 frames: 12 before, 13 behind
    for index in range(3):
        frames = read_frames(listed.files[index], lambda count: np.array(numbers), None)
        own = predictor.probabilities(predictor.transform(frames[0])[None, None].expand(1, 4, -1, -1, -1))
        assert not np.allclose(own.numpy(), answers.values[index], atol=1e-7)  # not the first frame alone
        images = torch.stack([predictor.transform(frame) for frame in frames])[None]
        assert np.allclose(predictor.probabilities(images).numpy()[0], answers.values[index], atol=1e-5)


def test_a_list_names_clips_to_be_predicted(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(3):
        write_film(tmp_path / f"a {index}.mkv", "ffv1", 6, pix_fmt="yuv444p")
    (tmp_path / "list.txt").write_text("a 0.mkv\na 2.mkv\n")
    words = (f"run={run}", f"source={tmp_path / 'list.txt'}", f"out={tmp_path / 'out.csv'}", *CPU)
    assert run_script("predict", *words) == 0
    rows = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["a 0.mkv", "a 2.mkv"]
    (tmp_path / "list.txt").write_text("a 0.mkv\nempty.mkv\n")
    (tmp_path / "empty.mkv").write_bytes(b"")
    assert run_script("predict", *words) == 0
    told = capsys.readouterr().out
    assert "1 clips cannot be used" in told and "on_bad_file" not in told  # which predictions do not know
    assert run_script("predict", *words, "data.clip_views=0") == 2
    assert "data.clip_views=0: must be at least 1" in capsys.readouterr().err


def test_what_sees_pictures_only_says_so(run: Path, tmp_path: Path) -> None:
    loaded = load_trained(run, overrides=CPU)
    with pytest.raises(ConfigError, match=r"sees clips of 4 frames, and experiments show pictures"):
        any_classes("run", loaded)
    with pytest.raises(ConfigError, match="clips of 4 frames; files are made of networks of pictures"):
        export_model(
            loaded.model, tmp_path / "a.pt2", Format.torch_export, size=(16, 16), mean=[0.5] * 3, std=[0.5] * 3
        )
    with pytest.raises(UserError, match="there is no such file or folder"):
        list_clips(str(tmp_path / "nothing"))


def test_a_network_of_pictures_is_where_one_of_clips_begins(tmp_path: Path) -> None:
    mu_trainer(tmp_path / "pictures", "model.patch=8", "trainer.max_steps=1").fit()
    words = ("data=moving_shapes", "model.frames=4", "model.patch=8", "model.head=reset", "trainer.max_steps=1")
    trainer = mu_trainer(tmp_path / "clips", *words, f"model.weights={tmp_path / 'pictures'}")
    kernel = task_of(trainer).model.patch_embed.proj.weight
    assert kernel.shape[2] == 2 and not kernel[:, :, 0].any() and kernel[:, :, 1].any()
    trainer.fit()
    resumed = mu_config(*words)
    assert resumed.model.frames == 4


def test_clips_are_film_strips_and_move() -> None:
    gallery = Gallery(["a", "b"])
    images = torch.zeros(3, 8, 3, 32, 32, dtype=torch.uint8)
    images[:, 5] = 200
    gallery.add(images, torch.eye(2)[[0, 1, 0]], torch.tensor([[0.9, 0.1]] * 3), torch.ones(3))
    picture, video = gallery.picture(), gallery.video()
    assert picture is not None and video is not None
    assert picture.shape[1] == 2 * (6 * 96 + 6) and video.shape[0] == 8
    bright = [bool((frame[100] == 200).any()) for frame in video]
    assert bright == [number == 5 for number in range(8)]
    pictures = Gallery(["a", "b"])
    pictures.add(images[:, 0], torch.eye(2)[[0, 1, 0]], torch.tensor([[0.9, 0.1]] * 3), torch.ones(3))
    assert pictures.video() is None
