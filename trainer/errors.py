"""Errors that a user can mend: shown as one message, exit code 2, no traceback."""

from __future__ import annotations

import re
from typing import Any


class UserError(Exception):
    """Something the user gave cannot be used. The message names the value, the file or key, and the remedy."""

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way from a job of submitit's: ``__init__`` would word its own message anew, or lack its arguments."""
        return _as_it_was, (type(self), self.args), self.__dict__


def _as_it_was(kind: type[UserError], args: tuple[Any, ...]) -> UserError:
    error = kind.__new__(kind)
    error.args = args
    return error


class ConfigError(UserError):
    """A configuration that cannot be run. Holds every problem found, not only the first.

    Args:
        problems: one line each, naming key, value and remedy.
    """

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        head = "the configuration has a problem" if len(self.problems) == 1 else "the configuration has problems"
        super().__init__(head + ":\n" + "\n".join(f"  - {problem}" for problem in self.problems))


def refuse(problems: list[str]) -> None:
    """Raises ConfigError with all of the problems, where there are any."""
    if problems:
        raise ConfigError(problems)


class DataError(UserError):
    """A file or folder of the user's data that cannot be read or does not fit; names the file."""


class EndedByAnother(DataError):
    """This process ends because another one failed, which tells why itself."""


class CheckpointError(UserError):
    """A checkpoint or weights file that is missing, damaged, or of another architecture; says what differs."""


class SaveError(CheckpointError):
    """A checkpoint that cannot be written.

    Args:
        reason: why, and what mends it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}; then start the same command again")


class NonFiniteError(UserError):
    """A loss or gradient became NaN or infinite; raised before any weight changed. Names the replayable dump."""


def user_message(error: UserError) -> str:
    """The message, without the traceback that a loader's worker process wraps around it."""
    text = str(error)
    if "Original Traceback" in text:
        parts = re.split(rf"^(?:[\w.]+\.)?{type(error).__name__}: ", text, flags=re.MULTILINE)
        text = parts[-1]
    return text.strip()
