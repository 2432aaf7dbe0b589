"""What ``make gpu`` measures of ViTs: training steps beside timm's, expensive kernels of one, data that arrive."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trainer.benchmark.rounds import ratios
from trainer.benchmark.sections import Rows
from trainer.benchmark.trials import Trial
from trainer.cli import compose
from trainer.data.loader import DevicePrefetcher, make_loader
from trainer.device.clock import synchronize
from trainer.device.free_memory import is_out_of_memory, release
from vit.benchmark.data import write_jpegs
from vit.benchmark.step import BATCH, MODELS, OURS, TIMM, Case, Step, Timing, build_steps, measure, mfu
from vit.config import AttentionKind, VitConfig
from vit.data import build_dataset
from vit.data.decoding import turbo
from vit.model.variants import parse_variant

SMALLEST = 8  # batch below which no further one is tried
FULL_GB = 75.0  # memory that the batches of ``BATCH`` are meant for
COMPILE_S = 40.0  # guess at the first network's compilation, both passes
BLOCKS_COMPILED = 4  # by block: a first and a last one, and what guards and caches take
ROUNDS = 8
COMPILED, BY_BLOCK = ", compiled", ", compiled by block"
KERNELS = 10
QUICK = Case("Ti/16", batch=2, side=32, classes=5)

TRAIN = (
    "model=vit_b16", "curriculum.stages.all.batch_size=256", "trainer.max_minutes=0.67", "trainer.log_every=10",
    "trainer.eval_every=0", "trainer.checkpoint_every=1000000",
)  # fmt: skip
QUICK_RUN = ("trainer.device=cpu", "logger.tensorboard=false", "logger.curves=false")
RESUME = (
    "model=vit_mu", "trainer=deterministic", "trainer.max_steps=400", "trainer.checkpoint_every=50",
    "trainer.log_every=5", "trainer.eval_every=0", "trainer.micro_batch=null", "curriculum.stages.all.batch_size=16",
    "data.shapes_samples=500", "augment.mixup=0.4", "augment.cutmix=1.0", "augment.erasing=0.5", "model.drop_path=0.1",
    "model.drop_path_shape=constant",
    "model.dropout=0.1", "optim.main.kind=lamb",
)  # fmt: skip
PLAINER = ("trainer.micro_batch=null", "trainer.preflight=false")


def train_trial(quick: bool, workers: int) -> Trial:
    """Real training of B/16 on the built-in pictures."""
    if quick:
        words = ("model=vit_mu", "trainer.max_steps=12", "trainer.log_every=2", "trainer.eval_every=0", *QUICK_RUN)
        return Trial("vit", (*words, "data.shapes_samples=64", "data.workers=0"), "main/class", PLAINER)
    return Trial("vit", (*TRAIN, f"data.workers={workers}"), "main/class", PLAINER)


def resume_trial(quick: bool) -> Trial:
    """A small deterministic run in which everything that draws random numbers is on."""
    short = ("trainer.max_steps=80", "trainer.checkpoint_every=10", "data.workers=0")
    return Trial("vit", (*RESUME, *QUICK_RUN, *short) if quick else RESUME)


def decoding(rows: Rows, device: torch.device, quick: bool, seconds: float, cores: int, folder: Path) -> list[Trial]:
    """Rows for few and many workers: JPEGs that arrive on the device as batches of 224 px, by each kind of decoding.

    Args:
        device: the card; the CPU where it is quick.
        seconds: for all of them.
        cores: of the machine.
        folder: for the pictures.

    Returns:
        Runs of S/16 that are fed by few workers, one for each kind.
    """
    kinds, batch = (["cpu"], 8) if quick else (["cpu", "gpu"], 256)
    root = folder / "pictures"
    size = write_jpegs(root, 64 if quick else 4096)
    rows.note(
        f"JPEGs of 500x375, {size:.0f} kB: read, decoded, cropped to 224, mirrored, in batches of {batch} on the "
        f"device; partial decoding by libjpeg-turbo: {'yes' if turbo.available() else 'no'}."
    )
    counts = sorted({min(count, max(1, cores - 1)) for count in ((1,) if quick else (2, 4, cores - 2))})
    for workers in counts:
        for kind in kinds:
            rate, wait = _arriving(root, kind, workers, batch, device, seconds / (3 * len(counts) * len(kinds)))
            rows.row("decoding", decode=kind, workers=workers, **{"pictures/s": rate, "waiting for workers %": wait})
    few = min(4, max(1, cores - 1))
    model = "vit_mu" if quick else "vit_s16"
    words = (
        f"model={model}", "data=imagefolder", f"data.root={root}", f"data.workers={few}", "trainer.eval_every=0",
        f"curriculum.stages.all.batch_size={batch}", "trainer.log_every=5", "trainer.checkpoint_every=1000000",
    )  # fmt: skip
    length = ("trainer.max_steps=10", *QUICK_RUN) if quick else ("trainer.max_minutes=0.3", "trainer.compile=true")
    return [Trial(f"vit_{kind}", (*words, *length, f"data.decode={kind}"), "main/class") for kind in kinds]


def _arriving(
    root: Path, kind: str, workers: int, batch: int, device: torch.device, seconds: float
) -> tuple[float, float]:
    """Pictures a second once workers run, and the share in per cent of the time that the host waited for them."""
    words = ["model=vit_s16", "data=imagefolder", f"data.root={root}", f"data.decode={kind}"]
    config: Any = compose(words, {"vit": VitConfig})
    dataset = build_dataset(config, "train", (224, 224))
    loader = make_loader(dataset, seed=0, samples_seen=0, batch_size=batch, workers=workers, device=device)
    batches = DevicePrefetcher(loader, device)
    count, begin, waited = 0, 0.0, 0.0
    for number, arrived in enumerate(batches):
        assert arrived["image"].device.type == device.type
        synchronize(device)
        now = time.perf_counter()
        if number == 2 + workers:  # what the workers made ahead is used up
            begin, waited = now, batches.wait_s
        elif begin:
            count += batch
            if now - begin > seconds:
                break
    batches.close()
    took = now - begin
    return count / took, 100 * (batches.wait_s - waited) / took


@dataclass
class _CompileTime:
    """How long compiling takes, from what it took before."""

    until: float
    per_block: float = COMPILE_S / 12

    def how(self, depth: int, networks: int) -> str:
        """``COMPILED``, as a whole; ``BY_BLOCK`` where that would take too long; empty where this would, too."""
        left = self.until - time.perf_counter()
        if networks * self.per_block * depth < left:
            return COMPILED
        return BY_BLOCK if networks * self.per_block * BLOCKS_COMPILED < left else ""

    def learn(self, seconds: float, depth: int) -> None:
        """A network of so many blocks took so long."""
        self.per_block = seconds / depth


def training_steps(
    rows: Rows, device: torch.device, quick: bool, seconds: float, models: Sequence[str] = MODELS["cuda"]
) -> None:
    """Rows for each model: timm's step and ours, eager and compiled, interleaved in one process, from the same weights.

    Args:
        device: the card, or the CPU where it is quick.
        seconds: that there are; compilation that would not fit is left out, and a note says so.
        models: where it is not quick.
    """
    rows.note(
        "Forward, loss, backward and fused AdamW in bf16 at 224 px, medians of interleaved rounds in one process, same "
        "weights; GiB: what a step takes beyond weights and the optimiser's state; MFU of the dense bf16 peak."
    )
    clock = _CompileTime(time.perf_counter() + 0.8 * seconds)
    cases = [QUICK] if quick else [Case(model, _batch(model, device)) for model in models]
    for case in cases:
        while not _attempt(rows, case, device, clock, quick):
            if case.batch // 2 < SMALLEST:
                rows.note(f"{case.model}: not even a batch of {case.batch} fits.")
                break
            case = replace(case, batch=case.batch // 2)


def _batch(model: str, device: torch.device) -> int:
    """A batch for the card's memory: ``BATCH`` halved as often as the card is smaller than those it is meant for."""
    batch = BATCH[parse_variant(model, 16)[0]]
    total = torch.cuda.get_device_properties(device).total_memory / 1e9
    while batch > SMALLEST and batch / BATCH[parse_variant(model, 16)[0]] > total / FULL_GB:
        batch //= 2
    return batch


