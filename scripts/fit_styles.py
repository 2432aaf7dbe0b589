"""Fit what a trained run's instances can look like: a mixture of Gaussians for each class, into runs/NAME/styles.json.

The run has a feature encoder (model.style_channels=3); all of its training data are looked at. styles.png shows the
components of each class. Needs scikit-learn (the extra styles).

python scripts/fit_styles.py run=runs/styles
python scripts/generate.py run=runs/styles source=street out=street.mp4 seed=1    # and 2, 3, ...
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "fit_styles", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
