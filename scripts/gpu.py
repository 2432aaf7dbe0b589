"""All that one wants to know of a CUDA card in one command: its tests, speeds, real training, exact resuming.

make gpu
python scripts/gpu.py minutes=8 out=runs/gpu
python scripts/gpu.py sections=[tests,vit] models=[L/16]
python scripts/gpu.py quick=true                the same on the CPU with tiny sizes: a test of this script

Every section has a process and a time limit of its own; what is known so far is always in gpu.json (all figures, and
the ends of failed tests' reports) and gpu.md (tables for BENCHMARKS.md) in the folder `out`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trainer.benchmarking.sections import Rows, Section, Series
from trainer.cli import guarded, parse_args
from trainer.config.schema import did_you_mean
from trainer.errors import ConfigError, UserError

if TYPE_CHECKING:
    import torch

MODELS = ("S/16", "B/16", "L/16")  # of the section vit
WORKERS = 12  # data workers of real runs, where there are so many cores


# By name: heading and seconds. What is not begun when the time is up is left out, so the order is that of importance.
SECTIONS: dict[str, tuple[str, float]] = {
    "card": ("The card", 30),
    "tests": ("Tests marked gpu", 110),
    "vit": ("ViT: training step beside timm's", 130),
    "windows": ("vid2vid: one training window", 75),
    "generation": ("vid2vid: generation with the paper's networks", 40),
    "training": ("Real training, with the data pipeline", 140),
    "decoding": ("JPEGs on their way to the card", 150),
    "resuming": ("SIGKILL, and exact resuming", 65),
    "kernels": ("The most expensive kernels of a B/16 step", 25),
}


@dataclass
class Arguments:
    sections: list[str] = field(default_factory=lambda: list(SECTIONS))  # which, in this order
    minutes: float = 8.0  # for all of them together
    out: str = "runs/gpu"  # folder for gpu.json and gpu.md
    models: list[str] = field(default_factory=lambda: list(MODELS))
    quick: bool = False  # on the CPU, with tiny sizes
    section: str | None = None  # run this one alone, in this process
    rows: str | None = None  # with section: the file for its results
    seconds: float = 600.0  # with section: the time it has


def work(name: str, rows: Rows, runs: Path, arguments: Arguments) -> None:
    """One section, in this process."""
    quick, seconds = arguments.quick, arguments.seconds
    import torch

    from trainer.benchmarking import card, trials
    from vid2vid.benchmark import gpu as vid2vid
    from vit.benchmark import gpu as vit

    device = torch.device("cpu" if quick else "cuda")
    workers = max(1, min(WORKERS, (os.cpu_count() or 1) - 2))
    sections: dict[str, Callable[[], None]] = {
        "card": lambda: card.about(rows, device, quick),
        "tests": lambda: card.run_tests(rows, card.marked_files(ROOT / "tests")),
        "vit": lambda: vit.training_steps(rows, device, quick, seconds, arguments.models),
        "windows": lambda: vid2vid.windows(rows, device, quick, seconds),
        "generation": lambda: vid2vid.generation(rows, device, quick),
        "training": lambda: trials.measure_training(
            rows, runs, [model.train_trial(quick, workers) for model in (vit, vid2vid)], 0.48 * seconds
        ),
        "decoding": lambda: decoding(rows, runs, device, quick, seconds),
        "resuming": lambda: trials.measure_resuming(
            rows, runs, [model.resume_trial(quick) for model in (vit, vid2vid)], seconds - 5
        ),
        "kernels": lambda: vit.kernels(rows, device, quick),
    }
    sections[name]()


def decoding(rows: Rows, runs: Path, device: torch.device, quick: bool, seconds: float) -> None:
    """Data alone, then runs that are fed by few workers."""
    from trainer.benchmarking import trials
    from vit.benchmark import gpu as vit

    begin = time.monotonic()
    runs.mkdir(parents=True, exist_ok=True)
    found = vit.decoding(rows, device, quick, 0.25 * seconds, os.cpu_count() or 1, runs)
    left = seconds - (time.monotonic() - begin) - 3
    trials.measure_training(rows, runs, found, left / len(found))


def plan(arguments: Arguments) -> list[Section]:
    """The sections as commands."""
    options = ["rows={rows}", "seconds={seconds}", f"quick={str(arguments.quick).lower()}"]
    options += [f"models=[{','.join(arguments.models)}]"]
    slower = 3 if arguments.quick else 1  # a CPU
    return [
        Section(
            name,
            SECTIONS[name][0],
            [sys.executable, str(Path(__file__).resolve()), f"section={name}", *options],
            SECTIONS[name][1] * slower,
        )
        for name in arguments.sections
    ]


def check(arguments: Arguments) -> None:
    """Raises what is wrong with the arguments, or with the machine."""
    wanted = arguments.sections if arguments.section is None else [arguments.section]
    problems = [
        f"sections: there is no '{name}'{did_you_mean(name, SECTIONS) or ';'} there are {', '.join(SECTIONS)}"
        for name in wanted
        if name not in SECTIONS
    ]
    problems += [
        f"models: '{name}' is not measured; there are {', '.join(MODELS)}"
        for name in arguments.models
        if name not in MODELS
    ]
    if arguments.minutes <= 0:
        problems.append(f"minutes={arguments.minutes:g}: must be above 0")
    if problems:
        raise ConfigError(problems)
    import torch

    if not arguments.quick and not torch.cuda.is_available():
        raise UserError(
            f"torch {torch.__version__} finds no CUDA device here, and this measures one: run it on a machine that has "
            "one (nvidia-smi shows it), or try the script itself on the CPU with quick=true"
        )


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # so that the section's processes end, too


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    check(arguments)
    if arguments.section is not None and arguments.rows is not None:  # one section of a series
        rows = Path(arguments.rows)
        work(arguments.section, Rows(rows), rows.parent / arguments.section, arguments)
        return
    signal.signal(signal.SIGTERM, _stop)
    with TemporaryDirectory(prefix="vivid-gpu-") as folder:
        if arguments.section is not None:
            work(arguments.section, Rows(None), Path(folder), arguments)
            return
        about = {
            "title": "Quick run on the CPU, no measurement" if arguments.quick else "CUDA",
            "command": " ".join(["python", "scripts/gpu.py", *sys.argv[1:]]),
        }
        out = Path(arguments.out).expanduser()
        series = Series(out, Path(folder), "gpu", about, arguments.minutes, lambda line: print(line, flush=True))
        record = series.run(plan(arguments))
    if any(entry["outcome"] != "done" for entry in record["sections"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
