"""Train, measure and show variants of a video model alike: one table, one contact sheet, one video. Again: goes on.

python scripts/ablations.py budget=4m seeds=3
python scripts/ablations.py steps=1000 seeds=3 out=runs/ablations_updates
python scripts/ablations.py budget=1h seeds=3 out=runs/ablations_gpu resolution=[128,256]
nice -n 5 python scripts/ablations.py table=modern seeds=3 jobs=2 out=runs/modern
python scripts/ablations.py table=modern seeds=3 out=runs/modern table_only=true
python scripts/ablations.py table=modern variants=[2018,nearest] variant.narrow="model.upsample=nearest model.ngf=16"

table=paper is the paper's ablations; table=modern sets parts that came after it beside the design of 2018, in equal CPU
time: how many updates of each variant fit into it is found beforehand, by training all of them in turn.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "ablations", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True), TASKS["vid2vid"].build)


if __name__ == "__main__":
    main()
