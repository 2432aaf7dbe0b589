"""Every ViT preset on a pretended CUDA device, at its full size: no host wait, no tensor on the CPU, no wrong type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.fake_cuda import (
    CUDA,
    PLANTED,
    CudaFault,
    PretendedGenerator,
    check_dtype,
    check_losses,
    fake_cuda,
    to_fake,
    watched,
)
from train import SCHEMAS
from trainer.cli import CONFIGS, compose
from trainer.config.fields import Precision
from trainer.data.collate import collate
from trainer.device.precision import PrecisionPolicy
from trainer.schedule import curriculum
from trainer.task import StepContext
from vit.config import Distill, DistillConfig, LossConfig, LossKind, VitConfig
from vit.data import describe
from vit.data.class_map import ClassMap, LabelLists
from vit.distill import Teacher
from vit.evaluate.plots import Gallery
from vit.losses import Criterion
from vit.task import VitTask

BATCH = 256
PRESETS = sorted(p.stem for p in (CONFIGS / "model").glob("*.yaml") if p.stem.startswith(("vit", "timm")))
# What moves to the device once in a run.
ONCE = {
    "vit/encoding.py:_scale_and_shift": 0,
    "vit/losses.py:__call__": 0,  # class weights
}


def made(*words: str) -> VitTask:
    """A task whose networks have shapes only."""
    config = compose(list(words), SCHEMAS)
    assert isinstance(config, VitConfig)
    with torch.device("meta"):
        task = VitTask(replace(config, loss=LossConfig(config.loss.kind)))  # class weights need numbers
    task.criterion = Criterion(config.loss, task.classes, describe(config).counts)
    return task


def context(task: VitTask, precision: Precision = Precision.bf16) -> tuple[StepContext, list[str]]:
    """A step's context, and the names of what is logged in it."""
    logged: list[str] = []
    stage = curriculum.resolve(task.config, 1, task.segments_per_batch).stages[-1]
    policy = PrecisionPolicy(precision, CUDA, ())
    ctx = StepContext(
        0, 0, stage, 0.0, CUDA, policy.amp, PretendedGenerator(), log=lambda name, value: logged.append(name)
    )
    return ctx, logged


def batch(task: VitTask, ctx: StepContext, count: int = BATCH) -> dict[str, Any]:
    """As the prefetcher hands it over: bytes and labels on the device."""
    height, width = ctx.stage.resolution
    images = torch.empty(count, task.built.in_channels, height, width, dtype=torch.uint8, device=CUDA)
    labels = torch.empty(count, dtype=torch.int64, device=CUDA)
    return {"image": images, "label": labels, "weight": torch.empty(count, device=CUDA)}


def place(task: VitTask) -> None:
    to_fake(task.networks() | task.frozen())
    if task.criterion.class_weights is not None:
        task.criterion.class_weights = torch.empty(len(task.classes))


def step(task: VitTask, ctx: StepContext, data: dict[str, Any]) -> None:
    """One step's losses."""
    for segment in task.segments(data, ctx):
        check_dtype("the network's input", segment["images"])
        check_dtype("the targets", segment["targets"])
        check_losses(task.losses("main", segment, ctx))


def train(task: VitTask, count: int = BATCH, others: tuple[Precision, ...] = (Precision.bf16,)) -> None:
    """The first step may wait where something moves to the device for good; later ones nowhere, in no precision."""
    ctx, logged = context(task)
    data = batch(task, ctx, count)
    with watched(ONCE):
        step(task, ctx, data)
    assert logged == ["top1"]
    for precision in others:
        ctx, _ = context(task, precision)
        with watched():
            step(task, ctx, data)


def evaluate(task: VitTask, judge: Any = None) -> None:
    """A batch is measured and looked at without a wait; needs ``train`` before it."""
    ctx, _ = context(task)
    task.model.eval()
    task.judge = judge
    names = [f"picture {i + 1}" for i in range(BATCH)]
    with watched(double=True):
        counted = task._measure([{**batch(task, ctx), "name": names}], ctx, Gallery(task.classes))
    check_dtype("metrics", counted._totals, torch.float64)


@pytest.mark.parametrize(
    "preset",
    [name if name in ("vit_b16", "vit_mu") else pytest.param(name, marks=pytest.mark.slow) for name in PRESETS],
)
def test_every_preset(preset: str) -> None:
    task = made(f"model={preset}", "augment.mixup=0.8", "augment.cutmix=1.0", "augment.erasing=0.25")
    with fake_cuda():
        place(task)
        train(task, BATCH, (Precision.fp16, Precision.fp32))
        if preset in ("timm", "vit_gigantic14"):
            evaluate(task)


