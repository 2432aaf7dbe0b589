"""Generate long videos and measure every frame: sharpness, colour and warping error over time, in constant memory.

python scripts/drift.py run=runs/demo
python scripts/drift.py run=runs/demo frames=2000 clips=4 out=runs/demo/drift
python scripts/drift.py run=runs/city source=data/labels frames=500 reference=50
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "drift", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
