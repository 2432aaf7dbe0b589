"""A blind A/B page of two runs' videos (or of any videos), and what people's votes on it say.

python scripts/ab_sheet.py a=runs/demo b=runs/demo_frames out=runs/ab
python scripts/ab_sheet.py a=videos/ours b=videos/theirs out=runs/ab serve=true     # keeps the votes itself
python scripts/ab_sheet.py votes=votes.json key=runs/ab-key.json

Order and sides are drawn by seed=N; which side is whose stands in OUT-key.json, beside the folder OUT that voters get.
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import logging

from train import SCHEMAS, TASKS
from trainer.cli import guarded, parse_command


@guarded
def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    command, arguments = parse_command(TASKS, "ab_sheet", __doc__ or "")
    command.run(arguments, SCHEMAS, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
