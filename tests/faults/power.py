"""The power fails: of what was not flushed anything may be missing; the run goes on from what was reported as saved.

Every file operation of a run is a moment at which that may happen, and six states of the disk are built for each
(tests/helpers/crash_states.py). In all of them the newest checkpoint must be one that was reported as saved or a later
one, byte for byte; a share of them is resumed to the end.
"""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path

from tests.faults.catalogue import BOTH, Fault
from tests.faults.undisturbed import shared, undisturbed
from tests.helpers.crash_states import KINDS, Node, Trace
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.killed_runs import Plan, run_to_end
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.resuming import choose

TRIALS = 40


@cache
def traced(model: str) -> Trace:
    """An undisturbed run's."""

    def make() -> Trace:
        with tempfile.TemporaryDirectory() as folder:
            (parent := Path(folder) / "runs").mkdir()
            trace = Path(folder) / "trace"
            ended = run_to_end(parent / "run", model, plan=Plan(trace=str(trace)))
            assert ended.code == 0, ended.output[-2000:]
            return Trace.load(trace)

    return shared(f"{model}-trace", make)


def saved(trace: Trace) -> list[dict[str, bytes]]:
    """The files of every checkpoint that was reported as saved, as they were then; in the order of the reports."""
    found: list[dict[str, bytes]] = []

    def files(moment: int, node: Node, path: str) -> dict[str, bytes]:
        at = trace.moments[moment]
        if node in at.contents:
            return {path: trace.data[at.contents[node]]}
        children = at.names[node].items()
        return {k: v for name, child in children for k, v in files(moment, child, f"{path}/{name}".lstrip("/")).items()}

    for number, moment in enumerate(trace.moments):
        if moment.promises > len(found):
            node = trace.root
            for name in ("run", "checkpoints", f"step-{trace.promises[len(found)]:08d}"):
                node = moment.names[node][name]
            found.append(files(number, node, ""))
    assert len(found) == len(trace.promises)
    return found


def power_fails(folder: Path, model: str, number: int) -> None:
    """Every 40th moment of the run, in all states; one of them to the end."""
    trace = traced(model)
    moments = range(number % TRIALS, len(trace.moments), TRIALS)
    chance = random.Random(number)
    to_the_end = chance.choice([(moment, kind) for moment in moments for kind in KINDS])
    known = saved(trace)
    assert len(known) >= 6 and len(moments) >= 5
    for moment in moments:
        for kind in KINDS:
            state = folder / f"{moment}-{kind.replace(' ', '-')}"
            trace.build(moment, kind, state, random.Random(f"{number} {moment} {kind}"))
            again = (moment, kind) == to_the_end
            if again:
                trace.build(moment, kind, folder / "again", random.Random(f"{number} {moment} {kind}"))
            _check(state / "run", trace, moment, known)
            if again:
                ended = run_to_end(folder / "again" / "run", model)
                assert ended.code == 0, ended.output[-2000:]
                assert_same(undisturbed(model)[0], outcome(folder / "again" / "run"))


def _check(run_dir: Path, trace: Trace, moment: int, known: list[dict[str, bytes]]) -> None:
    """What a resumed run finds is no older than the last checkpoint that was reported as saved, and as it was then."""
    promises, before = trace.moments[moment].promises, trace.moments[moment].before
    path = choose(Checkpoints(run_dir), "auto")[0]
    if path is None:
        assert promises == 0, f"{run_dir}: {promises} checkpoints were saved, none is found (crash before {before})"
        return
    files = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    step = int(path.name[5:].split(".")[0])
    same = [
        i
        for i, (at, content) in enumerate(zip(trace.promises, known, strict=True), 1)
        if (at, content) == (step, files)
    ]
    assert same and same[0] >= promises, (
        f"{run_dir}: {path.name} is number {same} of {promises} (crash before {before})"
    )


FAULTS = [
    Fault(
        "power failure at any file operation",
        power_fails,
        BOTH,
        "the same command goes on from the last checkpoint that was reported as saved, or a later one",
        times=TRIALS,
        on_a_card=False,
    )
]
