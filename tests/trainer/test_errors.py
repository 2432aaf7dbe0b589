"""Errors that a user can mend."""

import pickle

import pytest

from trainer.errors import ConfigError, DataError, SaveError, UserError
from trainer.rehearsal.too_large import TooLarge


def too_large() -> TooLarge:
    error = TooLarge.__new__(TooLarge)
    ConfigError.__init__(error, "curriculum.stages.all needs more memory")
    return error


@pytest.mark.parametrize(
    "error", [ConfigError(["one", "two"]), ConfigError("one"), DataError("a.png"), SaveError("full"), too_large()]
)
def test_an_error_from_another_process_says_what_it_said_there(error: UserError) -> None:
    """submitit pickles what ended a job: its message stood in itself once more, and others could not be read."""
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error) and str(found) == str(error) and vars(found) == vars(error)
