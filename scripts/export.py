"""Write a trained model as a file that runs without this package, or as a folder with a card, for Python.

python scripts/export.py run=runs/digits out=digits.onnx
python scripts/export.py run=runs/digits out=digits.pt2 format=torch_export batch=1
python scripts/export.py weights=vit.npz out=vit.onnx normalise=true
python scripts/export.py run=runs/digits out=exported/digits format=folder licence=Apache-2.0
python scripts/export.py run=runs/demo out=street.onnx
python scripts/export.py run=runs/demo out=street.onnx size=dynamic batch=dynamic

A classifier's file is for one picture size (resolution=[H,W] another than the run's). With normalise=true it takes
bytes 0..255, else pictures normalised as described in OUT.json beside it. Its logits are compared with the model's on
random pictures; a difference above 1e-4 is an error, and no file is left.

A generator's file makes the next frame of ids and past frames; OUT.json tells what goes in and comes out. It is played
for 6 frames in a loop beside the model; a difference above 0.002 in frames of -1..1 is an error, and no file is left.
docs/play.py plays it (docs/deploying.md).

A folder (format=folder) has weights, settings and README.md, a model card. vit.load and vid2vid.load read it
(docs/python.md), timm and transformers those of classifiers. It is loaded again in every way and compared.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    command, arguments = parse_command(TASKS, "export", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
