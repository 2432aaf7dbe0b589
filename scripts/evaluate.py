"""Measure a trained run on held-out clips, generated freely, beside the real video; writes runs/NAME/eval.json.

python scripts/evaluate.py run=runs/demo
python scripts/evaluate.py run=runs/demo data=folders data.root=data/cityscapes split=test clips=20
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve each other
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer.cli import guarded, load_run, parse_args
from vid2vid.config import FirstFrame, Vid2VidConfig


class Split(Enum):
    val = "val"
    test = "test"
    train = "train"


@dataclass
class Arguments:
    run: str  # run directory, such as runs/demo
    split: Split = Split.val  # which part of the data
    clips: int | None = None  # at most so many; null: all
    frames: int | None = None  # length of a clip; null: data.val_frames
    first_frame: FirstFrame | None = None  # what stands before the first frame; null: as the run was trained
    checkpoint: str | None = None  # name of one of the run's checkpoints, or a path; null: the newest
    inception_weights: str | None = None  # file for FID: pt_inception-2015-12-05-6726825d.pth
    lpips_weights: str | None = None  # file for LPIPS: torchvision's alexnet-owt-7be5be79.pth
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    config: Vid2VidConfig = load_run(arguments.run, {"vid2vid": Vid2VidConfig}, arguments.overrides)

    from tqdm import tqdm

    from vid2vid.image_metrics import build_image_metrics
    from vid2vid.loading import load_generator
    from vid2vid.report import evaluate_run, format_table, write_eval

    asked = config.resolution if any(word.startswith("resolution=") for word in arguments.overrides) else None
    run = load_generator(config, Path(arguments.run), arguments.checkpoint, asked)
    print(run.weights_line)
    image_metrics, absent = build_image_metrics(arguments.inception_weights, arguments.lpips_weights, run.device)
    result = evaluate_run(
        run,
        split=arguments.split.value,
        clips=arguments.clips,
        frames=arguments.frames,
        first_frame=arguments.first_frame,
        image_metrics=image_metrics,
        wrap=lambda loader: tqdm(loader, unit="clip", disable=not sys.stderr.isatty()),
    )
    path = write_eval(Path(arguments.run), result, run)
    print(format_table(result))
    for line in absent:
        print(line)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
