"""Make a data set of a bare film: its frames, and what is found in each of them.

python scripts/prepare.py people source=friend.mp4 out=data/friend            # landmarks, mattes (make people-tools)
python scripts/prepare.py people source=films out=data/friend fps=25 height=256 seconds=120
python scripts/prepare.py labels source=street.mp4 out=data/street model=segformer      # or deeplabv3_resnet50_coco.pth
python scripts/prepare.py depth source=street.mp4 out=data/street model=depth-anything
python scripts/prepare.py edges source=street.mp4 out=data/street

Films are split at cuts. Frames are in images/, what is made of them in landmarks/, mattes/, labels/, depth/, edges/,
of the same names; look at contact_sheet.png. The same command goes on where it was ended; another kind adds to it.
Keys of data=video may follow: data.cut_threshold=null, data.on_bad_file=skip, data.edge_low=30.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "prepare", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
