"""Measure speed and memory.

python scripts/benchmark.py suite=vit threads=2 repeats=15
python scripts/benchmark.py suite=vit models=[B/16] batch=8
python scripts/benchmark.py suite=data
python scripts/benchmark.py suite=vid2vid threads=2

suite=vit times one training step beside timm's, suite=vid2vid one training window beside a loop that runs the same
networks frame by frame, as the original does: in the same process and in turn. Ratios hold on a busy machine, seconds
only on a quiet one. suite=data times decoding, cropping and flipping of JPEGs, and how long an epoch waits for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import guarded, parse_args
from trainer.errors import ConfigError


class Suite(Enum):
    vid2vid = "vid2vid"
    vit = "vit"
    data = "data"
    all = "all"


@dataclass
class Arguments:
    suite: Suite = Suite.all
    repeats: int = 5  # measured rounds after one that is not
    threads: int = 2
    models: list[str] = field(default_factory=list)  # suite=vit: by Google's names (S/16, B/16); none: as it suits
    batch: int | None = None  # suite=vit: pictures in a step


def lines(arguments: Arguments) -> Iterator[str]:
    """What the chosen suites say."""
    wanted = [Suite.vit, Suite.data, Suite.vid2vid] if arguments.suite is Suite.all else [arguments.suite]
    command = " ".join(["python", "scripts/benchmark.py", *sys.argv[1:]])
    for suite in wanted:
        if suite is Suite.vit:
            from vit.benchmark import step as benchmark

            yield from benchmark.suite(arguments.repeats, arguments.models, arguments.batch, command)
        elif suite is Suite.data:
            from vit.benchmark import data as benchmark_data

            yield from benchmark_data.suite(arguments.repeats, command)
        else:
            from vid2vid.benchmark import step as windows

            yield from windows.suite(arguments.repeats, command)
        yield ""


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    if arguments.repeats < 1 or arguments.threads < 1 or (arguments.batch or 1) < 1:
        raise ConfigError(f"{arguments}: repeats, threads and batch must be at least 1")
    import torch

    torch.set_num_threads(arguments.threads)
    for line in lines(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
