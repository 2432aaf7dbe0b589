"""Times one training window beside a loop that runs the same networks as the original does, in the same process.

The window is one step's of the released code, small enough for CPUs: T = 6 frames of 128x256, batch 1, ngf 32, ndf 32,
35 labels and an edge, one scale, no foreground, no perceptual network, reference flow given; losses of D_I (composed
and raw frames) and flow; one update of the generator and one of D_I. The original generates frame by frame and passes
each frame through D_I six times.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import in_turn, ratios
from trainer.device import fast_paths
from trainer.device.clock import Clock
from trainer.device.used_memory import watch_peak
from vid2vid.config import ModelConfig, Norm
from vid2vid.losses import terms
from vid2vid.model import Generator, GeneratorOutput, MultiscaleDiscriminator
from vid2vid.model.discriminators import Features
from vid2vid.model.sharing import SharedDiscriminator


@dataclass
class WindowSize:
    """What is timed; the defaults are the window of BENCHMARKS.md."""

    frames: int = 6
    height: int = 128
    width: int = 256
    ngf: int = 32
    ndf: int = 32
    classes: int = 35  # label ids of the model
    present: int = 35  # of which so many occur in the window; real street clips hold 8 to 20


@dataclass
class Timing:
    """Seconds per repeat of generator forward, losses forward, generator backward, D's backward and steps; peak GiB.

    ``first`` is the unmeasured round, in which kernels are chosen or compiled.
    """

    parts: list[list[float]] = field(default_factory=list)
    first: float = 0.0
    peak: float = 0.0

    @property
    def totals(self) -> list[float]:
        """Time of a whole window in every repeat."""
        return [sum(parts) for parts in self.parts]

    @property
    def total(self) -> float:
        """Median time of a whole window."""
        return statistics.median(self.totals)

    def median(self, part: int) -> float:
        return statistics.median(parts[part] for parts in self.parts)


class TrainingWindow:
    """Networks, optimisers and one window of random data.

    Args:
        size: what to build.
        device: where.
    """

    def __init__(self, size: WindowSize, device: torch.device) -> None:
        torch.manual_seed(0)
        self.size = size
        self.model = ModelConfig(ngf=size.ngf, ndf=size.ndf, num_labels=size.classes, norm=Norm.instance)
        channels = size.classes + 1
        self.generator = Generator(self.model, channels).to(device)
        self.d_image = MultiscaleDiscriminator(channels + 3, size.ndf, 2, 3, self.model.norm).to(device)
        adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
        self.optimizers = [
            torch.optim.Adam(net.parameters(), **adam, fused=True) for net in (self.generator, self.d_image)
        ]
        past = self.model.past_frames
        frames, height, width = size.frames + past, size.height, size.width
        # Patches of ids, so that classes form regions as in a label map.
        ids = torch.randint(0, size.present, (1, frames, height // 8, width // 8))
        ids = ids.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        edge = F.pad((ids[..., 1:] != ids[..., :-1]).float(), (1, 0))[:, :, None]
        one_hot = F.one_hot(ids, size.classes).movedim(-1, 2).float()
        self.source = torch.cat([one_hot, edge], dim=2).to(device)
        self.images = (torch.rand(1, frames, 3, height, width) * 2 - 1).to(device)
        self.flow = (torch.randn(1, size.frames, 2, height, width) * 2).to(device)
        self.confidence = (torch.rand(1, size.frames, 1, height, width) > 0.2).float().to(device)

    def motion(self, out: GeneratorOutput) -> Tensor:
        """Flow, flow-warp and output-warp, weight 10 each."""
        assert out.flow is not None
        past = self.model.past_frames
        previous = torch.cat([self.images[:, past - 1 : past], out.frames[:, :-1].detach()], dim=1)
        return 10 * (
            terms.flow(out.flow, self.flow, self.confidence)
            + terms.flow_warp(out.flow, self.images[:, past - 1 : -1], self.images[:, past:], self.confidence)
            + terms.output_warp(out.frames, previous, self.flow, self.confidence)
        )


def ours(window: TrainingWindow, amp: Callable[[], Any]) -> list[float]:
    """One window as the task trains it: one generator call, one discriminator call. Returns the parts' seconds."""
    past = window.model.past_frames
    clock = Clock(window.source.device)
    with amp():
        out = window.generator(window.source, window.generator.past_from_images(window.images[:, :past]))
    clock.mark()
    labels = window.source[:, past:]
    with amp():
        shared = SharedDiscriminator(
            window.d_image,
            window.images[:, past:],
            [out.frames, out.hallucination],
            prepare=lambda x: x.flatten(0, 1),
            condition=labels.flatten(0, 1),
        )

    def objective(real: Features, fakes: list[Features]) -> dict[str, Tensor]:
        gan = torch.stack([terms.gan_generator(fake) for fake in fakes]).sum()
        matching = torch.stack([terms.feature_matching(fake, real) for fake in fakes]).sum()
        return {"gan": gan, "feature": 10 * matching}

    halves = [terms.gan_discriminator(shared.real, fake) for fake in shared.fakes]
    d_loss = 0.5 * torch.stack([a + b for a, b in halves]).sum()
    motion = window.motion(out)
    clock.mark()
    g_loss = sum(shared.generator_losses(objective).values(), motion)
    g_loss.backward(inputs=list(window.generator.parameters()))
    clock.mark()
    d_loss.backward(inputs=list(window.d_image.parameters()))
    _step(window)
    clock.mark()
    return clock.parts


def frame_by_frame(window: TrainingWindow, amp: Callable[[], Any]) -> list[float]:
    """One window as the original trains it. Returns the parts' seconds."""
    with fast_paths.off():
        return _frame_by_frame(window, amp)


