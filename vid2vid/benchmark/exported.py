"""Times generation by an exported step in ONNX Runtime beside the same generator in torch, frame by frame.

Weights are untrained: what a frame costs does not depend on them. A frame is what `generate.py` makes of ids: encoded,
generated, as bytes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import ratios, spread, timed
from trainer.config.schema import Schemas
from trainer.device.compute import CPU, choose_compute
from trainer.export import Format
from vid2vid.config import Vid2VidConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.export.graph import export_step
from vid2vid.export.loop import first_inputs, made_condition
from vid2vid.export.step import KNOWN, NEXT, WARPED, Step
from vid2vid.generate.rollout import Rollout
from vid2vid.model import Generator

MODELS = {"`vid2vid_tiny`": ["model=vid2vid_tiny"], "the demo's": ["experiment=vid2vid/demo"]}
FRAMES = 20  # of a round
ENGINES = ("ONNX Runtime, fp32", "torch, fp32", "torch, generate.py's precision")


def engines(config: Vid2VidConfig, folder: Path, frames: int = FRAMES) -> dict[str, Callable[[], np.ndarray]]:
    """What is timed, by name: each call generates ``frames`` frames of one video and returns the last, (3, H, W) uint8.

    Args:
        folder: for the exported file.
    """
    import onnxruntime

    torch.manual_seed(0)
    encoder = SourceEncoder(config.model, config.data)
    generator = Generator(config.model, encoder.generator_channels).eval().requires_grad_(False)
    height, width = config.resolution
    export_step(generator, encoder, folder / "step.onnx", Format.onnx, size=(height, width))
    step = Step(generator, encoder)
    condition = made_condition(step, encoder, 1, frames, (height, width))
    given = {name: value.numpy() for name, value in condition.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(folder / "step.onnx"), options, providers=["CPUExecutionProvider"])

    def exported() -> np.ndarray:
        feed = {name: value.numpy() for name, value in first_inputs(step, condition).items()}
        frame = np.zeros(0)
        for number in range(frames):
            window = np.arange(number - step.past_frames, number + 1).clip(min=0)
            feed |= {name: value[:, window] for name, value in given.items()}
            made: dict[str, Any] = dict(zip(step.outputs, session.run(step.outputs, feed), strict=True))
            feed |= {name: made[NEXT + name] for name in step.pasts}
            feed |= {name: np.ones(1, bool) for name in (KNOWN, WARPED) if name in feed}
            frame = np.rint((made["frame"][0] + 1) * 127.5).clip(0, 255).astype(np.uint8)
        return frame

    def rollout(compute: Any) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            video = Rollout(generator, encoder, compute)
            frame: Tensor = torch.zeros(0)
            for number in range(frames):
                frame, _ = video.step({name: value[0, number] for name, value in condition.items()})
            return frame.numpy()

        return run

    return dict(zip(ENGINES, (exported, rollout(CPU), rollout(choose_compute(config.trainer))), strict=True))


def suite(
    schemas: Schemas,
    repeats: int = 5,
    command: str = "",
    models: Sequence[str] = tuple(MODELS),
    frames: int = FRAMES,
) -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=vid2vid_export``, as they become known: medians of rounds in turn.

    Args:
        schemas: of all tasks.
        repeats: measured rounds, after one that is not.
        command: what was typed.
        models: of `MODELS`.
        frames: of a round.
    """
    from trainer.cli import compose

    yield f"`{command}`: {machine(torch.device('cpu'), 'onnxruntime')}; {repeats} rounds of {frames} frames in turn."
    yield "| generator | engine | frames/s | times torch fp32, median (range) |"
    yield "|---|---|---|---|"
    for name in models:
        config = compose([*MODELS[name], "trainer.device=cpu"], schemas)
        height, width = config.resolution
        with TemporaryDirectory() as folder:
            seconds = timed(engines(config, Path(folder), frames), repeats)
        for engine, taken in seconds.items():
            rate, times = frames / statistics.median(taken), spread(ratios(seconds[ENGINES[1]], taken))
            yield f"| {name}, {height}x{width} | {engine} | {rate:.1f} | {times} |"
