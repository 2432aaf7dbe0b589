"""data.on_bad_file: what takes a bad file's place, what the log says, when the data are given up."""

from __future__ import annotations

import pytest

from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import TRIES, BadFiles, left_out
from trainer.errors import DataError


def reader(bad: set[int], tried: list[int]):
    def read(index: int) -> int:
        tried.append(index)
        if index in bad:
            raise BadFileError(f"{index}.png: is bad")
        return index

    return read


def test_the_next_one_then_others_farther_away() -> None:
    tried: list[int] = []
    assert BadFiles(True, "pictures").replace(7, 1000, reader(set(range(7, 30)), tried)) == 32
    assert tried == [7, 8, 11, 16, 23, 32]


def test_of_few_every_one_is_tried_once() -> None:
    tried: list[int] = []
    assert BadFiles(True, "pictures").replace(3, 5, reader({3, 4, 0, 1}, tried)) == 2
    assert tried == [3, 4, 0, 1, 2]


def test_what_is_drawn_anew_is_tried_again() -> None:
    tried: list[int] = []
    with pytest.raises(DataError, match=f"{TRIES} unusable clips in a row"):
        BadFiles(True, "clips").replace(1, 2, reader({0, 1}, tried), drawn=True)
    assert len(tried) == TRIES and set(tried) == {0, 1}


def test_the_first_alone_is_named(caplog: pytest.LogCaptureFixture) -> None:
    files = BadFiles(True, "clips")
    for index in (1, 1, 2):
        files.replace(index, 9, reader({1, 2}, []))
    assert files.met == 5 and len(caplog.records) == 1
    assert "1.png: is bad\nAnother of the clips takes its place; further bad files are passed over" in caplog.text


def test_too_many_end_the_run_and_without_skip_the_first_does() -> None:
    everything = set(range(1000))
    with pytest.raises(DataError, match=rf"(?s)0\.png: is bad.{TRIES} unusable pictures in a row"):
        BadFiles(True, "pictures").replace(0, 1000, reader(everything, []))
    with pytest.raises(BadFileError, match=r"^0\.png: is bad$"):
        BadFiles(False, "pictures").replace(0, 1000, reader(everything, []))


def test_where_nothing_takes_its_place_each_is_named(caplog: pytest.LogCaptureFixture) -> None:
    for name in "ab":
        left_out(BadFileError(f"{name}.png: is bad"), True)
    assert [record.message for record in caplog.records] == [
        f"skipped (data.on_bad_file=skip): {name}.png: is bad" for name in "ab"
    ]
    with pytest.raises(BadFileError):
        left_out(BadFileError("c.png: is bad"), False)
