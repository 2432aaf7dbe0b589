"""What no stage feeds is named at the start, and the presets feed everything that they build."""

from pathlib import Path

import pytest

from tests.helpers.made_task import SCHEMAS, configured, make_trainer, one_batch
from trainer.checkpoint.weights import network_tensors
from trainer.cli import CONFIGS, compose
from trainer.config.help import group_options
from vid2vid.config import Vid2VidConfig, Vid2VidStage
from vid2vid.validate.untrained_parts import fed_table, unfed

PRESETS = ["model=vid2vid", "model=vid2vid_2018", "model=vid2vid_tiny", "model=vid2vid_paper", "model=pix2pixhd"]
EXPERIMENTS = [
    f"experiment={name}"
    for name in group_options(CONFIGS, "experiment")
    if name.startswith("vid2vid/")
    and "/model: label_predictor" not in (CONFIGS / f"experiment/{name}.yaml").read_text()
]


@pytest.mark.parametrize("preset", [*PRESETS, *EXPERIMENTS])
def test_every_preset_feeds_all_that_it_builds(preset: str) -> None:
    assert unfed(compose([preset], SCHEMAS)) == []


@pytest.mark.parametrize("choice", ["coarse_to_fine", "growing_clips", "single"])
def test_every_curriculum_feeds_the_default_model(choice: str) -> None:
    assert unfed(compose(["model=vid2vid", f"curriculum={choice}"], SCHEMAS)) == []


def parts(config: Vid2VidConfig) -> list[str]:
    return [item.part for item in unfed(config)]


CASES = [
    (["model.temporal_scales=3"], {"a": Vid2VidStage(frames=12)}, ["d_video.2"]),
    (["model.temporal_scales=3"], {"a": Vid2VidStage(frames=6)}, ["d_video.1", "d_video.2"]),
    (["model.temporal_scales=3"], {"a": Vid2VidStage(frames=18)}, ["d_video.2"]),
    (["model.temporal_scales=3"], {"a": Vid2VidStage(frames=21)}, []),
    (["model.temporal_scales=3", "model.first_frame=real"], {"a": Vid2VidStage(frames=18)}, []),  # 2 real frames more
    (["model.video_discriminator=false", "model.temporal_scales=3"], {"a": Vid2VidStage(frames=6)}, []),
    (
        ["model.discriminator_scales=3", "model.temporal_scales=1"],
        {
            "a": Vid2VidStage(frames=6, discriminator_scales=2),
            "b": Vid2VidStage(start=0.5, frames=6, discriminator_scales=1),
        },
        ["d_image.scale2", "d_video.0.scale2"],
    ),
    (
        ["model.discriminator_scales=2", "model.temporal_scales=2"],
        {"a": Vid2VidStage(frames=9, discriminator_scales=1), "b": Vid2VidStage(start=0.5, frames=3)},
        ["d_video.1.scale1"],
    ),
    (["model.scales=2"], {"a": Vid2VidStage(frames=9, scales=1)}, ["generator.scale1"]),
    (
        ["model.video_discriminator=false"],
        {"a": Vid2VidStage(frames=1, segment_frames=1)},
        ["generator.scale0.past", "generator.scale0.flow"],
    ),
]


@pytest.mark.parametrize(("words", "stages", "expected"), CASES)
def test_what_no_stage_feeds(words: list[str], stages: dict[str, Vid2VidStage], expected: list[str]) -> None:
    assert parts(configured("model.discriminator_scales=2", *words, stages=stages)) == expected


@pytest.mark.parametrize(("words", "stages", "expected"), [case for case in CASES if case[2]])
def test_what_is_named_is_what_does_not_move(
    words: list[str], stages: dict[str, Vid2VidStage], expected: list[str], tmp_path: Path
) -> None:
    """All losses of all segments of every stage: gradients of the named parts alone are missing."""
    config = configured("model.discriminator_scales=2", *words, stages=stages)
    trainer, task = make_trainer(config, tmp_path)
    moved = set()
    for stage in trainer.curriculum.stages:
        with trainer.session():
            trainer.enter(stage)
            batch, ctx = trainer.next_batch(), trainer.context()
        for segment in task.segments(batch, ctx):
            for phase in trainer.active:
                for value in task.losses(phase.name, segment, ctx).values():
                    if value.requires_grad:
                        value.backward(retain_graph=True)
        moved |= {
            f"{network}.{name}"
            for network, module in trainer.networks.items()
            for name, p in module.named_parameters()
            if p.grad is not None
        }
    still = {name for name in network_tensors(trainer.networks) if name not in moved}
    assert still
    assert all(name.startswith(tuple(f"{part}." for part in expected)) for name in still), still
    assert all(any(name.startswith(f"{part}.") for name in still) for part in expected)


def test_it_is_told_in_the_log_and_in_the_dry_run(tmp_path: Path) -> None:
    config = configured("model.temporal_scales=3", "trainer.max_steps=1")
    trainer, _ = make_trainer(config, tmp_path)
    line = "never trained, as no stage feeds it: d_video.1 ("
    text = trainer.dry_run()
    assert line in text and "its windows span 7 frames, the longest clips have 6" in text
    assert "d_video.2 (" in text and "span 19 frames" in text
    assert "model.temporal_scales=1" in text and "what each stage trains" in text
    one_batch(trainer)
    assert line in (tmp_path / "train.log").read_text()


def test_the_remedies_work() -> None:
    for words in (["model.temporal_scales=1"], ["model.temporal_scales=3", "curriculum.stages.all.frames=21"]):
        assert unfed(configured(*words)) == []


def test_the_table_of_the_dry_run() -> None:
    rows = fed_table(compose(["model=vid2vid_paper"], SCHEMAS))
    by_stage = {row[0]: row[1:] for row in rows[1:]}
    assert by_stage["w512_t6"] == ["1", "2", "1"] and by_stage["w512_t12"] == ["1", "2", "1 3"]
    assert by_stage["w2048_all_t28"] == ["3", "4", "1 3 9"]
