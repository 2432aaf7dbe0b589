"""What ``make gpu`` measures of vid2vid: training windows, and generation with networks of the paper's size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trainer.benchmark.sections import Rows
from trainer.benchmark.trials import Trial
from trainer.cli import compose
from trainer.device.clock import Clock
from trainer.device.compute import Compute
from trainer.device.free_memory import is_out_of_memory, release
from trainer.device.used_memory import watch_peak
from vid2vid.benchmark.step import BASELINE, BASELINE_HALF, OURS, OURS_HALF, Timing, WindowSize, measure
from vid2vid.config import Vid2VidConfig
from vid2vid.encoding import SourceEncoder
from vid2vid.generate.rollout import Rollout
from vid2vid.model import Generator

SCHEMAS = {"vid2vid": Vid2VidConfig}
ROUNDS, FRAMES = 4, 12
SIZES = ((256, 512), (512, 1024))
QUICK = WindowSize(frames=2, height=32, width=64, ngf=4, ndf=4, classes=6, present=6)
# (height, width, scales in use) of the paper's generator.
PICTURES = ((512, 1024, 2), (1024, 2048, 3))

TRAIN = (
    "model=vid2vid", "curriculum=single", "curriculum.stages.all.batch_size=4", "trainer.max_minutes=0.67",
    "trainer.log_every=5", "trainer.eval_every=0", "trainer.checkpoint_every=1000000",
)  # fmt: skip
QUICK_RUN = ("trainer.device=cpu", "logger.tensorboard=false", "logger.curves=false")
RESUME = (
    "model=vid2vid_tiny", "trainer=deterministic", "trainer.max_samples=120", "trainer.checkpoint_every=40",
    "trainer.log_every=2", "trainer.eval_every=0", "model.flow_init=0.1", "data.workers=2",
)  # fmt: skip


def train_trial(quick: bool, workers: int) -> Trial:
    """Real training of the default model at its full resolution on the built-in street."""
    if quick:
        words = ("model=vid2vid_tiny", "trainer.max_steps=6", "trainer.log_every=1", *QUICK_RUN)
        return Trial("vid2vid", words, "g/flow_warp", ("trainer.preflight=false",))
    return Trial("vid2vid", (*TRAIN, f"data.workers={workers}"), "g/flow_warp", ("trainer.preflight=false",))


def resume_trial(quick: bool) -> Trial:
    """A small deterministic run. ``grid_sample`` has no deterministic backward pass on CUDA: it may not be bitwise."""
    short = ("trainer.max_samples=40", "trainer.checkpoint_every=10")
    return Trial("vid2vid", (*RESUME, *QUICK_RUN, *short) if quick else RESUME)


def _settings(device: torch.device) -> None:
    """As the trainer sets them."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def windows(rows: Rows, device: torch.device, quick: bool, seconds: float) -> None:
    """Rows for each size: a training window frame by frame, as the original trains it, and ours.

    Args:
        device: the card, or the CPU where it is quick.
        seconds: that there are. cuDNN's search for the fastest kernels takes most of them; what would not fit is left
            out, and a note says so.
    """
    _settings(device)
    rows.note(
        "One training window of 6 frames, one clip, ngf 64, ndf 64, 35 labels and an edge; losses of D_I and flow, one "
        "update of each network. fp32 with TF32. Medians of interleaved rounds; first: the round in which cuDNN "
        "searches for kernels."
    )
    until = time.perf_counter() + 0.9 * seconds
    sizes = [QUICK] if quick else [WindowSize(height=h, width=w, ngf=64, ndf=64) for h, w in SIZES]
    took = 0.0
    for size in sizes:
        base: Timing | None = None
        for variants, layout in (
            ((BASELINE_HALF, OURS_HALF), torch.contiguous_format),
            ((OURS_HALF,), torch.channels_last),
            ((BASELINE, OURS), torch.contiguous_format),
        ):
            suffix = ", channels last" if layout is torch.channels_last else ""
            begin = time.perf_counter()
            if begin + took > until:
                names = ", ".join(name + suffix for name in variants)
                rows.note(f"{size.height}x{size.width}, {names}: left out, as the time would not suffice.")
                continue
            try:
                timings = measure(size, 1 if quick else ROUNDS, device, variants=variants, layout=layout)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                timings = {}
                rows.row(
                    "windows", size=f"{size.height}x{size.width}", variant=f"{variants[-1]}{suffix}: out of memory"
                )
            finally:
                release(device)
            took = time.perf_counter() - begin
            if not suffix:
                base = timings.get(variants[0])
            for name, timing in timings.items():
                rows.row(
                    "windows", size=f"{size.height}x{size.width}", variant=name + suffix, ms=1000 * timing.total,
                    **{"ratio to frame by frame": timing.total / base.total if base is not None else None},
                    **{"frames/s": size.frames / timing.total},
                    **{"peak GiB": timing.peak or None, "first in s": timing.first},
                )  # fmt: skip


def generation(rows: Rows, device: torch.device, quick: bool) -> None:
    """Rows for each size and precision: frames a second, latency of one frame, memory, of the paper's generator."""
    _settings(device)
    words = ["model=vid2vid_tiny", "model.scales=3", "model.ngf=8"] if quick else ["model=vid2vid_paper"]
    config: Any = compose(words, SCHEMAS)
    encoder = SourceEncoder(config.model, config.data)
    with torch.device(device):
        generator = Generator(config.model, encoder.channels).eval().requires_grad_(False)
    count = sum(parameter.numel() for parameter in generator.parameters())
    rows.note(
        f"Frame by frame from label maps on the host, {count / 1e6:.0f} M parameters drawn at random. Latency: until "
        "the device has made the frame; frames/s: without waiting in between."
    )
    pictures = ((32, 64, 2), (64, 128, 3)) if quick else PICTURES
    for layout in (torch.contiguous_format, torch.channels_last):
        generator.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        for height, width, scales in pictures:
            for bf16 in (True, False) if layout is torch.contiguous_format else (True,):
                amp = _autocast(device, bf16)
                name = ("bf16" if bf16 else "fp32") + (", channels last" if layout is torch.channels_last else "")
                size = f"{height}x{width}"
                try:
                    rollout = Rollout(generator, encoder, Compute(device, amp), scales=scales)
                    found = _rate(rollout, _labels(height, width, encoder), 2 if quick else FRAMES, device)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    found = {"note": "out of memory"}
                finally:
                    release(device)
                rows.row("generation", size=size, scales=scales, precision=name, **found)


def _autocast(device: torch.device, bf16: bool) -> Callable[[], Any]:
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=bf16)


def _labels(height: int, width: int, encoder: SourceEncoder) -> np.ndarray:
    """Patches of ids, as regions of a label map: (H, W) int16."""
    ids = np.random.default_rng(0).choice(encoder.ids, (height // 8, width // 8)).astype(np.int16)
    return ids.repeat(8, 0).repeat(8, 1)


def _rate(rollout: Rollout, labels: np.ndarray, frames: int, device: torch.device) -> dict[str, Any]:
    for _ in range(3):  # kernels are chosen
        rollout.step({"labels": labels})
    with watch_peak(device) as peak:
        single = Clock(device)
        for _ in range(frames):
            rollout.step({"labels": labels})
            single.mark()
        clock = Clock(device)
        for _ in range(frames):
            rollout.step({"labels": labels})
        rate = frames / clock.mark()
    known = peak[0] if peak and device.type == "cuda" else None
    return {"frames/s": rate, "latency ms": 1000 * statistics.median(single.parts), "peak GiB": known}
