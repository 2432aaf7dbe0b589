"""Redraw pictures in the style of others: a data set, a picture, or a film, steadily from frame to frame.

python train.py experiment=vit/stylizer name=stylizer                                       # once, minutes
python scripts/stylize.py run=runs/stylizer content=DATASET style=PAINTINGS out=STYLISED
python scripts/stylize.py run=runs/stylizer content=film.mp4 style=painting.jpg out=stylised.mp4
python scripts/stylize.py encoder=vgg_normalised.pth decoders=decoder.pth content=a.jpg style=b.jpg out=c.png
python scripts/stylize.py run=runs/stylizer data=shapes data.shapes_samples=2000 style=PAINTINGS out=STYLISED
python train.py model=vit_ti16 data=imagefolder data.root=STYLISED

Copies keep names, folders and so labels. Which style a picture got is in OUT-styles.csv, some of them are beside each
other in OUT-sheet.png. Interrupted, the same command goes on where it was.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    command, arguments = parse_command(TASKS, "stylize", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