def _frame_by_frame(window: TrainingWindow, amp: Callable[[], Any]) -> list[float]:
    past = window.model.past_frames
    clock = Clock(window.source.device)
    made: list[GeneratorOutput] = []
    history = window.generator.past_from_images(window.images[:, :past])
    with amp():
        for t in range(window.size.frames):
            made.append(window.generator(window.source[:, t : t + past + 1], history))
            history = made[-1].past
    out = GeneratorOutput(*(torch.cat([getattr(o, key) for o in made], dim=1) for key in _FIELDS), past=history)
    clock.mark()
    labels = window.source[:, past:]
    real = window.images[:, past:]

    def judge(frames: Tensor) -> Features:
        with amp():
            return window.d_image(torch.cat([labels, frames], dim=2).flatten(0, 1))

    g_loss, d_loss = window.motion(out), torch.zeros((), device=labels.device)
    for fake in (out.frames, out.hallucination):
        on_real, on_detached, on_fake = judge(real), judge(fake.detach()), judge(fake)
        a, b = terms.gan_discriminator(on_real, on_detached)
        d_loss = d_loss + 0.5 * (a + b)
        g_loss = g_loss + terms.gan_generator(on_fake) + 10 * terms.feature_matching(on_fake, on_real)
    clock.mark()
    g_loss.backward()
    clock.mark()
    window.optimizers[1].zero_grad(set_to_none=True)  # what the generator's backward pass left in D's gradients
    d_loss.backward()
    _step(window)
    clock.mark()
    return clock.parts


_FIELDS = ("frames", "hallucination", "flow", "mask")


def _step(window: TrainingWindow) -> None:
    for optimizer in window.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _bf16(device: torch.device) -> Callable[[], Any]:
    return lambda: torch.autocast(device.type, torch.bfloat16)


BASELINE, BASELINE_HALF, OURS, OURS_HALF = "frame by frame fp32", "frame by frame bf16", "vivid fp32", "vivid bf16"


def measure(
    size: WindowSize,
    repeats: int,
    device: torch.device,
    compiled: bool = False,
    variants: Sequence[str] = (BASELINE, OURS, OURS_HALF),
    layout: torch.memory_format = torch.contiguous_format,
) -> dict[str, Timing]:
    """Times the variants in turn, ``repeats`` times after one unmeasured round, so that other load hits all alike.

    Args:
        size: the window.
        repeats: measured rounds.
        device: where.
        compiled: compile the networks (on CUDA), and time only them.
        variants: of ``BASELINE``, ``BASELINE_HALF``, ``OURS``, ``OURS_HALF``.
        layout: of the networks' weights.

    Returns:
        Timings by variant; those called frame by frame are what the others are compared with.
    """
    window = TrainingWindow(size, device)
    for network in (window.generator, window.d_image):
        network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    ways: dict[str, tuple[Callable[[TrainingWindow, Callable[[], Any]], list[float]], Callable[[], Any]]] = {
        BASELINE: (frame_by_frame, nullcontext),
        OURS: (ours, nullcontext),
        OURS_HALF: (ours, _bf16(device)),
        BASELINE_HALF: (frame_by_frame, _bf16(device)),
    }
    ways = {name: ways[name] for name in variants}
    if compiled:
        ways = {"vivid bf16 compiled": (ours, _bf16(device))}
        window.generator.compile()
        window.d_image.compile()
    timings = {name: Timing() for name in ways}
    for name, (run, amp) in ways.items():
        timings[name].first = sum(run(window, amp))
    for name in in_turn(list(ways), repeats):
        run, amp = ways[name]
        with watch_peak(device) as peak:
            timings[name].parts.append(run(window, amp))
        timings[name].peak = max([timings[name].peak, *peak])
    return timings


def report(size: WindowSize, timings: dict[str, Timing]) -> list[str]:
    """A table: total and parts in seconds (medians), the median ratio to the frame-by-frame loop, memory."""
    lines = [
        f"one training window: {size.frames} frames of {size.height}x{size.width}, ngf {size.ngf}, ndf {size.ndf}, "
        f"{size.present} of {size.classes} classes present",
        f"{'':22}{'total':>8}{'ratio':>7}{'G fwd':>8}{'losses':>8}{'G bwd':>8}{'D, steps':>9}{'GiB':>6}",
    ]
    base = timings.get(BASELINE)
    for name, timing in timings.items():
        ratio = "-"
        if base is not None:
            ratio = f"{statistics.median(ratios(timing.totals, base.totals)):.2f}"
        parts = "".join(f"{timing.median(part):{width}.2f}" for part, width in enumerate((8, 8, 8, 9)))
        memory = f"{timing.peak:.2f}" if timing.peak else "-"
        lines.append(f"{name:22}{timing.total:8.2f}{ratio:>7}{parts}{memory:>6}")
    return lines


def suite(repeats: int = 5, command: str = "") -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=vid2vid``, as they become known.

    Args:
        repeats: measured rounds.
        command: what was typed.
    """
    cpu = torch.device("cpu")
    yield f"`{command}`: {machine(cpu)}."
    # Random labels hold every class; a street clip holds 8 to 20 of them, and absent ones are left out.
    for present in (35, 12):
        size = WindowSize(present=present)
        yield from report(size, measure(size, repeats, cpu))
        yield ""
    if not torch.cuda.is_available():
        yield "no CUDA device: 512x256 and 1024x512 on a GPU are left out"
        return
    cuda = torch.device("cuda")
    yield torch.cuda.get_device_name(cuda)
    for height, width in ((256, 512), (512, 1024)):
        size = replace(WindowSize(), height=height, width=width, ngf=64, ndf=64)
        for compiled in (False, True):
            yield from report(size, measure(size, repeats, cuda, compiled))
            yield ""
