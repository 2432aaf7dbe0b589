"""A student and its teacher: what the losses are, that they fall, whom a student may learn from, and going on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.exactness import assert_same
from tests.helpers.made_run import make_run
from tests.helpers.made_task import configured, make_trainer, one_batch
from tests.helpers.power_cut import fit_until
from trainer.checkpoint.contents import WEIGHTS
from trainer.checkpoint.trained import load_weights
from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import Vid2VidStage
from vid2vid.losses.distillation import Projections, distillation
from vid2vid.model import GeneratorOutput
from vid2vid.teacher import build_teacher
from vid2vid.validate import problems

STAGES = {"all": Vid2VidStage(frames=6, segment_frames=2)}
LOSSES = {"teacher", "teacher_flow", "teacher_mask", "teacher_features"}


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A run of the tiny model whose generator makes something of its own."""
    make_run(tmp_path / "teacher", configured("model.ngf=8"))
    return tmp_path / "teacher"


def trained(folder: Path, teacher: Path, *words: str) -> tuple[Any, Any]:
    config = configured("trainer.max_samples=3", f"model.teacher={teacher}", *words, stages=dict(STAGES))
    assert problems(config) == []
    return make_trainer(config, folder)


def made(frames: float, flow: float, mask: float, features: float) -> GeneratorOutput:
    shape = 1, 2, 1, 4, 4
    image = torch.full((1, 2, 3, 4, 4), frames)
    maps = [(torch.full((1, 2, 4, 4), features), None), (torch.full((1, 2, 4, 4), features),) * 2]
    return GeneratorOutput(image, image + 1, torch.full((1, 2, 2, 4, 4), flow), torch.full(shape, mask), [], maps)


def test_each_term_by_hand() -> None:
    model = configured("model.lambda_teacher_flow=3", "model.lambda_teacher_features=2").model
    student, other = made(0.0, 1.0, 0.5, 1.0), made(0.25, 3.0, 0.75, 1.5)
    found = distillation(student, other, Projections(2, 2, flow=True), model)
    assert {name: round(float(value.detach()), 5) for name, value in found.items()} == {
        "teacher": 10 * 2 * 0.25,  # composed and hallucination
        "teacher_flow": 3 * 0.25 * 2,  # where the teacher warps
        "teacher_mask": 0.25,
        "teacher_features": 2 * 0.5 * 1.5,  # three maps of two frames
    }
    assert set(distillation(student, other, None, replace(model, lambda_teacher_mask=0.0))) == {
        "teacher",
        "teacher_flow",
    }


def test_equal_weights_have_no_losses_through_a_whole_clip_and_one_step_lowers_others(tmp_path: Path) -> None:
    config = configured("model.ngf=4")
    own = make_run(tmp_path / "same", config).state_dict()
    trainer, task = trained(tmp_path / "a", tmp_path / "same", "model.ngf=4")
    task.networks()["generator"].load_state_dict(own)
    batch, ctx = one_batch(trainer)
    assert {name for name in task.frozen()} == {"teacher"}
    for segment in task.segments(batch, ctx):
        losses = task.losses("g", segment, ctx)
        assert set(losses) > LOSSES
        assert all(float(losses[name].detach()) == 0 for name in LOSSES)
    generator, projections = task.networks()["generator"], task.networks()["projections"]
    with torch.no_grad():
        for index, parameter in enumerate(generator.parameters()):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))

    def total() -> Tensor:
        segments = list(task.segments(batch, ctx))
        return torch.stack([task.losses("g", s, ctx)[name] for s in segments for name in sorted(LOSSES)]).sum()

    optimizer = torch.optim.Adam([*generator.parameters(), *projections.parameters()], 1e-3)
    before = total()
    before.backward()
    optimizer.step()
    assert 0 < float(total().detach()) < float(before.detach())
    assert all(p.grad is None for p in task.frozen()["teacher"].parameters())


