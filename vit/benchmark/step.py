"""Times our ViT's training step beside timm's, in the same process and in turn, from the same weights.

A step is forward, loss (softmax cross-entropy in fp32), backward and AdamW (fused), on random pictures that are already
on the device. Each round runs every variant once, in random order; a ratio is the median over rounds of the ratio
within a round, so that load which comes and goes hits all alike.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.benchmark.machine import machine
from trainer.benchmark.rounds import in_turn, ratios
from trainer.device.clock import Clock
from trainer.device.used_memory import memory_now, watch_peak
from trainer.errors import UserError
from vit.config import AttentionKind, Init, ModelConfig, Pool
from vit.model.architecture import Architecture, architecture
from vit.model.cost import gmacs
from vit.model.transformer import VisionTransformer
from vit.model.variants import parse_variant

TIMM = "timm"  # what every other variant is compared with
OURS = "vivid"
TIMM_NAMES = {"Ti": "tiny", "S": "small", "B": "base", "L": "large"}
MODELS = {"cpu": ("S/16", "Ti/16"), "cuda": ("S/16", "B/16", "L/16")}
BATCH = {"S": 512, "B": 256, "L": 128}  # on CUDA; 16 on CPUs

# Dense bf16 peaks in TFLOP/s as torchtitan lists them; the first name that occurs in the device's counts.
PEAKS = {"H100 NVL": 835, "H100 PCIe": 756, "H100": 989, "H200": 989, "B200": 2250, "A100": 312}


@dataclass(frozen=True)
class Case:
    """What is timed: a model by Google's name, pictures of it in one step, their side in pixels, the precision."""

    model: str
    batch: int = 16
    side: int = 224
    bf16: bool = True
    classes: int = 1000


