"""Train, measure and show the paper's ablations on the built-in street: one table, one video. Again: goes on.

python scripts/ablations.py budget=4m seeds=3
python scripts/ablations.py steps=1000 seeds=3 out=runs/ablations_updates
python scripts/ablations.py budget=1h seeds=3 out=runs/ablations_gpu resolution=[128,256]
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "ablations", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
