"""Put runs beside each other: one table of what differs and what came out, one picture of their curves.

python scripts/compare.py runs/first runs/second
python scripts/compare.py runs/SWEEP
python scripts/compare.py runs/SWEEP runs/first out=comparison

arguments
  runs, or folders of runs (a sweep's); any number of them
  out=FOLDER                    where compare.csv and compare.png go; without it the folder that all runs share
"""

from __future__ import annotations

import _setup  # noqa: F401  # first: passive OpenMP threads, the repository on the path

import os
import shutil
import sys
from pathlib import Path

from trainer.cli import guarded
from trainer.errors import ConfigError
from trainer.records.compare import as_text, find_runs, table, write


@guarded
def main() -> None:
    words = sys.argv[1:]
    if not words or {"-h", "--help"} & set(words):
        print(f"usage of scripts/compare.py: {(__doc__ or '').strip()}")
        return
    outs = [word.partition("=")[2] for word in words if word.startswith("out=")]
    paths = [word for word in words if not word.startswith("out=")]
    flags = [word for word in paths if word.startswith("-")]
    if flags or len(outs) > 1:
        raise ConfigError(f"{flags[0] if flags else 'out= twice'}: give runs, and perhaps out=FOLDER once (--help)")
    runs = find_runs([word.removeprefix("run=") for word in paths], print)
    folder = Path(outs[0]) if outs else Path(os.path.commonpath([run.path.resolve().parent for run in runs]))
    print(as_text(table(runs), shutil.get_terminal_size((120, 24)).columns))
    print("written: " + ", ".join(os.path.relpath(path) for path in write(runs, folder)))


if __name__ == "__main__":
    main()
