"""Measure a trained run on held-out data; writes runs/NAME/eval.json (and, of a classifier, tables and pictures).

Of a video model, anything but the run's own validation clips goes to a file of its own: eval-SPLIT-....json.

A classifier: accuracy, calibration and a table per class; on request what its frozen features are worth.
python scripts/evaluate.py run=runs/first
python scripts/evaluate.py run=runs/first data=digits fewshot=1,5,10,25 knn=20 probe=true
python scripts/evaluate.py weights=timm:vit_base_patch16_224 data=imagenet data.root=PATH
python scripts/evaluate.py weights=FILE|FOLDER data=imagefolder data.root=PATH   # name=resnet50: of timm, not told

A segmentation: IoU of each class and their mean, of one confusion matrix over all pictures.
python scripts/evaluate.py run=runs/street
python scripts/evaluate.py run=runs/cities inference.mode=slide data.root=PATH

A video model: clips generated freely, beside the real video.
python scripts/evaluate.py run=runs/demo
python scripts/evaluate.py run=runs/demo data=folders data.root=data/cityscapes split=test clips=20
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "evaluate", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
