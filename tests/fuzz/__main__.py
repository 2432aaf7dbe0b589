"""``python -m tests.fuzz``: 20,000 cases for every reader by each engine, counted in docs/fuzzing.json.

A reader's cases run in a process of their own; where it dies or hangs, the file that it was reading is kept and another
process goes on. Cases that did something wrong come to runs/fuzz/READER-ENGINE/. Once their fault is mended they belong
into tests/fuzz/corpus/, which every test run reads again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.engine import folder_of, readers
from tests.fuzz.reader import Reader
from tests.helpers.paths import ROOT

RECORD = ROOT / "docs" / "fuzzing.json"
ENGINES = ("hypothesis", "atheris")
STILL_S = 240.0  # a process that tells of no case for so long hangs
DEATHS = 20  # after so many a reader is given up


@dataclass(frozen=True)
class Count:
    """What came of one reader and engine."""

    reader: str
    engine: str
    cases: int
    accepted: int
    faults: int
    seconds: float
    date: str


def main() -> int:
    """Returns the exit code: 1 where a reader did something wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this reader; may be given again")
    parser.add_argument("--engine", choices=ENGINES, action="append", default=[], help="default: both")
    parser.add_argument("--cases", type=int, default=20_000, help="for each reader and engine (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", default=str(ROOT / "runs" / "fuzz"))
    parser.add_argument("--record", action="store_true", help="replace the rows of docs/fuzzing.json")
    options = parser.parse_args()
    known = {reader.name: reader for reader in readers()}
    if wrong := [name for name in options.only if name not in known]:
        print(f"no reader is called {', '.join(wrong)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    todo = [(known[name], engine) for name in options.only or known for engine in options.engine or ENGINES]
    began, counts = time.monotonic(), list[Count]()
    with ThreadPoolExecutor(options.processes) as pool:
        jobs = [pool.submit(fuzz, *one, options.cases, options.seed, Path(options.folder)) for one in todo]
        for job in jobs:
            count = job.result()
            counts.append(count)
            left = (time.monotonic() - began) / len(counts) * (len(jobs) - len(counts))
            print(
                f"{count.reader} ({count.engine}): {count.cases} cases, {count.accepted} read, {count.faults} faults, "
                f"{count.seconds:.0f} s; {left / 60:.0f} min left",
                flush=True,
            )
    if options.record:
        record(counts)
    return 1 if any(count.faults for count in counts) else 0


def fuzz(reader: Reader, engine: str, cases: int, seed: int, folder: Path) -> Count:
    """All cases of a reader, in as many processes as it takes."""
    out = folder / f"{folder_of(reader).name}-{engine}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    began, tried, accepted, deaths = time.monotonic(), 0, 0, 0
    while tried < cases and deaths < DEATHS:
        ended = _process(reader, engine, cases - tried, seed + 1000 * deaths, out)
        told = _told(out)
        tried, accepted = tried + told["tried"], accepted + told["accepted"]
        if ended == 0:
            if told["tried"] == 0:
                break
            continue
        deaths += 1
        last = max(out.glob(f"tmp*/{reader.file}"), key=lambda path: path.stat().st_mtime, default=None)
        place = out / f"death-{deaths:02}{Path(reader.file).suffix}"
        if last is not None:
            shutil.copy(last, place)
        place.with_suffix(".fault").write_text(f"{'it hung' if ended is None else f'the process ended with {ended}'}\n")
    for scratch in out.glob("tmp*"):
        shutil.rmtree(scratch, ignore_errors=True)
    today = datetime.date.today().isoformat()
    return Count(reader.name, engine, tried, accepted, len(list(out.glob("*.fault"))), time.monotonic() - began, today)


def _told(out: Path) -> dict[str, int]:
    state = out / "state.json"
    told = json.loads(state.read_text()) if state.is_file() else {"tried": 0, "accepted": 0}
    state.unlink(missing_ok=True)
    return told


def _process(reader: Reader, engine: str, cases: int, seed: int, out: Path) -> int | None:
    """One process to its end: how it ended; None where it hung and was killed."""
    words = [sys.executable, "-m", "tests.fuzz.engine", engine, reader.name, str(cases), str(seed), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with (out / "log").open("ab") as log:
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        seen, since = -1.0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.2)
            state = out / "state.json"
            changed = state.stat().st_mtime if state.is_file() else 0.0
            if changed != seen:
                seen, since = changed, time.monotonic()
            if time.monotonic() - since > STILL_S:
                process.send_signal(signal.SIGUSR1)  # it writes where it is into the log
                time.sleep(5)
                process.kill()
                process.wait()
                return None
        return process.returncode


def record(counts: list[Count]) -> None:
    """Puts the counts in the place of those of the same reader and engine."""
    rows = json.loads(RECORD.read_text()) if RECORD.is_file() else []
    found = {(row["reader"], row["engine"]): row for row in rows}
    found |= {(count.reader, count.engine): {**asdict(count), "seconds": round(count.seconds)} for count in counts}
    order = [(reader.name, engine) for reader in readers() for engine in ENGINES]
    RECORD.write_text(json.dumps([found[key] for key in order if key in found], indent=1) + "\n")
    # docs/reliability.md has the counts
    subprocess.run([sys.executable, "-m", "tests.faults.report"], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
