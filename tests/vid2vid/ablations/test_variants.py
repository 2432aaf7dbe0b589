"""Variants compose, are trained alike, and nothing undoes their comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from train import SCHEMAS, TASKS
from trainer.cli import compose
from trainer.errors import ConfigError
from vid2vid.ablations.command import Arguments, run
from vid2vid.ablations.variants import jobs_of


def test_every_variant_composes_and_takes_its_part_away() -> None:
    models = {}
    for job in jobs_of(Path("out"), 1):
        config = compose(job.words("4m", None, ["data.val_clips=2"]), SCHEMAS)
        assert TASKS["vid2vid"].problems(config) == []
        assert config.trainer.budget == "4m" and config.data.val_clips == 2
        models[job.variant.name] = config.model
    alike = compose(jobs_of(Path("out"), 1)[-1].words("4m", 300, []), SCHEMAS).trainer
    assert (alike.max_steps, alike.max_samples, alike.budget) == (300, None, None)
    full = models["full"]
    assert full.flow and full.video_discriminator and full.past_frames == 2 and full.foreground.name == "override"
    assert not models["no_flow"].flow and not models["no_video_discriminator"].video_discriminator
    assert models["no_foreground"].foreground.name == "off" and models["frame_by_frame"].past_frames == 0


def test_arguments_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seeds=0"):
        run(Arguments(seeds=0, out=str(tmp_path)), SCHEMAS, print)
    with pytest.raises(ConfigError, match="ngf"):
        run(Arguments(out=str(tmp_path), overrides=["model.ngf=0"]), SCHEMAS, print)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed=5", "seed=5: each seed is trained"),  # all seeds would be one, with no spread at all
        ("model.flow=true", "model.flow=true: the rows of the table differ in it"),  # "no flow" would be the full model
        ("+model.past_frames=1", "past_frames=1: the rows"),
        ("trainer.max_steps=9", "give steps=N"),
        ("data.flow=none", "the warping error needs flow"),  # else known after all trainings
        ("model.style_channels=3", "styles are none of the ablations"),
        ("model.first_frame=real", "generated from labels alone"),
    ],
)
def test_what_would_undo_the_comparison_is_refused(word: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        run(Arguments(out=str(tmp_path), overrides=[word]), SCHEMAS, print)
    assert not any(tmp_path.iterdir())


def test_runs_of_one_table_are_trained_alike(tmp_path: Path) -> None:
    (tmp_path / "ablations.json").write_text(
        '{"budget": "4m", "steps": null, "segmenter_steps": 1000, "overrides": []}'
    )
    with pytest.raises(ConfigError, match=r"budget=2m: the runs of .* were made with budget=4m; .*another out=FOLDER"):
        run(Arguments(budget="2m", out=str(tmp_path)), SCHEMAS, print)
