"""Train all combinations of values on the cards of this machine, one run on each card; the same command goes on.

python scripts/sweep.py model=vit_ti16 seed=0,1,2 optim.main.lr=1e-3,3e-4 name=rates
python scripts/sweep.py model=vit_mu seed=0,1 name=two jobs=2 trainer.device=cpu

What can be swept is what python train.py -m sweeps, and runs are where it puts them: runs/NAME/seed=0, ...
What each says is in its console.txt. One that fails stops none of the others. SIGTERM or Ctrl-C stops all of them with
checkpoints. At the end all runs are beside each other, as scripts/compare.py shows them.

arguments
  key=value                     for train.py; values with commas are swept
  gpus=0,1,3                    cards, as CUDA_VISIBLE_DEVICES names them; without it all that are visible
  jobs=N                        runs at once; without it one for each card, or one where there is none

exit codes: 0 all runs are done; 75 asked to stop, or a run was; 1 some failed; 2 a mistake that the message tells
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import os
import shutil
import sys
from pathlib import Path

from train import SCHEMAS
from trainer.cli import compose, guarded
from trainer.errors import ConfigError
from trainer.parallel.sweep import Sweep, combinations
from trainer.parallel.sweep_board import Board, counts, told
from trainer.preempt import STOPPED
from trainer.records.compare import end_of_sweep


@guarded
def main() -> None:
    words = sys.argv[1:]
    if not words or {"-h", "--help"} & set(words):
        print(f"usage of scripts/sweep.py: {(__doc__ or '').strip()}")
        return
    own = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith(("jobs=", "gpus="))}
    config: list = []

    def folder_of(first: list[str]) -> Path:
        config.append(compose(first, SCHEMAS))  # a mistake in all of them is told before any is started
        return Path("runs", config[0].name)

    runs = combinations([word for word in words if word.partition("=")[0] not in own], SCHEMAS, folder_of)
    on_cpu = config[0].trainer.device.name == "cpu"
    cards = [] if on_cpu and "gpus" not in own else _cards(own.get("gpus"))
    jobs = own.get("jobs", str(max(len(cards), 1)))
    if not jobs.isdecimal() or int(jobs) < 1:
        raise ConfigError(f"jobs={jobs}: how many runs at once, such as jobs=2")
    board = Board(sys.stdout)
    print(f"{len(runs)} runs, {jobs} at once, cards: {', '.join(cards) or 'none'}; {runs[0].folder.parent}", flush=True)
    stopped = Sweep(runs, cards, int(jobs), board).run()
    if stopped:
        print("the sweep is stopped; the same command goes on with it")
        sys.exit(STOPPED)
    end_of_sweep(
        Path("runs", config[0].name), config[0].logger.curves, sys.stdout.write, shutil.get_terminal_size().columns
    )
    for run in runs:
        if run.state != "done":
            print(told(run))
    print(counts(runs))
    states = {run.state for run in runs}
    sys.exit(1 if "failed" in states else STOPPED if "stopped" in states else 0)


def _cards(given: str | None) -> list[str]:
    if given is not None:
        cards = [card.strip() for card in given.strip("[]").split(",")]
        if not all(cards) or len(set(cards)) < len(cards):
            raise ConfigError(f"gpus={given}: cards as CUDA_VISIBLE_DEVICES names them, each once, such as gpus=0,1")
        return cards
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    import torch

    count = torch.cuda.device_count()
    return visible.split(",")[:count] if visible is not None else [str(number) for number in range(count)]


if __name__ == "__main__":
    main()
