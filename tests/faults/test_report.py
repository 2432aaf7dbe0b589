"""docs/reliability.md and README say what the record says."""

import re

from tests.faults.catalogue import BOTH, Fault, faults
from tests.faults.report import DOCUMENT, document, headline, read_record, rows_of
from tests.faults.running import Trial, trials
from tests.helpers.paths import ROOT

KILLS = "SIGKILL at a random moment"


def test_the_document_is_made_of_the_record() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(read_record())


def test_the_record_knows_no_other_faults() -> None:
    """One that was renamed or taken out: ``python -m tests.faults --write``, and commit docs/reliability.*."""
    known = {(fault.name, model) for fault in faults() for model in fault.models}
    assert read_record() and {(row.fault, row.model) for row in read_record()} <= known


def test_100_kills_of_each_model_lost_nothing() -> None:
    found = {row.model: (row.tried, row.survived) for row in read_record() if row.key[:2] == ("cpu", KILLS)}
    assert found == {model: (100, 100) for model in BOTH}


def test_names_are_unique() -> None:
    names = [fault.name for fault in faults()]
    assert len(set(names)) == len(names)


def test_readme_has_the_counts_of_the_record() -> None:
    """Where README speaks of docs/reliability.md, it does with this sentence."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = re.sub(r"\s+", " ", readme)
    assert "reliability.md" not in readme or headline(read_record()) in told, headline(read_record())


def test_what_was_lost_is_told() -> None:
    fault = Fault("a fault", lambda folder, model, number: None, ("one", "two"), "nothing", times=3)
    done = [
        Trial(fault.name, model, number, "AssertionError: weights differ" if (model, number) == ("two", 1) else "")
        for model in fault.models
        for number in range(3)
    ]
    one, two = rows_of([fault], done)
    assert (one.tried, one.survived, one.lost) == (3, 3, "")
    assert (two.tried, two.survived, two.lost) == (3, 2, "AssertionError: weights differ")


def test_fewer_trials_are_spread_over_all() -> None:
    fault = Fault("a fault", lambda folder, model, number: None, ("one", "two"), "nothing", times=10)
    assert [trial.number for trial in trials([fault], "one", most=3)] == [0, 3, 6]
    assert [trial.number for trial in trials([fault], number=7)] == [7, 7]
    assert len(trials([fault])) == 20
