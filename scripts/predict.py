"""Classify or segment pictures: a folder of them, one file, a pattern, or a table or stream that names them.

python scripts/predict.py run=runs/first source=PATH out=predictions.csv
python scripts/predict.py weights=timm:vit_small_patch16_224 source=PATH out=predictions.jsonl top=3
python scripts/predict.py run=runs/first source=sample_submission.csv folder=test suffix=.jpg format=kaggle
python scripts/predict.py run=runs/first source='photos/**/*.jpg' features=true out=vectors.npz
find PATH -name '*.jpg' -print0 | python scripts/predict.py run=runs/first source=-

A segmentation: a class for every pixel, as masks, colours and overlays in a folder; of a video as a video.
python scripts/predict.py run=runs/street source=PATH out=segmented
python scripts/predict.py run=runs/street source=drive.mp4 out=seen.mp4 view=both

Pictures are prepared as the classifier was evaluated. Those that cannot be read are listed in OUT-unreadable.csv.
Interrupted, the same command goes on where it was (not with features=true).
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    command, arguments = parse_command(TASKS, "predict", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
