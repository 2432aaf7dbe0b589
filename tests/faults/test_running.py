"""The runner goes on after a trial that failed, died or hangs, keeps what it left, and does nothing twice."""

import os
import time
from pathlib import Path

from tests.faults import catalogue
from tests.faults.catalogue import Fault
from tests.faults.running import Progress, Trial, run_trials, trials


def trial(folder: Path, model: str, number: int) -> None:
    (folder / "file").write_text("left")
    print("told")
    if number == 1:
        raise ValueError("lost\nmore")
    if number == 2:
        os._exit(1)
    if number == 3:
        time.sleep(1000)


def made_up() -> list[Fault]:
    return [Fault("made, up", trial, ("",), "nothing", times=5)]


def test_trials_that_fail_die_or_hang(tmp_path: Path) -> None:
    done = {t.number: t.error for t in run_trials(trials(made_up()), tmp_path, 2, limit_s=3.0, known=made_up)}
    assert done == {
        0: "",
        1: "ValueError: lost",
        2: "the process that did the trial died",
        3: "hangs: not done after 3 s",
        4: "",
    }
    assert sorted(p.name for p in tmp_path.glob("made*")) == [
        f"made-up-{n}{ending}" for n in (1, 2, 3) for ending in ("", ".log")
    ]
    assert "told" in (tmp_path / "made-up-1.log").read_text() and "more" in (tmp_path / "made-up-1.log").read_text()
    assert (tmp_path / "made-up-1" / "file").read_text() == "left"


def test_what_went_well_is_not_done_again(tmp_path: Path) -> None:
    progress = Progress(tmp_path, "these sources")
    well, lost = Trial("a", "m", 0, seconds=1.5), Trial("a", "m", 1, "AssertionError")
    for done in (well, lost):
        progress.add(done)
    with progress.path.open("a") as file:
        file.write('{"torn')
    again = Progress(tmp_path, "these sources")
    assert again.went_well(well) and not again.went_well(lost) and again.done[well.key] == well
    assert not Progress(tmp_path, "others").done


def test_a_trial_says_how_to_do_it_again() -> None:
    assert Trial("a fault", "m", 3).command == 'python -m tests.faults --only "a fault" --model m --number 3'
    assert Trial("a fault", "", 3).command == 'python -m tests.faults --only "a fault" --number 3'
    assert catalogue.faults()  # that the command finds
