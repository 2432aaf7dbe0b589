"""All that one wants to know of a CUDA card in one command: its tests, speeds, real training, exact resuming.

make gpu
python scripts/gpu.py minutes=8 out=runs/gpu
python scripts/gpu.py sections=[tests,vit] models=[L/16]
python scripts/gpu.py quick=true                the same on the CPU with tiny sizes: a test of this script

Every section has a process and a time limit of its own; what is known so far is always in gpu.json (all figures, and
the ends of failed tests' reports) and gpu.md (tables for BENCHMARKS.md) in the folder `out`.
"""

from __future__ import annotations

import _setup  # first: passive OpenMP threads, the repository on the path

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from train import TASKS
from trainer.benchmark.sections import Bench, Part, Rows, Section, Series
from trainer.cli import guarded
from trainer.config.arguments import parse_args
from trainer.config.suggestions import did_you_mean
from trainer.errors import UserError, refuse
from trainer.task_table import having

WORKERS = 12  # data workers of real runs, where there are so many cores
MEASURED = [module for _, module in reversed(list(having(TASKS, "gpu")))]  # the newest task first
MODELS = tuple(model for module in MEASURED for model in module.MODELS)


def _card(bench: Bench) -> None:
    from trainer.benchmark.card import about

    about(bench.rows, bench.device, bench.quick)


def _tests(bench: Bench) -> None:
    from trainer.benchmark.card import marked_files, run_tests

    run_tests(bench.rows, marked_files(_setup.ROOT / "tests"))


def _training(bench: Bench) -> None:
    from trainer.benchmark.trials import measure_training

    trials = [module.trials(bench.quick, bench.workers)[0] for module in MEASURED]
    measure_training(bench.rows, bench.runs, trials, 0.48 * bench.seconds)


def _resuming(bench: Bench) -> None:
    from trainer.benchmark.trials import measure_resuming

    trials = [module.trials(bench.quick, bench.workers)[1] for module in MEASURED]
    measure_resuming(bench.rows, bench.runs, trials, bench.seconds - 5)


PARTS = [
    Part("card", "The card", 30, 0, _card),
    Part("tests", "Tests marked gpu", 110, 10, _tests),
    Part("training", "Real training, with the data pipeline", 140, 50, _training),
    Part("resuming", "SIGKILL, and exact resuming", 65, 70, _resuming),
    *(part for module in MEASURED for part in module.PARTS),
]
SECTIONS = {part.name: part for part in sorted(PARTS, key=lambda part: part.place)}


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
    import torch

    device = torch.device("cpu" if arguments.quick else "cuda")
    workers = max(1, min(WORKERS, (os.cpu_count() or 1) - 2))
    bench = Bench(rows, runs, device, arguments.quick, arguments.seconds, arguments.models, workers)
    SECTIONS[name].measure(bench)


def plan(arguments: Arguments) -> list[Section]:
    """The sections as commands."""
    options = ["rows={rows}", "seconds={seconds}", f"quick={str(arguments.quick).lower()}"]
    options += [f"models=[{','.join(arguments.models)}]"]
    slower = 3 if arguments.quick else 1  # a CPU
    return [
        Section(
            name,
            SECTIONS[name].title,
            [sys.executable, str(Path(__file__).resolve()), f"section={name}", *options],
            SECTIONS[name].seconds * slower,
        )
        for name in arguments.sections
    ]


def check(arguments: Arguments) -> None:
    """Raises what is wrong with the arguments, or with the machine."""
    requested = arguments.sections if arguments.section is None else [arguments.section]
    problems = [
        f"sections: there is no '{name}'{did_you_mean(name, SECTIONS) or ';'} there are {', '.join(SECTIONS)}"
        for name in requested
        if name not in SECTIONS
    ]
    problems += [
        f"models: '{name}' is not measured; there are {', '.join(MODELS)}"
        for name in arguments.models
        if name not in MODELS
    ]
    if arguments.minutes <= 0:
        problems.append(f"minutes={arguments.minutes:g}: must be above 0")
    refuse(problems)
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
