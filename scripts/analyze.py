"""Ask a classifier, or several side by side, what they see: the experiments of robustness and interpretation.

python scripts/analyze.py analysis=shuffle run=runs/first
python scripts/analyze.py analysis=shuffle weights=timm:deit_small_patch16_224 data=imagefolder data.root=PATH
python scripts/analyze.py analysis=shuffle run=runs/vit compare=[cnn=runs/resnet] samples=1000
python scripts/analyze.py analysis=shuffle --help          the arguments of one experiment

Writes analysis.json, a table and charts. What was computed once is not computed again: the same command goes on after
an interruption, and adds what was not asked for before.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "analyze", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
