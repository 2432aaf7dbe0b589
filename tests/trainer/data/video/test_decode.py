"""A film's frames as pictures, from the first to the last."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from tests.helpers.made_films import number_of, write_film
from trainer.data.video.decode import OpenVideo
from trainer.data.video.files import video_files


def test_all_frames_come_in_order_with_square_pixels(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", frames=7, fps=12, aspect=Fraction(3, 2))
    write_film(tmp_path / ".hidden.mp4", frames=2)
    (tmp_path / "notes.txt").write_text("no film")
    assert video_files(tmp_path) == [path]
    with OpenVideo(path) as video:
        shown = [frame.clone() for frame in video.pictures()]
        assert video.rate == 12
    assert [number_of(frame.numpy()) for frame in shown] == list(range(7))
    assert {tuple(frame.shape) for frame in shown} == {(3, 48, 96)}
