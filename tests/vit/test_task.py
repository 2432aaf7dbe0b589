"""The ViT task in the trainer: the interface's promises, what a step sees, what evaluation counts, bad input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.made_classifier import FixedPictures, mu_config, mu_trainer, task_of
from trainer.checkpoint.trained import load_weights
from trainer.checkpoint.weights import network_tensors
from trainer.errors import ConfigError, DataError
from trainer.loop import Trainer
from trainer.task import Segment, StepContext
from vit.config import VitConfig, VitStage
from vit.data.checked_samples import CheckedSamples
from vit.task import VitTask

PLAIN = ("augment.flip=0", "augment.crop=resize")  # nothing random


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network_tensors(trainer.networks).items()}


def one_batch(trainer: Trainer) -> tuple[dict[str, Any], StepContext]:
    with trainer.session():
        trainer.enter(trainer.curriculum.stages[0])
        return trainer.next_batch(), trainer.context()


def use(task: VitTask, train: Any, val: Any | None = None) -> None:
    """Other data than the configured ones."""
    task.dataset = lambda split, stage: CheckedSamples(  # type: ignore[method-assign]
        train if split == "train" or val is None else val, task.classes
    )


# The interface's promises


def test_a_step_touches_the_network_once_per_batch(tmp_path: Path) -> None:
    words = ("trainer.max_steps=3", "curriculum.stages.all.accumulate=2", "trainer.eval_every=0", "schedule.warmup=0")
    trainer = mu_trainer(tmp_path, *words)
    task, seen = task_of(trainer), []
    original = task.losses

    def observed(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        seen.append(weights(trainer))
        losses = original(phase, segment, ctx)
        assert list(losses) == ["class"]
        assert all(value.shape == () and bool(torch.isfinite(value)) for value in losses.values())
        return losses

    task.losses = observed  # type: ignore[method-assign]
    trainer.fit()
    assert all(p.grad is None for p in task.model.parameters())
    moved = [any(not torch.equal(a[n], b[n]) for n in a) for a, b in itertools.pairwise([*seen, weights(trainer)])]
    assert moved == [False, True] * 3


def test_accumulation_equals_one_big_batch(tmp_path: Path) -> None:
    def doubled(config: VitConfig) -> VitTask:
        task = VitTask(config)
        task.model.double()
        task.prepare = lambda images: images.double() / 127.5 - 1  # type: ignore[method-assign]
        return task

    runs = []
    for k in (1, 4):
        words = ("trainer.max_steps=3", "trainer.ema=null", "trainer.eval_every=0", "schedule.warmup=0")
        config = mu_config(f"curriculum.stages.all.accumulate={k}", "optim.main.kind=sgd", "optim.main.lr=0.1", *words)
        trainer = Trainer(config, lambda config=config: doubled(config), tmp_path / str(k))
        trainer.fit()
        runs.append(weights(trainer))
    for key in runs[0]:
        torch.testing.assert_close(runs[0][key], runs[1][key], rtol=1e-5, atol=1e-7)  # losses are fp32


def test_the_builder_is_seeded(tmp_path: Path) -> None:
    first, again, other = (weights(mu_trainer(tmp_path, f"seed={seed}")) for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_every_parameter_has_a_depth_and_tokens_are_not_decayed(tmp_path: Path) -> None:
    """Decayed are all parameters of two and more dimensions but tokens and positions."""
    words = ("model.registers=2", "model.distilled=true", "model.depth=3", "model.layer_scale=0.1")
    trainer = mu_trainer(tmp_path, *words)
    task, named = task_of(trainer), trainer.parameters["main"]
    layers, undecayed = task.layers("main"), task.undecayed("main")
    assert layers.keys() == named.keys() and set(layers.values()) == set(range(5))
    assert layers["model.blocks.0.attn.qkv.weight"] == 1 and layers["model.head.weight"] == 4
    assert undecayed == {f"model.{name}" for name in ("cls_token", "dist_token", "reg_token", "pos_embed")}
    decayed = {name for name, p in named.items() if p.ndim >= 2} - undecayed
    expected = {n for n in named if n.endswith(".weight") and "norm" not in n}
    assert decayed == expected
    optimizer = trainer.optimizers["main"]
    shapes = [
        sorted(tuple(p.shape) for g in optimizer.param_groups if bool(g["weight_decay"]) is decays for p in g["params"])
        for decays in (True, False)
    ]
    assert shapes[0] == sorted(tuple(named[n].shape) for n in decayed)


def test_averages_that_forget_at_once_are_the_weights(tmp_path: Path) -> None:
    trainer = mu_trainer(
        tmp_path, "trainer.max_steps=4", "trainer.ema=0", "trainer.eval_samples=4", "optim.main.lr=0.01"
    )
    trainer.fit()
    found, meta = load_weights(tmp_path)
    own = weights(trainer)
    assert own.keys() == found.keys() and all(torch.equal(own[name], found[name]) for name in own)
    assert not all(torch.equal(own[n], v) for n, v in weights(mu_trainer(tmp_path / "fresh")).items())
    assert meta["task"]["mean"] == [0.5] * 3 and meta["task"]["classes"] == task_of(trainer).classes
    assert meta["task"]["interpolation"] == "bilinear" and meta["task"]["architecture"]["width"] == 32


# What a step sees


@pytest.mark.parametrize("kind", ["softmax", "sigmoid", "bce"])
def test_the_first_loss_is_that_of_knowing_nothing(tmp_path: Path, kind: str) -> None:
    """The head is zero and its bias right."""
    trainer = mu_trainer(tmp_path, f"loss.kind={kind}")
    task = task_of(trainer)
    batch, ctx = one_batch(trainer)
    (segment,) = task.segments(batch, ctx)
    loss, k = task.losses("main", segment, ctx)["class"].item(), len(task.classes)
    summed = math.log1p(k) + (k - 1) * math.log1p(1 / k)
    assert loss == pytest.approx({"softmax": math.log(k), "sigmoid": summed, "bce": summed / k}[kind], rel=1e-6)


def test_pictures_are_mixed_on_the_device_by_the_steps_own_generator(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, "augment.mixup=0.8", "augment.cutmix=1.0", "augment.erasing=0.5")
    task = task_of(trainer)
    batch, ctx = one_batch(trainer)
    assert batch["image"].dtype == torch.uint8
    found = []
    for seed in (1, 1, 2):
        ctx.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed + 7 * len(found))  # of no influence
        (segment,) = task.segments(batch, ctx)
        found.append(segment)
    first, again, other = found
    assert torch.equal(first["images"], again["images"]) and torch.equal(first["targets"], again["targets"])
    assert not torch.equal(first["images"], other["images"])
    torch.testing.assert_close(first["targets"].sum(1), torch.ones(8))
    assert ((first["targets"] > 0).sum(1) > 1).any()
    plain = task.prepare(batch["image"])
    assert not torch.equal(plain, first["images"]) and plain.min() >= -1 and plain.max() <= 1


def test_both_heads_of_a_distilled_network_learn_the_labels_without_a_teacher(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, "model.distilled=true")
    task = task_of(trainer)
    batch, ctx = one_batch(trainer)
    (segment,) = task.segments(batch, ctx)
    task.losses("main", segment, ctx)["class"].backward()
    for head in (task.model.head, task.model.head_dist):
        assert head.weight.grad.abs().sum() > 0


def test_sixteen_pictures_are_learnt_by_heart(tmp_path: Path) -> None:
    words = ("model.width=64", "model.depth=2", "trainer.max_steps=100", "optim.main.lr=0.003", "schedule.warmup=0.05")
    words += ("curriculum.stages.all.batch_size=16", "trainer.ema=null", *PLAIN)
    trainer = mu_trainer(tmp_path, *words)
    pictures = FixedPictures([i % 10 for i in range(16)])
    use(task_of(trainer), pictures)
    metrics = trainer.fit()
    assert metrics["top1"] > 0.95 and metrics["loss"] < 0.5


def test_resolutions_of_a_curriculum_share_their_weights(tmp_path: Path) -> None:
    words = ("curriculum.stages.all.downscale=2", "trainer.max_samples=32")
    config = mu_config("trainer.eval_samples=8", *words)
    config.curriculum.stages["fine"] = VitStage(start=0.5, batch_size=8)
    trainer = Trainer(config, lambda: VitTask(config), tmp_path)
    task, sizes = task_of(trainer), []
    original = task.losses

    def observed(phase: str, segment: Segment, ctx: StepContext) -> dict[str, Tensor]:
        sizes.append(tuple(segment["images"].shape[-2:]))
        return original(phase, segment, ctx)

    task.losses = observed  # type: ignore[method-assign]
    trainer.fit()
    assert sizes == [(8, 8)] * 2 + [(16, 16)] * 2


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timms_models_train_with_the_same_code(tmp_path: Path, name: str) -> None:
    words = (f"model.name={name}", "trainer.max_steps=2", "trainer.eval_samples=8", "resolution=[32,32]")
    trainer = mu_trainer(tmp_path, *words, "optim.main.lr=0.01", model="timm")
    before = weights(trainer)
    metrics = trainer.fit()
    assert {"top1", "nll", "ece"} <= metrics.keys()
    after = weights(trainer)
    assert any(not torch.equal(before[key], after[key]) for key in before)
    task = task_of(trainer)
    assert task.layers("main").keys() == trainer.parameters["main"].keys()
    assert task.tables(trainer.curriculum.stages[0]) == [] and task.meta()["architecture"] == name


# What is told


def test_what_a_run_tells_of_itself(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, "optim.main.lr=0.05", "optim.main.kind=adamw")
    task, stage = task_of(trainer), trainer.curriculum.stages[0]
    lines = "\n".join(task.notes())
    assert "classes (10): circle" in lines
    assert "only 16 patches" in lines and "optim.main.lr=0.05 with adamw" in lines
    assert "warning" not in "\n".join(task_of(mu_trainer(tmp_path, "resolution=[32,32]")).notes())
    note = task.evaluation_note(stage)
    assert "16x16" in note and "mean 0.5,0.5,0.5" in note and "EMA" in note
    ((title, rows),) = task.tables(stage)
    assert "flow" in title and len({len(row) for row in rows}) == 1
    assert task.shard_blocks() == list(task.model.blocks) and task.frames_per_sample(stage) == 1


# Bad input


@pytest.mark.parametrize(
    "sample, message",
    [
        ({"label": 10}, r"sample 'picture 3': label 10 is outside 0\.\.9"),
        ({"label": -1}, r"label -1 is outside"),
        ({"label": torch.tensor([1.0, 0.0])}, "10 numbers in 0..1"),
        ({"label": torch.full((10,), torch.nan)}, "10 numbers in 0..1"),
        ({"image": torch.full((3, 16, 16), torch.nan)}, "picture 3': pixels are NaN"),
    ],
)
def test_bad_samples_are_named(sample: dict[str, Any], message: str) -> None:
    data = FixedPictures([0] * 8)
    original = data.sample
    data.sample = lambda i, rng: {**original(i, rng), **(sample if i == 3 else {})}  # type: ignore[method-assign]
    checked = CheckedSamples(data, [str(k) for k in range(10)])
    assert checked.sample(2, np.random.default_rng(0))["label"] == 0
    with pytest.raises(DataError, match=message):
        checked.sample(3, np.random.default_rng(0))


def test_a_bad_label_ends_a_run_with_its_name(tmp_path: Path) -> None:
    trainer = mu_trainer(tmp_path, "trainer.max_steps=2")
    use(task_of(trainer), FixedPictures([0, 1, 10] * 3))
    with pytest.raises(DataError, match=r"sample 'picture \d': label 10 is outside"):
        trainer.fit()


def test_a_fair_choice_of_validation_pictures(tmp_path: Path) -> None:
    """Shapes repeat in the order of classes: evenly spaced ones would miss half of them."""
    task = VitTask(mu_config("trainer.eval_samples=20", "data.shapes_val_samples=40"))
    stage = mu_trainer(tmp_path).curriculum.stages[0]
    data = task.dataset("val", stage)
    order = [data.sample(i, np.random.default_rng(0))["name"] for i in range(40)]
    assert len(set(order)) == 40 and order != sorted(order)
    labels = {data.sample(2 * i, np.random.default_rng(0))["label"] for i in range(20)}
    assert len(labels) > 5


def test_a_head_of_other_classes_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.num_classes=7.*10 classes \(circle"):
        VitTask(mu_config("model.num_classes=7"))
    (tmp_path / "map.txt").write_text("0 circle\n1 square\n")
    with pytest.raises(ConfigError, match=r"head has 7 classes, the data have 10.*scripts/evaluate\.py"):
        VitTask(mu_config("model.num_classes=7", f"data.class_map={tmp_path / 'map.txt'}"))


@pytest.mark.slow
def test_the_command_line(tmp_path: Path, run_train: Callable[..., CompletedProcess[str]]) -> None:
    words = (
        "trainer.max_steps=2",
        "trainer.eval_every=null",
        "data.shapes_val_samples=16",
        "data.workers=0",
        "trainer.device=cpu",
        "name=x",
    )
    done = run_train("model=vit_mu", "data=shapes", *words)
    assert done.returncode == 0, done.stderr
    assert "evaluation at step 2: top1" in done.stdout
    samples = sorted(p.name for p in (tmp_path / "runs" / "x" / "samples").iterdir())
    assert samples == ["confusion-00000002.png", "predictions-00000002.png"]


@pytest.mark.gpu
def test_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    words = ("trainer.max_steps=6", "schedule.warmup=0", "optim.main.lr=0.003", "+loss.class_weight_values={star: 2}")
    found = []
    for device in ("cpu", "cuda"):
        trainer = mu_trainer(tmp_path / device, *words, f"trainer.device={device}", "trainer.tf32=false")
        found.append(trainer.fit())
    assert found[0].keys() == found[1].keys()
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], rel=1e-3)
