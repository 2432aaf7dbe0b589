"""``python -m tests.faults``: every fault of the catalogue in full, and docs/reliability.md out of what came.

Interrupted, the same command goes on, and ``--write`` writes what is counted so far. With other sources (trainer/,
vit/, vid2vid/, the tests) it begins anew. A trial that lost something leaves its folder and its log, and the command
that does it again. Of faults that were chosen (``--only``) the rows in the record are replaced, the others stay.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.faults.catalogue import Fault, faults
from tests.faults.report import Row, read_record, rows_of, write_record
from tests.faults.running import Progress, Trial, digest, run_trials, trials
from tests.helpers.paths import ROOT
from tests.helpers.small_runs import DEVICE
from trainer.data.workers import usable_cores
from trainer.files import take_lock


def main() -> int:
    """Returns the exit code: 1 where something was lost."""
    options = _options()
    known = faults()
    chosen = [fault for fault in known if not options.only or fault.name in options.only]
    if options.device == "cuda":
        os.environ[DEVICE] = options.device
        chosen = [fault for fault in chosen if fault.on_a_card]
    if options.list:
        for fault in chosen:
            print(f"{fault.times:5d} x {len(fault.models)}  {fault.name}")
        return 0
    wrong = [name for name in options.only if name not in {fault.name for fault in known}]
    if wrong or not chosen:
        print(f"no fault is called {', '.join(wrong) or 'anything'}: see --list", file=sys.stderr)
        return 2
    folder = Path(options.folder or ROOT / "runs" / ("faults" if options.device == "cpu" else "faults_cuda")).resolve()
    if options.anew:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lock = os.open(folder, os.O_RDONLY)
    if not take_lock(lock, wait=False):
        print(f"another python -m tests.faults works in {folder}: wait, or give --folder", file=sys.stderr)
        return 2
    progress = Progress(folder, digest())
    asked = trials(chosen, options.model, options.number, options.most)
    if options.write:
        _record(chosen, known, list(progress.done.values()))
        return 0
    todo = [trial for trial in asked if options.number is not None or not progress.went_well(trial)]
    print(f"{len(asked)} trials of {len(chosen)} faults, {len(todo)} to do, in {folder}", flush=True)
    try:
        _try_all(todo, folder, options.processes, progress)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return 130
    done = [progress.done[trial.key] for trial in asked]
    lost = [trial for trial in done if trial.error]
    for trial in lost:
        print(f"LOST {trial.error}\n  again: {trial.command}\n  see: {folder / trial.folder}, .log")
    if options.number is None and options.model is None and options.most is None:
        _record(chosen, known, done)
    print(f"{len(done) - len(lost)} of {len(done)} survived")
    return 1 if lost else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this fault; may be given again")
    parser.add_argument("--model", help="on this model only; the record stays as it is")
    parser.add_argument("--number", type=int, help="this trial only, again; the record stays as it is")
    parser.add_argument("--most", type=int, help="at most so many trials of each fault; the record stays as it is")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="default %(default)s")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="trials at once (default %(default)s)")
    parser.add_argument("--folder", help="default runs/faults, runs/faults_cuda")
    parser.add_argument("--anew", action="store_true", help="forget what is done")
    parser.add_argument("--write", action="store_true", help="no trials: the record of those that are done so far")
    parser.add_argument("--list", action="store_true", help="the faults and how often they are tried")
    return parser.parse_args()


def _try_all(todo: list[Trial], folder: Path, processes: int, progress: Progress) -> None:
    began, wide = time.monotonic(), sys.stdout.isatty()
    for count, trial in enumerate(run_trials(todo, folder, processes), start=1):
        progress.add(trial)
        left = (time.monotonic() - began) / count * (len(todo) - count)
        lost = sum(1 for done in progress.done.values() if done.error)
        line = f"{count}/{len(todo)}, {lost} lost, {left / 60:.0f} min left: {trial.fault} {trial.model} {trial.number}"
        if trial.error:
            print(("\r\x1b[K" if wide else "") + f"LOST {trial.command}: {trial.error}", flush=True)
        elif wide:
            print(f"\r\x1b[K{line[:110]}", end="", flush=True)
        elif count % 20 == 0 or count == len(todo):
            print(line, flush=True)
    if wide:
        print()


def _record(chosen: list[Fault], known: list[Fault], done: list[Trial]) -> None:
    rows: list[Row] = rows_of(chosen, done)
    fresh = {row.key: row for row in rows}
    before = {row.key: row for row in read_record()}
    every = [(device, fault.name, model) for device in ("cpu", "cuda") for fault in known for model in fault.models]
    write_record([found for key in every if (found := fresh.get(key) or before.get(key))])


if __name__ == "__main__":
    sys.exit(main())
