"""Every vid2vid preset on a pretended CUDA device, at its full size: all losses, evaluation, generation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.fake_cuda import (
    CUDA,
    PLANTED,
    CudaFault,
    HostWait,
    PretendedGenerator,
    WrongDtype,
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
from trainer.device.compute import Compute
from trainer.device.precision import PrecisionPolicy
from trainer.schedule import curriculum
from trainer.task import Segment, Stage, StepContext
from vid2vid.config import FirstFrame, Region, Vid2VidConfig
from vid2vid.data.sources.kinds import picture_channels, wants_labels
from vid2vid.evaluate import metrics
from vid2vid.evaluate.measure import evaluate_clips
from vid2vid.generate.clip import generate_clip
from vid2vid.generate.rollout import Rollout
from vid2vid.losses import terms as losses
from vid2vid.losses.perceptual import Perceptual
from vid2vid.model import GeneratorOutput
from vid2vid.model.regions import cut_out, places
from vid2vid.model.subnets import FlowMask
from vid2vid.task import Vid2VidTask

MODELS = [f"model={p.stem}" for p in sorted((CONFIGS / "model").glob("*.yaml")) if p.stem.startswith(("vid", "pix"))]
EXPERIMENTS = [
    f"experiment=vid2vid/{path.stem}"
    for path in sorted((CONFIGS / "experiment" / "vid2vid").glob("*.yaml"))
    if "\nmodel:" in (text := path.read_text())  # it changes the networks or their losses
    and "/model: label_predictor" not in text  # tests/vid2vid/future
]

# Where the host waits in a run's first step, and why.
ONCE = {
    "vid2vid/encoding.py:_lookup": 0,  # the tables of label ids move to the device
    "vid2vid/encoding.py:_check": 0,  # ids without a channel are named, in the first batch only
}
# Evaluation: seconds are measured on the host, and whether a clip counts decides what is measured.
MEASURE = "vid2vid/evaluate/measure.py"
PER_BATCH = {"trainer/device/clock.py:synchronize": 0, f"{MEASURE}:evaluate_clips": 0, f"{MEASURE}:weights_of": 1.0}


def made(*words: str) -> Vid2VidTask:
    """A task whose networks have shapes only; the perceptual network is there where its loss is on."""
    config = compose(list(words), SCHEMAS)
    assert isinstance(config, Vid2VidConfig)
    for row in config.curriculum.stages.values():
        row.segment_frames = min(row.segment_frames, 3)  # the third frame is made as the second one is
    with torch.device("meta"):
        task = Vid2VidTask(config)
        if config.model.lambda_perceptual > 0:
            task.nets.perceptual = Perceptual()
    return task


def stages(task: Vid2VidTask) -> tuple[Stage, ...]:
    return curriculum.resolve(task.config, 1, task.segments_per_batch).stages


def context(stage: Stage, precision: Precision = Precision.bf16) -> tuple[StepContext, list[str]]:
    """A step's context, and the names of what is logged in it."""
    logged: list[str] = []
    policy = PrecisionPolicy(precision, CUDA, ())
    return StepContext(
        0, 0, stage, 0.0, CUDA, policy.amp, PretendedGenerator(), log=lambda name, value: logged.append(name)
    ), logged


