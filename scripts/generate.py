"""Generate a video with a trained run, frame by frame, in constant memory.

python scripts/generate.py run=runs/demo source=street out=street.mp4 compare=true
python scripts/generate.py run=runs/demo source=data/labels out=tree_city.mp4 remap=11:21
python scripts/generate.py run=runs/sketch source=walk.mp4 out=walk.mp4 first_frame=image image=style.png
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "generate", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
