"""Train a small segmenter on real frames of a video model's data: evaluate.py reads generated frames with it.

python scripts/train_segmenter.py run=runs/demo out=runs/street.safetensors
python scripts/train_segmenter.py data=folders data.root=PATH resolution=[256,512] out=segmenter.safetensors steps=4000
python scripts/evaluate.py run=runs/demo segmenter=runs/street.safetensors

Its own mIoU on held-out real frames is kept in the file and stands beside every figure that is measured with it. The
same command goes on with a training that was interrupted.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "train_segmenter", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
