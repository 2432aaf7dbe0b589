"""`data.on_bad_file`: what becomes of a file that cannot be read or decoded, in every task alike.

``raise`` ends the run with its name. With ``skip`` training goes on with another sample in its place, and evaluation
counts none there. The first bad file is named in the log, by whichever worker meets it, and the others are not: an
epoch meets them all again, and scripts/check_data.py lists them. Where nothing can take its place (a frame of a
sequence that is read in order) it is left out, and each is named.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from typing import TypeVar

from trainer.data.pictures.files import BadFileError
from trainer.errors import DataError

_log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES = 50  # samples in a row, after which the data are given up


class BadFiles:
    """The bad files of one data set.

    Args:
        skip: `data.on_bad_file=skip`.
        samples: what the data set's samples are called in messages.
    """

    def __init__(self, skip: bool, samples: str) -> None:
        self.skip, self.samples = skip, samples
        self._met = multiprocessing.Value("q", 0)  # shared with the workers, so that all of them speak once

    @property
    def met(self) -> int:
        """How often a bad file was met so far, in all workers."""
        return self._met.value

    def replace(self, index: int, length: int, read: Callable[[int], T], drawn: bool = False) -> T:
        """What ``read`` gives of sample ``index``, or of another near it, the same at every call.

        The next one is tried first, then others farther and farther away, out of a damaged stretch.

        Args:
            index: of ``length`` samples.
            read: one of them.
            drawn: what it reads is drawn anew each time, so that trying the same sample again is worth while.

        Raises:
            BadFileError: the file cannot be used, and they are not to be skipped.
            DataError: `TRIES` samples cannot be used.
        """
        first, tries = None, TRIES if drawn else min(length, TRIES)
        for step in range(tries):
            try:
                return read((index + (step if length <= TRIES else step**2)) % length)
            except BadFileError as error:
                self.passed_over(error, f"Another of the {self.samples} takes its place")
                first = first or error
        raise DataError(
            f"{first}\n{tries} unusable {self.samples} in a row: this is more than data.on_bad_file=skip is for"
        )

    def passed_over(self, error: BadFileError, instead: str) -> None:
        """Count a bad file and log the first, with what is done instead; raise its error unless they are skipped."""
        if not self.skip:
            raise error
        with self._met.get_lock():
            self._met.value += 1
            if self._met.value > 1:
                return
        _log.warning("%s\n%s; further bad files are passed over silently.", error, instead)


def left_out(error: BadFileError, skip: bool) -> None:
    """Log a file for which nothing stands in, or raise its error unless it is to be skipped."""
    if not skip:
        raise error
    _log.warning("skipped (data.on_bad_file=skip): %s", error)
