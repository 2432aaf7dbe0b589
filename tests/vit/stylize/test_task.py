"""An auto-encoder as a task of the trainer: which level learns, how well it draws, and that it does."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.helpers.composed import problems_of
from train import SCHEMAS, build_task
from trainer.cli import compose
from trainer.config.resolve import plain
from trainer.loop import Trainer
from trainer.schedule import curriculum
from trainer.task import Segment, StepContext
from vit.data import build_dataset
from vit.stylize.config import StylizerConfig, as_vit
from vit.stylize.network import AutoEncoder
from vit.stylize.task import StylizerTask
from vit.stylize.trained import load_stylizer

SMALL = [
    "model=stylizer", "model.widths=[4,6]", "model.repeats=[1]", "resolution=16", "data.shapes_samples=64",
    "data.shapes_val_samples=6", "data.workers=0", "trainer.device=cpu", "trainer.precision=fp32",
]  # fmt: skip


@pytest.fixture
def task() -> StylizerTask:
    config = compose(SMALL, SCHEMAS)
    assert isinstance(config, StylizerConfig)
    torch.manual_seed(0)
    return StylizerTask(config)


def context(task: StylizerTask, step: int = 0) -> StepContext:
    (stage,) = curriculum.resolve(task.config, 1, task.segments_per_batch).stages
    return StepContext(step, 0, stage, 0.0, torch.device("cpu"), nullcontext, torch.Generator())


def trained_levels(task: StylizerTask, step: int) -> set[str]:
    (segment,) = task.segments({"image": torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)}, context(task))
    losses = task.losses("main", segment, context(task, step))
    assert set(losses) == {"pixel", "feature", "swap"}
    torch.stack(list(losses.values())).sum().backward()
    named = task.network.named_parameters()
    return {name.split("stages")[0] for name, value in named if value.grad is not None and value.grad.abs().sum() > 0}


def test_levels_learn_in_turn(task: StylizerTask) -> None:
    assert trained_levels(task, 0) == {"encoder.", "decoders.1."}
    task.network.zero_grad()
    assert trained_levels(task, 1) == {"encoder.", "decoders.2."}


def test_pixels_count_in_their_variance(task: StylizerTask) -> None:
    images = torch.rand(2, 3, 16, 16)
    loss = task.losses("main", Segment(images=images), context(task))["pixel"].item()
    drawn = task.network.decode(task.network.encode(images, 1), 1)
    assert loss == pytest.approx(((drawn - images).square().mean() / images.var()).item(), rel=1e-4)


def test_evaluation_is_the_mean_ratio_in_decibels_without_what_only_fills_up(task: StylizerTask) -> None:
    bytes_ = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    loader = [{"image": bytes_, "weight": torch.tensor([1.0, 1.0, 0.0])}]
    found = task.evaluate(loader, context(task))
    for level in (1, 2):
        images = bytes_[:2].float() / 255
        drawn = task.network.decode(task.network.encode(images, level), level).clamp(0, 1)
        errors = (drawn - images).square().mean(dim=(1, 2, 3)).detach().numpy()
        total, count = found[f"psnr_{level}"]
        assert total / count == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-4)
    assert found["psnr"][0] / 2 == pytest.approx((found["psnr_1"][0] / 2 + found["psnr_2"][0] / 2) / 2)


def test_pictures_show_every_level_and_a_style(task: StylizerTask) -> None:
    loader = [{"image": torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)}]
    found = task.visuals(loader, context(task))
    assert set(found) == {"decoded", "stylized"}
    assert all(picture.shape[1:] == (3 * 16, 3) and picture.shape[0] > 6 * 16 for picture in found.values())


def test_it_learns_and_its_run_is_found(tmp_path: Path) -> None:
    words = ["trainer.max_steps=40", "curriculum.stages.all.batch_size=8", "trainer.ema=null", "optim.main.lr=1e-2"]
    words += ["logger.tensorboard=false", "logger.curves=false", "trainer.micro_batch=null"]
    words += ["trainer.max_samples=null", "trainer.log_every=200", "trainer.visuals_every=0", "trainer.eval_every=0"]
    config = compose([*SMALL, *words], SCHEMAS)
    torch.manual_seed(config.seed)
    untrained = StylizerTask(config).network
    run = tmp_path / "runs" / "small"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    Trainer(config, lambda: build_task(config), run).fit()
    network, line = load_stylizer(run, SCHEMAS)
    images = torch.from_numpy(np.stack(held_out(config)))
    assert "step 40" in line and error_of(network, images) < 0.5 * error_of(untrained, images)


def error_of(network: AutoEncoder, images: torch.Tensor) -> float:
    with torch.no_grad():
        return (network.decode(network.encode(images, 2), 2) - images).square().mean().item()


def held_out(config: StylizerConfig) -> list[np.ndarray]:
    samples = build_dataset(as_vit(config), "val", (16, 16))
    return [samples.sample(index, np.random.default_rng(0))["image"].numpy() / np.float32(255) for index in range(6)]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "resolution=[30,32]",
            "resolution=[30,32] (stage all) with 3 levels (model.widths): sides must be multiples of 4",
        ),
        ("model.repeats=[1]", "model.repeats=[1]: a number from 1 on for each stage but the last, 2 here"),
        ("model.widths=[]", "model.widths=[]: channels of 1 to 5 stages"),
        ("model.lambda_pixel=0", "model.lambda_pixel=0: nothing would say"),
        ("data.channels=1", "data.channels=1: styles are of colours"),
        ("augment.mixup=0.2", "augment.mixup=0.2 makes no picture to be encoded: set it to 0"),
        ("data=imagefolder", "give data.root=PATH"),
    ],
)
def test_mistakes_are_named(word: str, said: str) -> None:
    assert any(said in line for line in problems_of(["model=stylizer", word]))
    assert problems_of(["model=stylizer"]) == []