def _attempt(rows: Rows, case: Case, device: torch.device, clock: _CompileTime, quick: bool) -> bool:
    """One model at one batch size; False when memory ran out."""
    begin = time.perf_counter()
    rows.say(f"{case.model}, batch {case.batch}")
    steps: dict[str, Step] = {}
    try:
        steps = build_steps(case, device, [AttentionKind.auto])
        compiling = {}
        if device.type == "cuda":  # a compiler for CPUs need not be there
            steps, compiling = _with_compiled(rows, steps, clock)
        timings = measure(steps, 2 if quick else ROUNDS)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        rows.row("steps", model=case.model, variant="out of memory", batch=case.batch)
        return False
    finally:
        steps.clear()
        release(device)
        torch._dynamo.reset()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for variant, timing in timings.items():
        rows.row("steps", **_row(case, variant, timing, timings, name, compiling.get(variant)))
    rows.say(f"{case.model}: {time.perf_counter() - begin:.0f} s")
    return True


def _with_compiled(rows: Rows, steps: dict[str, Step], clock: _CompileTime) -> tuple[dict[str, Step], dict[str, float]]:
    """The steps and their compiled twins, which have been called once; and how long that took."""
    depth = len(steps[OURS].model.blocks)  # pyright: ignore[reportArgumentType]
    how = clock.how(depth, len(steps))
    if not how:
        rows.note(f"{steps[OURS].case.model}: not compiled, as the time would not suffice.")
        return steps, {}
    found, seconds = {}, {}
    for name, step in steps.items():
        begin = time.perf_counter()
        twin = step.compiled(by_block=how is BY_BLOCK)
        try:
            twin()
            torch.cuda.synchronize()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            rows.note(f"{step.case.model}, {name}{how}: failed: {type(error).__name__}: {str(error)[:300]}")
            continue
        seconds[name + how] = time.perf_counter() - begin
        if how is COMPILED:
            clock.learn(seconds[name + how], depth)
        found[name + how] = twin
        rows.say(f"{name}{how} in {seconds[name + how]:.0f} s")
    return {**steps, **found}, seconds