def test_the_teacher_makes_the_video_that_it_makes_alone(tmp_path: Path, teacher: Path) -> None:
    """Its past frames are its own through all segments, whatever the student makes."""
    trainer, task = trained(tmp_path / "a", teacher)
    batch, ctx = one_batch(trainer)
    taught = []
    for segment in task.segments(batch, ctx):
        taught.append(task.passes.teach(segment, ctx).frames)
    network = task.frozen()["teacher"].generator
    encoder, past = task.nets.encoder, task.config.model.past_frames
    ids = {name: batch[name] for name in ("labels", "instances") if name in batch}
    source = encoder.encode(ids)
    source = torch.cat([source[:, :1].expand(-1, past, -1, -1, -1), source], dim=1)
    with torch.no_grad():
        alone = network(source[:, : past + 6], foreground=encoder.foreground_mask(ids)).frames
    assert torch.allclose(torch.cat(taught, 1), alone, atol=1e-5)
    assert not any(frames.requires_grad for frames in taught)


def weights(folder: Path) -> dict[str, Any]:
    return dict(load_weights(sorted((folder / "checkpoints").glob("step-*"))[-1] / WEIGHTS)[0])


@pytest.mark.slow
def test_a_student_that_crashed_goes_on_bit_for_bit_and_needs_no_teacher_afterwards(
    tmp_path: Path, teacher: Path
) -> None:
    words = ["trainer.checkpoint_every=1", "trainer.max_samples=2"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    trained(whole, teacher, *words)[0].fit()
    fit_until(trained(broken, teacher, *words)[0], 4)
    moved = tmp_path / "moved"
    shutil.move(teacher, moved)  # the same weights elsewhere
    resumed, _ = trained(broken, moved, *words)
    resumed.fit()
    found = weights(broken)
    assert_same(weights(whole), found)
    assert not any(name.startswith("teacher") for name in found)
    assert found["projections.image.weight"].shape == (8, 4, 1, 1)

    shutil.rmtree(moved)
    import yaml

    from trainer.config.resolve import plain
    from vid2vid.loading import load_folder

    (broken / "config.yaml").write_text(yaml.safe_dump(plain(resumed.config)))
    run, _ = load_folder(broken)
    assert torch.equal(run.generator.scale(0).hallucination.head.conv.weight, found_ema(broken))


def found_ema(folder: Path) -> Tensor:
    ema, _ = load_weights(sorted((folder / "checkpoints").glob("step-*"))[-1])
    return ema["generator.scale0.hallucination.head.conv.weight"]


def test_a_run_that_goes_on_keeps_its_teacher(tmp_path: Path, teacher: Path) -> None:
    _, task = trained(tmp_path / "a", teacher)
    state = task.state_dict()
    task.load_state_dict(state)
    make_run(teacher, configured("model.ngf=8"), step=9)
    later = build_teacher(task.config)
    assert later is not None
    later.check_same({}, "runs/X")  # a run that had none
    with pytest.raises(CheckpointError, match=r"other weights \(step 9\) than .* \(step 7\): give a checkpoint"):
        later.check_same(state["teacher"], "runs/X")
    task.config.model.teacher = str(teacher / "checkpoints" / "step-00000007")
    again = build_teacher(task.config)
    assert again is not None
    again.check_same(state["teacher"], "runs/X")


MISFITS = [
    (["model.label_ids=[7,8]"], "set model.label_ids=[7,8,11,21,23,24,26] model.instance_edges=true"),
    (["data.ignore_label=[255,23]"], "data.ignore_label=255, this run [255,23]: class 23 is seen by one of them only"),
    (["model.past_frames=1"], "has model.past_frames=2, this model 1: set 2 too"),
    (["resolution=[16,32]"], "makes frames of 32x64, stage all those of 16x32: set resolution=[32,64]"),
    (["model.first_frame=zeros"], "has model.first_frame=model, this model zeros: set model too"),
]


@pytest.mark.parametrize(("words", "message"), MISFITS)
def test_a_teacher_that_does_not_fit_is_refused_with_a_remedy(
    tmp_path: Path, teacher: Path, words: list[str], message: str
) -> None:
    config = configured(f"model.teacher={teacher}", *words, stages=dict(STAGES))
    with pytest.raises(ConfigError) as caught:
        build_teacher(config)
    assert message in str(caught.value)


def test_every_stage_makes_frames_of_the_teachers_size(teacher: Path) -> None:
    stages = {"small": Vid2VidStage(downscale=2), "all": Vid2VidStage(start=0.5)}
    with pytest.raises(ConfigError, match=r"makes frames of 32x64, stage small those of 16x32: set"):
        build_teacher(configured(f"model.teacher={teacher}", stages=stages))


def test_pictures_are_drawn_as_for_the_teacher(tmp_path: Path) -> None:
    """As many channels in another order are another condition."""
    words = ["model.source=image", "model.instance_edges=false", "model.foreground=off", "data=folders"]
    sources = ["data.sources=[image:a,edges]", "data.sources=[edges,image:b]", "data.sources=[image:b,edges]"]
    first, turned, moved = (configured(*words, each, f"data.root={tmp_path}") for each in sources)
    make_run(tmp_path / "teacher", first)
    for config in (turned, moved):
        config.model.teacher = str(tmp_path / "teacher")
    assert build_teacher(moved) is not None  # the folder may have another name
    with pytest.raises(ConfigError, match=r"sees data\.sources=\[image:a,edges\], this model \[edges,image:b\]: give"):
        build_teacher(turned)


def test_a_teacher_that_was_trained_with_checkpointing_tells_its_features(tmp_path: Path, teacher: Path) -> None:
    make_run(tmp_path / "saving", configured("model.ngf=8", "model.checkpointing=true"))
    trainer, task = trained(tmp_path / "a", tmp_path / "saving")
    batch, ctx = one_batch(trainer)
    for segment in task.segments(batch, ctx):
        taught = task.passes.teach(segment, ctx)
        assert all(image.shape[1] == 8 for image, _ in taught.features)
        assert "teacher_features" in task.losses("g", segment, ctx)


def test_what_is_no_teacher_is_told(tmp_path: Path) -> None:
    (problem,) = problems(configured(f"model.teacher={tmp_path / 'none'}"))
    assert "model.teacher" in problem
    config = configured()
    config.model.teacher = str(tmp_path)
    with pytest.raises(CheckpointError, match=r"^model\.teacher="):
        build_teacher(config)
    (tmp_path / "file").write_text("x")
    (problem,) = problems(configured(f"model.teacher={tmp_path}", "model.checkpointing=true"))
    assert "drops the features that model.lambda_teacher_features=1 compares" in problem


def test_without_features_there_is_nothing_to_project(tmp_path: Path, teacher: Path) -> None:
    trainer, task = trained(tmp_path / "a", teacher, "model.lambda_teacher_features=0")
    assert "projections" not in task.networks()
    batch, ctx = one_batch(trainer)
    losses = task.losses("g", next(task.segments(batch, ctx)), ctx)
    assert {name for name in losses if name.startswith("teacher")} == LOSSES - {"teacher_features"}


def test_a_teacher_may_move_the_rest_of_the_model_stays(tmp_path: Path, teacher: Path) -> None:
    import yaml

    from trainer.config.resolve import check_resume, plain

    config = configured(f"model.teacher={teacher}")
    (tmp_path / "run" / "checkpoints" / "latest").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    config.model.teacher = "elsewhere"
    assert check_resume(config, tmp_path / "run") == [f"model.teacher: {teacher} -> elsewhere"]
    config.model.lambda_teacher = 1.0
    with pytest.raises(CheckpointError, match=r"another model:\n  - model\.lambda_teacher: 10\.0 -> 1\.0\n"):
        check_resume(config, tmp_path / "run")