def clips(task: Vid2VidTask, stage: Stage, frames: int, count: int = 1, instances: bool = False) -> dict[str, Tensor]:
    """As the prefetcher hands them over: bytes, ids and half-precision flow, on the device."""
    shape = (count, frames)
    height, width = stage.resolution

    def empty(channels: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty((*shape, *channels, height, width), dtype=dtype, device=CUDA)

    batch = {"images": empty((3,), torch.uint8), "weight": torch.empty(count, device=CUDA)}
    if wants_labels(task.config.model):
        batch["labels"] = empty((), torch.int16)
        if instances:
            batch["instances"] = empty((), torch.int32)
    if channels := picture_channels(task.config.model, task.config.data):
        batch["source"] = empty((channels,), torch.uint8)
    boxes = sum(places(kind, task.config.model) for kind in task.config.model.regions if kind is not Region.labels)
    if boxes:
        batch["regions"] = torch.empty((*shape, boxes, 4), device=CUDA)
    batch["flow"], batch["confidence"] = empty((2,), torch.float16), empty((1,), torch.uint8)
    return batch


def step(task: Vid2VidTask, segment: Segment, ctx: StepContext) -> None:
    """All phases' losses of a segment."""
    for phase in task.phases(ctx.stage):
        losses = task.losses(phase.name, segment, ctx)
        check_losses(losses)
    check_output(task.passes.generate(segment, ctx))


def check_output(out: GeneratorOutput) -> None:
    for name in ("frames", "hallucination", "flow", "mask"):
        check_dtype(name, getattr(out, name))
    for past in out.past:
        check_dtype("the past", past)


def train(task: Vid2VidTask, stage: Stage, segments: int, precisions: tuple[Precision, ...]) -> None:
    """The first segment ever may wait at ``ONCE``, the ones after it nowhere."""
    for precision in precisions:
        ctx, logged = context(stage, precision)
        batch = clips(task, stage, task.passes.context + stage.frames)
        parts = task.segments(batch, ctx)
        for _ in range(segments):
            with watched({} if task.nets.encoder._tables else ONCE):
                segment = next(parts, None)
                if segment is not None:
                    step(task, segment, ctx)
        assert "l1_pixels" in logged


@pytest.mark.parametrize(
    "preset",
    [name if name.endswith(("vid2vid", "tiny")) else pytest.param(name, marks=pytest.mark.slow) for name in MODELS],
)
def test_every_preset(preset: str) -> None:
    task = made(preset)
    last = stages(task)[-1]
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        for stage in {stage.config.scales: stage for stage in stages(task)}.values():  # one of each size
            train(task, stage, 2 if stage is last else 1, (Precision.bf16,))
        train(task, last, 1, (Precision.fp16, Precision.fp32))
        if preset != "model=pix2pixhd":  # whose generator is the others' with less
            evaluate(task, last)


@pytest.mark.parametrize(
    "experiment",
    [name if name.endswith(("demo", "styles")) else pytest.param(name, marks=pytest.mark.slow) for name in EXPERIMENTS],
)
def test_every_experiment(experiment: str) -> None:
    task = made(experiment)
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        train(task, stages(task)[-1], 1, (Precision.bf16,))


def test_regions_of_every_frame_are_cut_out_without_a_wait() -> None:
    words = ["model.regions=[face,labels]", "model.region_labels=[24,26]", "model.diff_augment=[colour,shift,cutout]"]
    task = made("model=vid2vid_tiny", *words)
    stage = stages(task)[-1]
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        ctx, _ = context(stage)
        batch = clips(task, stage, stage.frames, instances=True)
        with watched(ONCE):
            segment = next(task.segments(batch, ctx))
            step(task, segment, ctx)
            assert {phase.name for phase in task.phases(stage)} == {"g", "d_image", "d_video", "d_region"}


def test_regions_are_cut_out_by_the_kernel_in_deterministic_runs_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's other form takes the memory of a frame for every pixel of a cut-out, and is compiled first."""
    module = importlib.import_module("torchvision.ops.roi_align")
    monkeypatch.setattr(module, "is_compile_supported", lambda kind: True)
    monkeypatch.setattr(module, "_roi_align", None)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with fake_cuda():
            found = cut_out(torch.empty((1, 2, 3, 64, 64), device=CUDA), torch.empty((1, 2, 2, 4), device=CUDA))
            assert found.shape == (4, 3, 16, 16)
    finally:
        torch.use_deterministic_algorithms(False)


def evaluate(task: Vid2VidTask, stage: Stage, first: FirstFrame = FirstFrame.model) -> dict[str, Any]:
    """A batch of clips is measured; nothing but reading the clock and the sums waits."""
    ctx, _ = context(stage)
    scales = stage.config.scales
    with watched(PER_BATCH, double=True) as watch:
        found = evaluate_clips(
            task.nets.generator, task.nets.encoder, [clips(task, stage, 2)],
            compute=Compute(CUDA, ctx.amp), first_frame=first, scales=scales,
        )  # fmt: skip
    assert watch.waits["trainer/device/clock.py:synchronize"] <= 2
    with watched():
        made = generate_clip(task.nets.generator, task.nets.encoder, clips(task, stage, 2), amp=ctx.amp, scales=scales)
    for name, value in made.items():
        check_dtype(f"generated {name}", value)
    return found


VARIANTS = {
    "longest windows": ["curriculum.stages.all.frames=12", "model.temporal_scales=2"],
    "real first frame": ["model.first_frame=real"],
    "image first": ["model.first_frame=image"],
    "zeros first": ["model.first_frame=zeros", "model.backprop_frames=3"],
    "pictures": ["model.source=image", "model.foreground=off", "model.checkpointing=true"],
    "windows of frames": ["model.video_discriminator_input=frames", "data.flow=none", "model.flow=false"],
    "own flow": ["model.video_discriminator_input=flow", "model.r1_gamma=1"],
    "hinge": ["model.gan=hinge", "model.lambda_l1=10", "model.lambda_mask=1"],
    "segmenting": ["model.image_discriminator=segmenting", "model.segmenting_gamma=1"],
    "saturating": ["model.gan=non_saturating", "model.image_discriminator=false", "model.norm=none"],
}


@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS)
def test_every_variant(words: list[str]) -> None:
    task = made("model=vid2vid_tiny", *words)
    (stage,) = stages(task)
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        train(task, stage, 4 if words[0].endswith("frames=12") else 2, (Precision.bf16,))
        if task.config.model.first_frame is not FirstFrame.real:
            evaluate(task, stage, task.config.model.first_frame)


