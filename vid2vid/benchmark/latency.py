"""Times videos as ``generate.py`` makes them, frame by frame: from the street's labels to bytes in an mp4.

A frame's parts are its condition (the street is drawn, labels and picture in one pass), the network (ids encoded, F,
bytes on the host) and the encoding. Weights are untrained: what a frame costs does not depend on them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from trainer.benchmark.machine import machine
from trainer.config.schema import Schemas
from trainer.device.clock import Clock
from trainer.device.compute import Compute, choose_compute
from trainer.device.used_memory import watch_peak
from trainer.records.video_writer import VideoWriter
from vid2vid.config import Vid2VidConfig
from vid2vid.data import open_source
from vid2vid.encoding import SourceEncoder
from vid2vid.generate.rollout import Rollout
from vid2vid.model import Generator

DEMO = ["experiment=vid2vid/demo"]
SETTINGS: Mapping[str, list[str]] = {
    "the demo's, 64x128": DEMO,
    "the demo's, 128x256": [*DEMO, "resolution=[128,256]"],
}
ON_CARD: Mapping[str, list[str]] = {  # there besides
    "the defaults, 512x1024": ["model=vid2vid", "resolution=[512,1024]"],
    "the design of 2018, 512x1024": ["model=vid2vid_2018", "resolution=[512,1024]"],
    "the paper's, 512x1024": ["model=vid2vid_paper", "curriculum=single", "model.scales=2", "resolution=[512,1024]"],
}
FRAMES = 48  # of a video
PARTS = ("condition", "network", "encoding")


@dataclass
class Latency:
    """Seconds of frames, by part.

    Attributes:
        parts: part -> of every frame but the first of each video.
        first: of the very first frame, when kernels are chosen, without its condition's and its file's beginning.
        closing: of each video, until it is complete.
        peak: GiB, resident on a CPU, else allocated; None where the system does not tell.
    """

    parts: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    first: float = 0.0
    closing: list[float] = field(default_factory=list)
    peak: float | None = None

    @property
    def whole(self) -> list[float]:
        """Of every frame, all parts."""
        return [sum(parts) for parts in zip(*self.parts.values(), strict=True)]


def generator_of(config: Vid2VidConfig, compute: Compute) -> tuple[Generator, SourceEncoder]:
    """An untrained generator on its device, and what makes its input."""
    torch.manual_seed(0)
    encoder = SourceEncoder(config.model, config.data)
    generator = Generator(config.model, encoder.generator_channels).eval().requires_grad_(False)
    return generator.to(compute.device), encoder


def measure(config: Vid2VidConfig, folder: Path, videos: int, frames: int = FRAMES) -> Latency:
    """Videos of the street, written into ``folder`` as 0.mp4, 1.mp4, ...

    Args:
        config: of a run on the street, whose device and precision it has.
        videos: how many.
        frames: of each, at least 2.
    """
    compute, found = choose_compute(config.trainer), Latency()
    with watch_peak(compute.device) as peak:
        generator, encoder = generator_of(config, compute)
        sequence = next(iter(open_source("street", config, frames)))
        height, width = config.resolution
        for number in range(videos):
            rollout = Rollout(generator, encoder, compute, config.model.first_frame)
            drawn = iter(sequence)
            with VideoWriter(folder / f"{number}.mp4", sequence.fps, (height, width)) as writer:
                for index in range(frames):
                    clock = Clock(compute.device)
                    frame = next(drawn)
                    clock.mark()
                    picture = rollout.step(frame)[0].permute(1, 2, 0).cpu()
                    clock.mark()
                    writer.write(picture)
                    clock.mark()
                    if index:
                        for part, seconds in zip(PARTS, clock.parts, strict=True):
                            found.parts[part].append(seconds)
                    elif number == 0:
                        found.first = clock.parts[PARTS.index("network")]
                begin = time.perf_counter()
            found.closing.append(time.perf_counter() - begin)
    found.peak = peak[0] if peak else None
    return found


def suite(
    schemas: Schemas,
    repeats: int = 5,
    command: str = "",
    settings: Mapping[str, Sequence[str]] | None = None,
    frames: int = FRAMES,
) -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=generate``, as they become known.

    Args:
        schemas: of all tasks.
        repeats: videos of each generator.
        command: what was typed.
        settings: words of a configuration by name; None: `SETTINGS`, on a card `ON_CARD` too.
        frames: of a video.
    """
    from trainer.cli import compose

    if settings is None:
        settings = {**SETTINGS, **(ON_CARD if torch.cuda.is_available() else {})}
    configs = {name: compose(list(words), schemas) for name, words in settings.items()}
    device = choose_compute(next(iter(configs.values())).trainer).device
    count = f"{repeats * (frames - 1)} frames of {repeats} videos, after the first of each"
    yield f"`{command}`: {machine(device, 'av')}; {count}."
    yield ""
    heads = ("generator", "first frame", "frame: median", "99 %", *(f"{part}: median, 99 %" for part in PARTS))
    yield "| " + " | ".join((*heads, "frames/s", "peak GiB")) + " |"
    yield "|" + "---|" * (len(heads) + 2)
    for name, config in configs.items():
        with TemporaryDirectory() as folder:
            found = measure(config, Path(folder), repeats, frames)
        whole = found.whole
        parts = [f"{_ms(statistics.median(x))}, {_ms(late(x))}" for x in found.parts.values()]
        rate = len(whole) / (sum(whole) + sum(found.closing))
        peak = "-" if found.peak is None else f"{found.peak:.2f}"
        cells = (name, _ms(found.first), _ms(statistics.median(whole)), _ms(late(whole)), *parts, f"{rate:.1f}", peak)
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "Times in ms. First frame: by the network, kernels not chosen yet. frames/s: all parts, and closing the file."


def late(seconds: Sequence[float]) -> float:
    """What 99 % of them do not exceed, linear between two."""
    return float(np.percentile(seconds, 99))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"
