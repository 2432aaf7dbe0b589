"""Vectors of a video there and back; files that do not fit."""

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import DataError
from vid2vid.config import StyleTracks
from vid2vid.styles.sources import Between, Given
from vid2vid.styles.vector_files import read_vectors, write_vectors
from vid2vid.styles.whose import Encoder

A, B, C = (np.array(x, np.float32) for x in ([0.5, 0, 0], [0, 0.25, 0], [0, 0, -1]))


def test_tracks_go_before_classes_and_the_rest_is_asked_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_vectors(path, {(7, 0): A, (26, -4): B}, {26}, StyleTracks.ids)
    found = read_vectors(path, [7, 8, 26], 3, Given({8: C, 26: C}))
    assert np.array_equal(found.vector(7, 0), A) and np.array_equal(found.vector(26, -4), B)
    assert np.array_equal(found.vector(26, 5), C) and np.array_equal(found.vector(8, 0), C)
    assert found.told_by is StyleTracks.ids and found.vector(11, 0) is None


def test_a_file_by_hand_gives_a_class_one_look(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"classes": {"26": [0, 0.25, 0]}}')
    assert np.array_equal(read_vectors(path, [26], 3, None).vector(26, 3), B)


def test_vectors_of_another_encoder_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, own = tmp_path / "a.json", Encoder("01ab", "a", 7)
    write_vectors(path, {(26, 0): A}, (), StyleTracks.ids, own)
    assert np.array_equal(read_vectors(path, [26], 3, None, own).vector(26, 0), A) and not caplog.records
    read_vectors(path, [26], 3, None, Encoder("ff", "a", 9))
    assert "is of step 7, these weights are of step 9" in caplog.records[0].getMessage()
    with pytest.raises(DataError, match=r'another run \(a, step 7\).*save_style=FILE wrote.*"encoder": null'):
        read_vectors(path, [26], 3, None, Encoder("ff", "b", 7))


def test_between_two_is_a_straight_line() -> None:
    moving = Between(Given({7: A}), Given({7: C}))
    assert [moving.vector(7, 0, share).tolist() for share in (0.0, 0.25, 1.0)] == [
        [0.5, 0, 0], [0.375, 0, -0.25], [0, 0, -1],
    ]  # fmt: skip
    assert moving.vector(8, 0) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no such file"),
        ("[]", "cannot be read"),
        ('{"classes": {"car": [1]}}', "cannot be read"),
        ('{"told_by": "name", "classes": {"26": [0, 0, 0]}}', "cannot be read"),
        ("{}", "neither classes nor tracks"),
        ('{"classes": {"5": [0, 0, 0]}}', "classes 5, which this run does not know"),
        ('{"classes": {"26": [0, NaN, 0]}}', "numbers that are not finite"),
        ('{"classes": {"26": [0, 0]}}', r"model\.style_channels=3"),
    ],
)
def test_files_that_do_not_fit_are_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_vectors(path, [7, 26], 3, None)
