"""Read a data set once: counts, sizes, what was skipped, files that cannot be used; writes a contact sheet.

python scripts/check_data.py data=imagefolder data.root=PATH
python scripts/check_data.py data=digits
python scripts/check_data.py data=imagenet data.root=PATH most=2000
python scripts/check_data.py data=masks data.root=PATH data.num_classes=3
python scripts/check_data.py data=folders data.root=../shared/samples/street data.labels_dir=seg_maps
python scripts/check_data.py data=video data.root=clips/
python scripts/check_data.py experiment=vid2vid/footage data.root=PATH
python scripts/check_data.py data=folders data.root=PATH data.flow=raft data.flow_weights=raft_large.pth flow=true

Whose data these are follows from data=NAME, or from model=NAME or experiment=NAME where that is given. Exit code 0
when every frame or picture can be used, 2 when some cannot.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging
import sys
from dataclasses import dataclass, field

from train import SCHEMAS, TASKS
from trainer.cli import compose, guarded
from trainer.config.arguments import parse_args
from trainer.data.checking import check_sheet_path
from trainer.task_table import module_of, task_with_data


@dataclass
class Arguments:
    out: str = "runs/check_data.png"  # contact sheet; of a classifier's data one per split: check_data_val.png, ...
    most: int | None = None  # classifier: decode so many pictures of each split, spread evenly; all by default
    flow: bool = False  # also compute the reference flow of all stages into data.flow_cache, on the GPU if there is one
    experiment: str | None = None  # recipe of configs/experiment that the data are for
    overrides: list[str] = field(default_factory=list)


@guarded
def main() -> None:
    arguments = parse_args(Arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    words = arguments.overrides
    if arguments.experiment is not None:
        words = [f"experiment={arguments.experiment}", *words]
    elif not any(word.startswith("model=") for word in words):
        names = [word.partition("=")[2] for word in words if word.startswith("data=")]
        words = [f"model={task_with_data(TASKS, names[-1] if names else None).model}", *words]
    config = compose(words, SCHEMAS)
    check = module_of(TASKS, config.task, "check_data")
    check_sheet_path(arguments.out)

    import torch

    torch.set_num_threads(1)  # the threads that read share the cores
    sys.exit(0 if check.run(config, arguments, print) else 2)


if __name__ == "__main__":
    main()
