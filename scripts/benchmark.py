"""Measure speed and memory.

python scripts/benchmark.py suite=vid2vid threads=2

suite=vid2vid times one training window beside a loop that runs the same networks frame by frame, as the original does,
in the same process and in turn. Ratios hold on a busy machine, seconds only on a quiet one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import guarded, parse_args
from trainer.errors import ConfigError


class Suite(Enum):
    vid2vid = "vid2vid"
    all = "all"


@dataclass
class Arguments:
    suite: Suite = Suite.all
    repeats: int = 5  # measured rounds after one that is not
    threads: int = 2


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    if arguments.repeats < 1 or arguments.threads < 1:
        raise ConfigError(f"repeats={arguments.repeats} threads={arguments.threads}: both must be at least 1")
    import torch

    from vid2vid import benchmark

    torch.set_num_threads(arguments.threads)
    for line in benchmark.suite(arguments.repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()