SHALLOW = ("model=vit_b16", "model.depth=2")
PARTS = {
    "map": ["model.pool=map", "model.registers=2", "model.pos_embed=none"],
    "gap": ["model.pool=gap", "model.pool_first=true", "model.pos_embed=sincos2d", "model.probe_norm=true"],
    "dropped": ["model.drop_path=0.3", "model.patch_dropout=0.5", "model.dropout=0.1", "model.attention_dropout=0.1"],
    "scaled": ["model.layer_scale=1e-4", "model.qk_norm=rms", "model.representation=768", "model.gelu=tanh"],
    "distilled": ["model.distilled=true"],
    "explicit": ["model.attention=explicit", "model.qk_norm=layer", "model.checkpointing=true"],
    "resampled": ["curriculum.stages.all.resolution=[160,192]"],
    "cropped": ["curriculum.stages.all.resolution=[168,200]", "model.fit=crop"],
    "fixed, resampled": ["curriculum.stages.all.resolution=[160,192]", "model.pos_embed=sincos2d"],
    "resized": ["curriculum.stages.all.resolution=[168,200]", "model.fit=resize", "model.pos_interp=bilinear_jax"],
    "smoothed": ["loss.smoothing=0.1", "loss.class_weights=effective"],
    "weighted": ["loss.kind=focal", "+loss.class_weight_values={star: 2}"],
    "sigmoid": ["loss.kind=sigmoid", "augment.mixup=0.8"],
    "bce": ["loss.kind=bce", "augment.cutmix=1.0", "augment.mixup=0.8"],
}


@pytest.mark.parametrize("words", PARTS.values(), ids=PARTS)
def test_every_part(words: list[str]) -> None:
    task = made(*SHALLOW, *words)
    with fake_cuda():
        place(task)
        train(task, 16, ())
        evaluate(task)


@pytest.mark.parametrize("mode", [Distill.soft, Distill.hard])
def test_distillation(mode: Distill) -> None:
    task = made(*SHALLOW, "model.distilled=true")
    network = made("model=vit_s16", "model.depth=1").model
    task.config.distill = DistillConfig(mode, "given", temperature=3.0)
    task.teacher = Teacher(network.eval().requires_grad_(False), [0.4] * 3, [0.2] * 3, [0.5] * 3, [0.5] * 3, (192, 192))
    with fake_cuda():
        place(task)
        ctx, _ = context(task)
        with watched(ONCE):
            (segment,) = task.segments(batch(task, ctx), ctx)
            losses = task.losses("main", segment, ctx)
        check_losses(losses)
        assert set(losses) == {"class", "distill"} and losses["distill"].requires_grad


@pytest.mark.parametrize("kind", [LossKind.sigmoid, LossKind.focal])
def test_several_labels(kind: LossKind) -> None:
    task = made(*SHALLOW)
    task.info = replace(task.info, multilabel=True)
    task.criterion = Criterion(LossConfig(kind, class_weight_values={"star": 2.0}), task.classes, None, True)
    with fake_cuda():
        place(task)
        ctx, _ = context(task)
        data = {**batch(task, ctx), "label": torch.empty(BATCH, len(task.classes), device=CUDA)}
        with watched(ONCE):
            step(task, ctx, data)
        with watched():
            step(task, ctx, data)
        task.model.eval()
        with watched(double=True):
            task._measure([data, data], ctx, Gallery(task.classes))


@pytest.mark.parametrize("several", [False, True])
def test_other_classes_and_several_answers(several: bool) -> None:
    task = made(*SHALLOW)
    with fake_cuda():
        place(task)
        train(task, 16)
        count = len(task.classes)
        evaluate(task, LabelLists([[0, 1]] * BATCH) if several else ClassMap(torch.empty(count).long(), count))


def test_batches_are_those_of_the_data() -> None:
    """What is pretended here has the names, types and shapes that the data set really gives."""
    task = made(*SHALLOW)
    with fake_cuda():
        ctx, _ = context(task)
        pretended = batch(task, ctx, 1)
    dataset = task.dataset("train", ctx.stage)
    real = collate([dataset.sample(0, np.random.default_rng(0))])
    del pretended["weight"]  # of evaluation
    for name, tensor in pretended.items():
        assert (real[name].dtype, real[name].shape) == (tensor.dtype, tensor.shape), name


@pytest.mark.parametrize(("planted", "fault"), PLANTED.values(), ids=PLANTED)
def test_faults_planted_into_the_loss_are_found(planted: Callable[[Tensor], Tensor], fault: type[CudaFault]) -> None:
    task = made(*SHALLOW)
    criterion = task.criterion
    with fake_cuda():
        place(task)
        ctx, _ = context(task)
        data = batch(task, ctx, 8)
        with watched(ONCE):
            step(task, ctx, data)
        task.criterion = lambda *args: planted(criterion(*args))  # type: ignore[assignment]
        with watched(), pytest.raises(fault):
            step(task, ctx, data)


@pytest.mark.parametrize("name", ["item", "tensor", "one tensor on the cpu"])
def test_faults_planted_into_evaluation_are_found(name: str) -> None:
    planted, fault = PLANTED[name]
    task = made(*SHALLOW)
    criterion = task.criterion
    with fake_cuda():
        place(task)
        train(task, 8)
        task.criterion = lambda *args: planted(criterion(*args))  # type: ignore[assignment]
        task.criterion.independent = False  # type: ignore[attr-defined]
        with pytest.raises(fault):
            evaluate(task)
