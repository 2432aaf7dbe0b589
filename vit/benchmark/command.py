"""What ``scripts/benchmark.py`` and ``scripts/gpu.py`` measure of ViTs. Imports what is heavy when it is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainer.benchmark.sections import Bench, Part

if TYPE_CHECKING:
    from trainer.benchmark.trials import Trial

MODELS = ("S/16", "B/16", "L/16")  # of the section vit


def _steps(arguments: Any, command: str) -> Iterator[str]:
    from vit.benchmark.step import suite

    return suite(arguments.repeats, arguments.models, arguments.batch, command)


def _data(arguments: Any, command: str) -> Iterator[str]:
    from vit.benchmark.data import suite

    return suite(arguments.repeats, command)


def _analysis(arguments: Any, command: str) -> Iterator[str]:
    from vit.benchmark.laboratory import suite

    return suite(arguments.repeats, arguments.batch, command)


def _overhead(arguments: Any, command: str) -> Iterator[str]:
    from trainer.benchmark.overhead import suite_on_cpu
    from vit.config import VitConfig
    from vit.task import VitTask

    words = ["model=vit_ti16", "resolution=64", f"curriculum.stages.all.batch_size={arguments.batch or 32}"]
    words += ["logger.tensorboard=true"]
    title = "Ti/16 at 64 px on the built-in shapes"
    return suite_on_cpu(title, words, {"vit": VitConfig}, VitTask, arguments.repeats, command)


SUITES = {
    "vit": _steps,
    "data": _data,
    "analysis": _analysis,
    "overhead": _overhead,
}  # (the script's arguments, what was typed) -> lines


def _training_steps(bench: Bench) -> None:
    from vit.benchmark.gpu import training_steps

    training_steps(bench.rows, bench.device, bench.quick, bench.seconds, bench.models)


def _decoding(bench: Bench) -> None:
    """Data alone, then runs that are fed by few workers."""
    from trainer.benchmark.trials import measure_training
    from vit.benchmark.gpu import decoding

    begin = time.monotonic()
    bench.runs.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    found = decoding(bench.rows, bench.device, bench.quick, 0.25 * bench.seconds, cores, bench.runs)
    left = bench.seconds - (time.monotonic() - begin) - 3
    measure_training(bench.rows, bench.runs, found, left / len(found))


def _kernels(bench: Bench) -> None:
    from vit.benchmark.gpu import kernels

    kernels(bench.rows, bench.device, bench.quick)


PARTS = (
    Part("vit", "ViT: training step beside timm's", 130, 20, _training_steps),
    Part("decoding", "JPEGs on their way to the card", 150, 60, _decoding),
    Part("kernels", "The most expensive kernels of a B/16 step", 25, 80, _kernels),
)


def trials(quick: bool, workers: int) -> tuple[Trial, Trial]:
    """Real training, and a run to be killed and resumed."""
    from vit.benchmark.gpu import resume_trial, train_trial

    return train_trial(quick, workers), resume_trial(quick)