def _row(
    case: Case, variant: str, timing: Timing, timings: dict[str, Timing], device_name: str, compiling: float | None
) -> dict[str, Any]:
    median = statistics.median(timing.seconds)
    base = timings.get(TIMM + variant.removeprefix(OURS).removeprefix(TIMM))  # compiled as this one is
    faster = [] if base is None else ratios(base.seconds, timing.seconds)
    share = mfu(case, case.batch / median, variant, device_name)
    return {
        "model": case.model,
        "variant": variant,
        "batch": case.batch,
        "img/s": case.batch / median,
        "ms": 1000 * median,
        "times timm": statistics.median(faster) if faster else None,
        "quartiles": _quartiles(faster),
        "MFU %": None if share is None else 100 * share,
        "GiB": timing.peak or None,
        "compiled in s": compiling,
    }


def _quartiles(values: list[float]) -> str | None:
    if len(values) < 2:
        return None
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.3f} to {high:.3f}"


def kernels(rows: Rows, device: torch.device, quick: bool) -> None:
    """The kernels that take most of a step of our B/16, eager, with their share of the device's time."""
    case = QUICK if quick else Case("B/16", _batch("B/16", device))
    step = build_steps(case, device, [AttentionKind.auto])[OURS]
    for _ in range(3):
        step()
    cuda, count = device.type == "cuda", 3
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(
        activities=[activity.CPU, *([activity.CUDA] if cuda else [])], acc_events=True
    ) as profile:
        for _ in range(count):
            step()
        synchronize(device)
    found = _kernels(profile.key_averages(), cuda)
    total = sum(time for _, time, _ in found)
    rows.note(
        f"{case.model}, batch {case.batch}, bf16, eager: {total / count / 1000:.1f} ms of kernels in a step, "
        f"{len(found)} different ones."
    )
    for name, micros, calls in found[:KERNELS]:
        rows.row(
            "kernels", kernel=name[:110], **{"share %": 100 * micros / total, "ms": micros / count / 1000},
            calls=calls // count,
        )  # fmt: skip


def _kernels(averages: Any, cuda: bool) -> list[tuple[str, float, int]]:
    """(name, microseconds, calls) by falling time: kernels of the device, on CPUs operations without their parts."""
    kind, found = "CUDA" if cuda else "CPU", []
    for event in averages:
        annotation = getattr(event, "is_user_annotation", False) or event.key.startswith(("Optimizer.", "Profiler"))
        if event.device_type.name == kind and not annotation:
            micros = event.self_device_time_total if cuda else event.self_cpu_time_total
            if micros > 0:
                found.append((event.key, float(micros), int(event.count)))
    return sorted(found, key=lambda item: -item[1])
