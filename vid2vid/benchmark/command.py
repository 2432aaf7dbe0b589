"""What ``scripts/benchmark.py`` and ``scripts/gpu.py`` measure of vid2vid. Imports what is heavy when asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainer.benchmark.sections import Bench, Part

if TYPE_CHECKING:
    from trainer.benchmark.trials import Trial

MODELS = ()


def _steps(arguments: Any, command: str) -> Iterator[str]:
    from vid2vid.benchmark.step import suite

    return suite(arguments.repeats, command)


def _drawing(arguments: Any, command: str) -> Iterator[str]:
    from vid2vid.benchmark.drawing import suite

    return suite(arguments.repeats, command)


def _overhead(arguments: Any, command: str) -> Iterator[str]:
    from trainer.benchmark.overhead import suite_on_cpu
    from vid2vid.config import Vid2VidConfig
    from vid2vid.task import Vid2VidTask

    words, title = ["experiment=vid2vid/demo"], "vid2vid at the demo's size"
    return suite_on_cpu(title, words, {"vid2vid": Vid2VidConfig}, Vid2VidTask, arguments.repeats, command)


def _exported(arguments: Any, command: str) -> Iterator[str]:
    from vid2vid.benchmark.exported import suite
    from vid2vid.config import Vid2VidConfig

    return suite({"vid2vid": Vid2VidConfig}, arguments.repeats, command)


def _layers(arguments: Any, command: str) -> Iterator[str]:
    from vid2vid.benchmark.variants import suite
    from vid2vid.config import Vid2VidConfig

    return suite({"vid2vid": Vid2VidConfig}, arguments.repeats, command)


def _latency(arguments: Any, command: str) -> Iterator[str]:
    from vid2vid.benchmark.latency import suite
    from vid2vid.config import Vid2VidConfig

    return suite({"vid2vid": Vid2VidConfig}, arguments.repeats, command)


SUITES = {
    "vid2vid": _steps,
    "drawing": _drawing,
    "vid2vid_overhead": _overhead,
    "vid2vid_export": _exported,
    "generate": _latency,
    "vid2vid_layers": _layers,
}  # (the script's arguments, what was typed) -> lines


def _windows(bench: Bench) -> None:
    from vid2vid.benchmark.gpu import windows

    windows(bench.rows, bench.device, bench.quick, bench.seconds)


def _generation(bench: Bench) -> None:
    from vid2vid.benchmark.gpu import generation

    generation(bench.rows, bench.device, bench.quick)


PARTS = (
    Part("windows", "vid2vid: one training window", 75, 30, _windows),
    Part("generation", "vid2vid: generation with the paper's networks", 40, 40, _generation),
)


def trials(quick: bool, workers: int) -> tuple[Trial, Trial]:
    """Real training, and a run to be killed and resumed."""
    from vid2vid.benchmark.gpu import resume_trial, train_trial

    return train_trial(quick, workers), resume_trial(quick)
