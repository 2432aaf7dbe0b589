"""first_frame=image in training and evaluation: the history is the picture, and the picture is not the target."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.made_run import make_run, street_config
from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.data.loader import make_eval_loader
from trainer.device.compute import CPU
from trainer.errors import DataError
from vid2vid import segments
from vid2vid.config import FirstFrame, Vid2VidStage
from vid2vid.data import build_dataset
from vid2vid.encoding import SourceEncoder, images_to_float
from vid2vid.evaluate.measure import evaluate_clips
from vid2vid.evaluate.run import evaluate_run
from vid2vid.model import GeneratorOutput
from vid2vid.trained import load_generator


class Copying(nn.Module):
    """Stands in for a generator: every frame is the newest one of the past."""

    def past_from_images(self, images: Tensor, scales: int | None = None) -> list[Tensor]:
        return [images]

    def forward(self, source: Tensor, past: Any, foreground: Any, scales: Any, first: bool) -> GeneratorOutput:
        frames = past[-1][:, -1:].expand(-1, source.shape[1] - 2, -1, -1, -1)
        return GeneratorOutput(frames, frames, None, None, [frames[:, -1:].expand(-1, 2, -1, -1, -1)])


@pytest.mark.parametrize("frames", [1, 6])
def test_training_starts_from_the_picture(tmp_path: Path, frames: int) -> None:
    table = {"all": Vid2VidStage(frames=frames, segment_frames=min(frames, 3), batch_size=2)}
    config = configured("model.first_frame=image", "trainer.max_samples=2", stages=table)
    trainer, task = make_trainer(config, tmp_path)
    batch, ctx = one_batch(trainer)
    segment = next(task.segments(batch, ctx))
    (past,) = segment["past"]
    picture = images_to_float(batch["picture"])
    assert past.shape == (2, 2, 3, 32, 64)
    assert torch.equal(past[:, 0], picture) and torch.equal(past[:, 1], picture)
    assert not segment["first"], "the picture may be warped"
    assert (past[:, 1] - segments.real(segment)[:, 0]).abs().mean() > 0.02
    trainer.fit()
    assert trainer.finished


def test_copying_the_picture_is_no_perfect_first_frame() -> None:
    config = street_config()
    config.model.first_frame, config.data.val_frames = FirstFrame.image, 1
    loader = make_eval_loader(build_dataset(config, "val", (32, 64), 1), batch_size=1)
    encoder = SourceEncoder(config.model, config.data)
    pairs = evaluate_clips(Copying(), encoder, loader, compute=CPU, first_frame=FirstFrame.image)  # type: ignore[arg-type]
    assert pairs["psnr"][1] == 2
    assert pairs["psnr"][0] / 2 < 30, "100 dB is what a copy of the target gets"


def test_without_a_picture_it_is_the_last_frame_of_the_clip() -> None:
    config = street_config()
    batch = next(iter(make_eval_loader(build_dataset(config, "val", (32, 64), 4), batch_size=1)))
    encoder = SourceEncoder(config.model, config.data)
    options: Any = {"compute": CPU, "first_frame": FirstFrame.image}
    got = evaluate_clips(Copying(), encoder, [batch], **options)  # type: ignore[arg-type]
    expected = evaluate_clips(Copying(), encoder, [batch | {"picture": batch["images"][:, -1]}], **options)  # type: ignore[arg-type]
    assert got["psnr"] == expected["psnr"]
    single = {k: v[:, :1] if isinstance(v, Tensor) and v.ndim > 1 else v for k, v in batch.items()}
    with pytest.raises(DataError, match="only one"):
        evaluate_clips(Copying(), encoder, [single], **options)  # type: ignore[arg-type]


def test_evaluating_a_run_from_pictures_that_was_trained_without(tmp_path: Path) -> None:
    make_run(tmp_path, street_config())
    run = load_generator(street_config(), tmp_path)
    result = evaluate_run(run, first_frame=FirstFrame.image, frames=1)
    assert result.frames == 2 and "another real frame" in result.start
    assert run.config.model.first_frame is FirstFrame.model, "the run stays what it is"
