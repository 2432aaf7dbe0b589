"""What kinds of layers cost: forward and backward passes of the demo's generator, one option changed at a time.

Weights are untrained and pictures random: what a pass costs does not depend on them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import ratios, spread, timed
from trainer.config.schema import Schemas
from trainer.device.compute import choose_compute
from vid2vid.config import Vid2VidConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.model import Generator

BASE = "2018's layers"
VARIANTS = {
    BASE: [],
    "upsample=nearest": ["model.upsample=nearest"],
    "downsample=antialiased": ["model.downsample=antialiased"],
    "block=grouped": ["model.block=grouped"],
    "block=grouped ngf=48": ["model.block=grouped", "model.ngf=48"],
    "block=depthwise": ["model.block=depthwise"],
    "block=depthwise ngf=48": ["model.block=depthwise", "model.ngf=48"],
    "downsamplings=3 ngf=24": ["model.downsamplings=3", "model.ngf=24"],
    "downsamplings=3 ngf=24 block=grouped": ["model.downsamplings=3", "model.ngf=24", "model.block=grouped"],
}
FRAMES = 3  # of a segment


def made_generator(config: Vid2VidConfig) -> tuple[Generator, Tensor, list[Tensor]]:
    """An untrained generator with one segment of ``FRAMES`` random label maps, (1, L+T, C, H, W), and its past."""
    torch.manual_seed(0)
    encoder = SourceEncoder(config.model, config.data)
    generator = Generator(config.model, encoder.generator_channels)
    height, width = config.resolution
    past = config.model.past_frames
    ids = torch.randint(encoder.generator_channels, (1, past + FRAMES, height // 8, width // 8))
    ids = ids.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    source = torch.nn.functional.one_hot(ids, encoder.generator_channels).movedim(-1, 2).float()
    return generator, source, generator.past_from_images(torch.rand(1, past, 3, height, width) * 2 - 1)


@torch.no_grad()
def products(config: Vid2VidConfig) -> int:
    """Multiplications and additions (MACs) of one frame at the configured resolution."""
    generator, source, past = made_generator(config)
    generator.by_hand = False  # absent classes count too
    with FlopCounterMode(display=False) as counter:
        generator(source[:, : config.model.past_frames + 1], past)
    return counter.get_total_flops() // 2


def passes(config: Vid2VidConfig) -> Callable[[], None]:
    """One segment forward and backward, in the configured precision."""
    generator, source, past = made_generator(config)
    compute = choose_compute(config.trainer)

    def run() -> None:
        with compute.amp():
            out = generator(source, past)
        (out.frames.square().mean() + out.hallucination.square().mean()).backward()
        generator.zero_grad(set_to_none=True)

    return run


def suite(
    schemas: Schemas, repeats: int = 5, command: str = "", variants: Sequence[str] = tuple(VARIANTS)
) -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=vid2vid_layers``: medians of rounds in turn.

    Args:
        schemas: of all tasks.
        repeats: measured rounds, after one that is not.
        command: what was typed.
        variants: of `VARIANTS`.
    """
    from trainer.cli import compose

    words = ["experiment=vid2vid/demo", "model=vid2vid_2018", "trainer.device=cpu"]
    configs = {name: compose([*words, *VARIANTS[name]], schemas) for name in variants}
    height, width = configs[variants[0]].resolution
    yield f"`{command}`: {machine(torch.device('cpu'))}; {repeats} rounds in turn, {FRAMES} frames of {height}x{width}."
    seconds = timed({name: passes(config) for name, config in configs.items()}, repeats)
    yield f"| generator | parameters | MACs of a frame | forward + backward | times {variants[0]} (range) |"
    yield "|---|---|---|---|---|"
    for name, config in configs.items():
        count = sum(p.numel() for p in made_generator(config)[0].parameters())
        yield (
            f"| {name} | {count / 1e6:.2f} M | {products(config) / 1e9:.2f} G "
            f"| {statistics.median(seconds[name]) * 1e3:.0f} ms "
            f"| {spread(ratios(seconds[name], seconds[variants[0]]))} |"
        )
