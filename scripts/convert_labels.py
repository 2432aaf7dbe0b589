"""Convert the label maps of a data set to PNGs of ids, once and in parallel: colours, red channels, ids to be changed.

python scripts/convert_labels.py src=cvat/SegmentationClass dst=cvat/labels
python scripts/convert_labels.py src=carla/semantic dst=carla/labels label_format=red_channel
python scripts/convert_labels.py src=step/panoptic_maps dst=step/labels instances=step/instances label_map=255:19
python scripts/convert_labels.py src=masks dst=labels label_format=colors:table.csv nearest=true

Then train with data=folders data.root=PATH data.labels_dir=labels. Training reads all these forms itself
(data.label_format, data.label_map); converted maps are smaller and read faster. Exit code 0 when every file was
converted, 2 when some were not.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trainer.cli import guarded
from trainer.config.arguments import parse_args
from trainer.records.progress import followed


@dataclass
class Arguments:
    src: str  # folder of label maps, of sequences or flat
    dst: str  # folder to write to; its folders are named as those of src
    label_format: str = "auto"  # auto, ids, red_channel, colors:FILE, colors:cityscapes|camvid|voc
    label_map: str | None = None  # ids to change: OLD:NEW,... (*:NEW for all others) or a file of pairs
    suffix: str | None = None  # only names with this end before the extension count, such as _mask; they lose it
    instances: str | None = None  # folder for instance maps, where label maps have instances beside the class
    nearest: bool = False  # colours in no table become the nearest one
    unknown: int | None = None  # id of colours in no table
    workers: int = os.cpu_count() or 2  # files at a time


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    import torch

    from vid2vid.data.labels.convert import Job, convert_labels, format_converted

    torch.set_num_threads(1)  # the threads that read share the cores
    job = Job(
        Path(arguments.src),
        Path(arguments.dst),
        arguments.label_format,
        arguments.label_map,
        arguments.suffix,
        None if arguments.instances is None else Path(arguments.instances),
        arguments.nearest,
        arguments.unknown,
    )
    result = convert_labels(job, arguments.workers, partial(followed, unit="file"))
    for line in format_converted(result, job):
        print(line)
    sys.exit(0 if result.whole else 2)


if __name__ == "__main__":
    main()
