"""Write a trained classifier as a file that runs without this package, and check it against the model.

python scripts/export.py run=runs/digits out=digits.onnx
python scripts/export.py run=runs/digits out=digits.pt2 format=torch_export batch=1
python scripts/export.py weights=vit.npz out=vit.onnx normalise=true

The file is for one picture size (resolution=[H,W] another than the run's). With normalise=true it takes bytes 0..255,
else pictures normalised as described in OUT.json beside it. Its logits are compared with the model's on random
pictures; a difference above 1e-4 is an error, and no file is left.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from enum import Enum

from omegaconf import MISSING

from trainer.cli import guarded, parse_args
from trainer.errors import ConfigError


class Format(Enum):
    onnx = "onnx"
    torch_export = "torch_export"


_ABOUT = ("weights", "interpolation", "crop", "crop_ratio", "fill", "floor", "span", "answers")


@dataclass
class Arguments:
    out: str = MISSING  # file to write: NAME.onnx or NAME.pt2
    run: str | None = None  # run directory, such as runs/digits; its averaged weights where it has them
    weights: str | None = None  # instead of a run: a weights file, or timm:NAME
    name: str | None = None  # timm's name of the model in the weights file; null: a plain ViT
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    format: Format = Format.onnx  # onnx needs the packages of the extra `export`
    batch: str = "dynamic"  # number of pictures at a time; dynamic: any
    normalise: bool = False  # bytes in: normalisation becomes part of the graph
    resolution: list[int] | None = None  # [H,W] of the pictures; null: the run's, or the file's
    mean: list[float] | None = None  # of a ViT's input, 0..1, one or one per channel; null: as the file tells
    std: list[float] | None = None  # likewise


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    if (arguments.run is None) == (arguments.weights is None):
        raise ConfigError("give one of run=DIRECTORY and weights=FILE|timm:NAME")
    batch = None if arguments.batch == "dynamic" else int(arguments.batch) if arguments.batch.isdigit() else 0
    if batch == 0:
        raise ConfigError(f"batch={arguments.batch}: must be a number of pictures of at least 1, or dynamic")
    size = arguments.resolution
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ConfigError(f"resolution={size}: needs [H,W] in pixels")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)

    from vit import export
    from vit.preprocessing import given_statistics
    from vit.trained import load_run_model, load_weights_model

    if arguments.run is not None:
        model, config, meta = load_run_model(arguments.run, arguments.checkpoint)
        native = config.resolution
    else:
        model, meta = load_weights_model(str(arguments.weights), arguments.name, (size[0], size[1]) if size else None)
        native = meta["resolution"]
    print(f"weights of {meta['weights']}")
    for line in meta.get("notes", ()):
        print(line)
    height, width = size or native
    channels = len(meta["mean"])
    mean = given_statistics(meta["mean"], arguments.mean, channels, "mean") or ()
    std = given_statistics(meta["std"], arguments.std, channels, "std") or ()
    written = export.export_model(
        model,
        arguments.out,
        export.Format[arguments.format.name],
        size=(height, width),
        mean=mean,
        std=std,
        classes=meta["classes"],
        batch=batch,
        normalise=arguments.normalise,
        about={key: meta.get(key) for key in _ABOUT},
    )
    for line in written.lines():
        print(line)


if __name__ == "__main__":
    main()