def test_pooling_over_instances_waits_for_nothing() -> None:
    task = made("model=vid2vid_tiny", "model.style_channels=3")
    (stage,) = stages(task)
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        ctx, _ = context(stage, Precision.bf16)
        parts = task.segments(clips(task, stage, stage.frames, count=2, instances=True), ctx)
        for once in (ONCE, {}):
            with watched(once):
                step(task, next(parts), ctx)


def test_instances_and_a_missing_flow() -> None:
    task = made("model=vid2vid_tiny")
    (stage,) = stages(task)
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        ctx, _ = context(stage)
        batch = clips(task, stage, stage.frames, instances=True)
        del batch["flow"], batch["confidence"]
        with watched(ONCE):
            for segment in task.segments(batch, ctx):
                step(task, segment, ctx)


@pytest.mark.parametrize("first", [FirstFrame.model, FirstFrame.real, FirstFrame.image, FirstFrame.zeros])
def test_frame_by_frame(first: FirstFrame) -> None:
    """Labels come from the host; the generated frame stays on the device."""
    task = made("model=vid2vid", "resolution=[1024,2048]")
    stage = stages(task)[-1]
    height, width = stage.resolution
    with fake_cuda():
        to_fake(task.networks())
        ctx, _ = context(stage)
        image = torch.empty(3, height, width, dtype=torch.uint8)
        frame = {"labels": torch.empty(height, width, dtype=torch.int16), "image": image}
        rollout = Rollout(
            task.nets.generator, task.nets.encoder, Compute(CUDA, ctx.amp), first, image.to(CUDA, non_blocking=True)
        )
        with watched(ONCE):
            rollout.step(frame)
        with watched():
            for _ in range(2):
                made_frame, extras = rollout.step(frame)
        check_dtype("the frame", made_frame, torch.uint8)
        for name, value in extras.items():
            check_dtype(name, value)


def test_batches_are_those_of_the_data() -> None:
    """What is pretended here has the names, types and shapes that the data set really gives."""
    task = made("model=vid2vid_tiny")
    (stage,) = stages(task)
    dataset = task.dataset("train", stage)
    real = collate([dataset.sample(0, np.random.default_rng(0))])
    with fake_cuda():
        pretended = clips(task, stage, stage.frames, instances=True)
    del pretended["weight"]  # of evaluation
    tensors = {name: value for name, value in real.items() if isinstance(value, Tensor)}
    assert {name: (x.dtype, x.shape) for name, x in tensors.items()} == {
        name: (x.dtype, x.shape) for name, x in pretended.items()
    }


def _planted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, changed: Any, steps: int = 1) -> None:
    """Steps of the smallest model in which a function is another one."""
    task = made("model=vid2vid_tiny")
    (stage,) = stages(task)
    monkeypatch.setattr(module, name, changed)
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        train(task, stage, steps, (Precision.bf16,))


@pytest.mark.parametrize(("planted", "fault"), PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("loss", ["output_warp"])
def test_faults_planted_into_a_loss_are_found(
    monkeypatch: pytest.MonkeyPatch, loss: str, planted: Callable[[Tensor], Tensor], fault: type[CudaFault]
) -> None:
    original = getattr(losses, loss)
    with pytest.raises(fault):
        _planted(monkeypatch, losses, loss, lambda *args: planted(original(*args)))


def test_a_flow_in_half_precision_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = FlowMask.forward

    def half(self: FlowMask, x: Tensor) -> tuple[Tensor, ...]:
        flow, *others = original(self, x)
        return flow.half(), *others

    with pytest.raises(WrongDtype, match="flow"):
        _planted(monkeypatch, FlowMask, "forward", half, steps=2)  # in a first step another frame is in fp32


def test_an_index_of_the_host_in_evaluation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In inference mode, where torch hands operations over whole."""
    original = metrics.l1
    monkeypatch.setitem(metrics.OF_FRAMES, "l1", lambda a, b: original(a[torch.arange(len(a))], b))
    task = made("model=vid2vid_tiny")
    (stage,) = stages(task)
    with fake_cuda():
        to_fake(task.networks() | task.frozen())
        train(task, stage, 1, (Precision.bf16,))
        with pytest.raises(HostWait, match="an index"):
            evaluate(task, stage)
