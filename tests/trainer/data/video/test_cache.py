"""The index of a film is made once, and shared: on disk, by processes, whatever befalls the folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.forking import fork
from tests.helpers.made_films import X264_B, write_film
from trainer.data.video import cache as video_cache
from trainer.data.video.cache import video_index, video_indices
from trainer.data.video.index import VideoIndex, build_index


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "films" / "a.ts", frames=30, options=X264_B)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_cache, "_known", {})
    monkeypatch.setattr(video_cache, "_unwritable", set())


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def equal(one: VideoIndex, other: VideoIndex) -> bool:
    arrays = ("stamps", "places", "prints", "flags", "novelty", "restarts")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and (
        (one.key, one.seek, one.size, one.pixel_aspect, one.fps, one.times.gaps, one.times.breaks, one.cut_off)
        == (other.key, other.seek, other.size, other.pixel_aspect, other.fps, other.times.gaps, other.times.breaks,
            other.cut_off)
    )  # fmt: skip


def test_it_is_read_back_as_it_was_made(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = video_index(film, tmp_path / "cache")
    assert [path.suffix for path in entries(tmp_path / "cache")] == [".npz"]
    video_cache._known.clear()
    monkeypatch.setattr(video_cache, "build_index", lambda *args, **kwargs: pytest.fail("made though it was stored"))
    assert equal(video_index(film, tmp_path / "cache"), made)


def test_another_file_of_the_same_name_is_another_entry(film: Path, tmp_path: Path):
    first = video_index(film, tmp_path / "cache")
    write_film(film, frames=20, options=X264_B)
    second = video_index(film, tmp_path / "cache")
    assert (first.count, second.count) == (30, 20) and first.key != second.key


@pytest.mark.parametrize("damage", ["cut", "empty", "junk"])
def test_a_damaged_entry_is_made_again(damage: str, film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made = video_index(film, tmp_path / "cache")
    (entry,) = entries(tmp_path / "cache")
    data = entry.read_bytes()
    entry.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "junk": b"PK" + b"x" * 500}[damage])
    video_cache._known.clear()
    assert equal(video_index(film, tmp_path / "cache"), made)
    assert "damaged index" in caplog.text and entry.read_bytes() == data


def test_a_folder_that_cannot_be_written_is_said_once(film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").write_text("in the way")
    other = write_film(film.with_name("b.ts"), frames=10)
    assert [video_index(path, tmp_path / "file").count for path in (film, other, film)] == [30, 10, 30]
    assert caplog.text.count("cannot be written") == 1 and "data.video_cache" in caplog.text


def test_without_a_folder_it_is_kept_in_memory(film: Path, monkeypatch: pytest.MonkeyPatch):
    made = video_index(film, None)
    monkeypatch.setattr(video_cache, "build_index", lambda *args, **kwargs: pytest.fail("made twice"))
    assert video_index(film, None) is made


def _count(film: Path, folder: Path, log: Path) -> None:
    def build(*args: object, **kwargs: object) -> VideoIndex:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return build_index(*args, **kwargs)  # type: ignore[arg-type]

    video_cache.build_index = build  # in this process only
    assert video_index(film, folder).count == 30


@pytest.mark.slow
def test_processes_wait_for_the_one_that_makes_it(film: Path, tmp_path: Path):
    log = tmp_path / "log"
    workers = [fork(_count, film, tmp_path / "cache", log) for _ in range(4)]
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(log.read_text().splitlines()) == 1
    assert [path.suffix for path in entries(tmp_path / "cache")] == [".npz"]


def test_several_films_keep_their_order_and_their_errors(film: Path, tmp_path: Path):
    (film.parent / "bad.mp4").write_bytes(b"no film" * 99)
    other = write_film(film.with_name("c.mkv"), frames=7)
    one, bad, two, gone = video_indices(
        [other, film.parent / "bad.mp4", film, film.parent / "gone.mp4"], tmp_path / "c"
    )
    assert isinstance(one, VideoIndex) and isinstance(two, VideoIndex) and (one.count, two.count) == (7, 30)
    assert "bad.mp4: cannot be decoded" in str(bad) and "gone.mp4: cannot be read" in str(gone)


def test_threads_change_nothing(film: Path):
    assert equal(build_index(film, "key", threads=1), build_index(film, "key", threads=3))
    data = film.read_bytes()
    film.write_bytes(data[: len(data) * 7 // 10])
    assert equal(build_index(film, "key", threads=1), build_index(film, "key", threads=3))


def test_long_work_is_told_in_lines_where_nobody_watches(
    film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(video_cache, "MB", 100)  # bytes
    size = film.stat().st_size
    with video_cache._Shown([(0, film, "")]) as shown:
        clock[0] = 2.0
        shown.advance(100)
        clock[0] = 40.0
        shown.advance(size // 2 - 100)
    half = size // 2 // 100
    assert capsys.readouterr().err.startswith(f"indexing a.ts (once): {100 * half / (size // 100):.0f} % {half} MB, ")
