"""Measure speed and memory.

python scripts/benchmark.py suite=vit threads=2 repeats=15
python scripts/benchmark.py suite=vit models=[B/16] batch=8
python scripts/benchmark.py suite=data
python scripts/benchmark.py suite=analysis
python scripts/benchmark.py suite=vid2vid threads=2
python scripts/benchmark.py suite=drawing
python scripts/benchmark.py suite=vid2vid_export
python scripts/benchmark.py suite=generate threads=2
python scripts/benchmark.py suite=vid2vid_layers threads=1

suite=vit times one training step beside timm's, suite=vid2vid one training window beside a loop that runs the same
networks frame by frame, as the original does: in the same process and in turn. Ratios hold on a busy machine, seconds
only on a quiet one. suite=vid2vid_export times generation in ONNX Runtime beside torch, suite=vid2vid_layers the
generator's kinds of layers (model.block, upsample, downsample) beside each other. suite=generate times frames of videos
as generate.py makes them, from labels to an mp4: median, 99th percentile, memory. suite=drawing times how landmarks and
edges are drawn, on one core. suite=data times decoding, cropping and flipping of JPEGs, and how long an
epoch waits for them. suite=analysis times an experiment beside the bare forward passes that it needs.
"""

# pyright: reportInvalidTypeForm=false
# The choices come from the table of tasks, when this runs.

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from train import TASKS
from trainer.cli import guarded
from trainer.config.arguments import parse_args
from trainer.errors import ConfigError
from trainer.task_table import having

MEASURED = [module for _, module in having(TASKS, "benchmark")]
SUITES = {name: run for module in MEASURED for name, run in module.SUITES.items()}
ALL = [name for module in reversed(MEASURED) for name in module.SUITES]  # the newest task first
Suite: Any = Enum("Suite", {name: name for name in (*SUITES, "all")})


@dataclass
class Arguments:
    suite: Suite = Suite["all"]
    repeats: int = 5  # measured rounds after one that is not
    threads: int = 2
    models: list[str] = field(default_factory=list)  # suite=vit: by Google's names (S/16, B/16); none: as it suits
    batch: int | None = None  # suite=vit: pictures in a step; suite=analysis: at a time


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    if arguments.repeats < 1 or arguments.threads < 1 or (arguments.batch or 1) < 1:
        raise ConfigError(f"{arguments}: repeats, threads and batch must be at least 1")
    import torch

    torch.set_num_threads(arguments.threads)
    command = " ".join(["python", "scripts/benchmark.py", *sys.argv[1:]])
    for name in ALL if arguments.suite.name == "all" else [arguments.suite.name]:
        for line in SUITES[name](arguments, command):
            print(line, flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