@dataclass
class Timing:
    """Seconds of every round's step by the clock and of all CPUs; the step's own peak memory in GiB (0: not known)."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: float = 0.0


class Step:
    """One network with its optimiser, taking one step per call.

    Args:
        model: in training mode.
        case: batch and precision.
        images, labels: (B, 3, H, W), (B,).
        optimizer: of the model's parameters; None makes one.
    """

    def __init__(
        self,
        model: nn.Module,
        case: Case,
        images: Tensor,
        labels: Tensor,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self.model, self.case, self.images, self.labels = model, case, images, labels
        device = images.device.type
        self.amp: Callable[[], Any] = (lambda: torch.autocast(device, torch.bfloat16)) if case.bf16 else nullcontext
        self.optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

    def compiled(self, by_block: bool = False) -> Step:
        """The same step compiled at its first call: the whole network, with the same weights and optimiser; or of a
        copy each block for itself, which is compiled once for all of them."""
        if not by_block:
            whole: Any = torch.compile(self.model, dynamic=False)
            return Step(whole, self.case, self.images, self.labels, self.optimizer)
        model: Any = copy.deepcopy(self.model)
        for block in model.blocks:
            block.compile(dynamic=False)
        return Step(model, self.case, self.images, self.labels)

    def __call__(self) -> Tensor:
        """The loss before the step."""
        with self.amp():
            logits = self.model(self.images)
        loss = F.cross_entropy(logits.float(), self.labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def timed(self) -> tuple[float, float]:
        """Seconds of one step by the clock, the device having done it, and those that CPUs worked for this process."""
        clock, worked = Clock(self.images.device), time.process_time()
        self()
        return clock.mark(), time.process_time() - worked


def build_steps(
    case: Case, device: torch.device, paths: Sequence[AttentionKind], compiled: bool = False
) -> dict[str, Step]:
    """timm's network and ours, one per attention path, all with the same weights: ``{"timm": ..., "vivid": ...}``.

    Raises:
        UserError: timm has no such plain ViT.
    """
    import timm

    name = _timm_name(case.model)
    torch.manual_seed(0)
    arch = _architecture(case)
    with torch.device(device):  # where values are drawn in no time
        other = timm.create_model(name, num_classes=case.classes, img_size=case.side).train()
    images = torch.randn(case.batch, 3, case.side, case.side).to(device)
    labels = torch.randint(0, case.classes, (case.batch,)).to(device)
    models: dict[str, nn.Module] = {TIMM: other}
    for path in paths:
        with torch.device(device):
            model = VisionTransformer(replace(arch, attention=path)).train()
        model.load_state_dict(other.state_dict())
        models[OURS if path is AttentionKind.auto else f"{OURS}, {path.value}"] = model
    if compiled:
        for model in models.values():
            model.compile()
    return {name: Step(model, case, images, labels) for name, model in models.items()}


def _architecture(case: Case) -> Architecture:
    name, patch = parse_variant(case.model, 16)
    # timm's initial values cost nothing to draw; either's are overwritten.
    config = ModelConfig(variant=name, patch=patch, init=Init.timm)
    return architecture(config, case.classes, 3, (case.side, case.side))


def _timm_name(model: str) -> str:
    name, patch = parse_variant(model, 16)
    if name not in TIMM_NAMES:
        raise UserError(f"models={model}: timm has no such ViT to compare with; there are {', '.join(TIMM_NAMES)}")
    return f"vit_{TIMM_NAMES[name]}_patch{patch}_224"


def measure(steps: dict[str, Step], repeats: int) -> dict[str, Timing]:
    """``repeats`` rounds after one that is not counted (three on CUDA, where kernels are chosen and compiled)."""
    timings = {name: Timing() for name in steps}
    device = next(iter(steps.values())).images.device
    for name, step in steps.items():
        for _ in range(3 if device.type == "cuda" else 1):
            step()
        with watch_peak(device) as peak:
            before = memory_now(device)
            step()
        timings[name].peak = max([0.0, *(value - before for value in peak)])
    for name in in_turn(list(steps), repeats):
        seconds, cpu = steps[name].timed()
        timings[name].seconds.append(seconds)
        timings[name].cpu.append(cpu)
    return timings


def mfu(case: Case, images_per_s: float, name: str, device_name: str) -> float | None:
    """Share of the device's dense bf16 peak, 6 FLOP per MAC of the closed formula.

    None in fp32, and for a device that is not in ``PEAKS``.
    What our last block leaves out (``vit.model.layers.Block``) is not counted as if it had been computed.
    """
    peak = next((value for key, value in PEAKS.items() if key in device_name), None)
    if peak is None or not case.bf16:
        return None
    arch = _architecture(case)
    macs = gmacs(arch) * 1e9
    if name.startswith(OURS) and arch.pool is Pool.cls:
        tokens = arch.prefix + arch.patches
        macs -= (tokens - 1) * arch.width * (arch.width + 2 * arch.mlp + 2 * tokens)
    return 6 * macs * images_per_s / (peak * 1e12)


HEAD = ("| model | precision | variant | img/s | times timm (quartiles) | by CPU time | GiB | MFU |", f"|{'---|' * 8}")


def rows(case: Case, timings: dict[str, Timing], device_name: str = "", note: str = "") -> list[str]:
    """Rows of the table ``HEAD``; ``times timm`` is the speed in units of timm's, median and quartiles over rounds."""
    found = []
    base = timings[TIMM]
    for name, timing in timings.items():
        rate = case.batch / statistics.median(timing.seconds)
        faster = ratios(base.seconds, timing.seconds)
        low, middle, high = statistics.quantiles(faster, n=4) if len(faster) > 1 else faster * 3
        share = mfu(case, rate, name, device_name)
        cells = [
            case.model,
            "bf16" if case.bf16 else "fp32",
            f"{name}{note}",
            f"{rate:.1f}" if rate < 100 else f"{rate:.0f}",
            "1" if name == TIMM else f"**{middle:.2f}** ({low:.2f} to {high:.2f})",
            "-" if device_name else f"{statistics.median(ratios(base.cpu, timing.cpu)):.2f}",
            f"{timing.peak:.2f}" if timing.peak else "-",
            "-" if share is None else f"{100 * share:.0f} %",
        ]
        found.append(f"| {' | '.join(cells)} |")
    return found


def suite(repeats: int = 5, models: Sequence[str] = (), batch: int | None = None, command: str = "") -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=vit``, as they become known: a section for BENCHMARKS.md.

    Args:
        repeats: measured rounds.
        models: by Google's names; none: those of ``MODELS``.
        batch: pictures in a step; None: 16 on CPUs, ``BATCH`` on CUDA.
        command: what was typed.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    name = torch.cuda.get_device_name(device) if cuda else ""
    yield "## ViT: training step beside timm's"
    yield ""
    yield f"`{command}`: {machine(device, 'timm')}."
    pictures = str(batch) if batch else "by model" if cuda else "16"
    yield f"Forward, loss, backward, fused AdamW at 224 px, batch {pictures}; interleaved in one process, same weights,"
    yield f"medians of {repeats} rounds. CPU time is what the process got: its ratio holds on a busy machine."
    yield "GiB: what a step takes beyond weights and the optimiser's state."
    yield ""
    yield from HEAD
    for model in models or MODELS[device.type]:
        size = batch or (BATCH.get(parse_variant(model, 16)[0], 512) if cuda else 16)
        for bf16 in (False, True):
            case = Case(model, size, bf16=bf16)
            paths = [AttentionKind.auto, AttentionKind.sdpa, AttentionKind.explicit]
            for compiled in (False, True) if cuda and bf16 else (False,):
                paths = paths[:1] if compiled else paths
                timings = measure(build_steps(case, device, paths, compiled), repeats)
                yield from rows(case, timings, name, ", compiled" if compiled else "")
    if not cuda:
        yield ""
        yield "No CUDA device: S/16, B/16 and L/16 there, with MFU, are left out."
