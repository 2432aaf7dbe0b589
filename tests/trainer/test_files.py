"""Files that are there as a whole or not at all."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import ConfigError
from trainer.files import check_apart, check_place, flush_names, replace_file, write_arrays, write_json, write_text


@pytest.mark.parametrize("shared", [False, True])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, shared: bool) -> None:
    def full(place: Path) -> None:
        place.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.json"
    write_text(path, "whole")
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, full, shared=shared)
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shared", [False, True])
def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path, shared: bool) -> None:
    def refused(place: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    with pytest.raises(PermissionError) as raised:
        replace_file(tmp_path / "a.json", refused, shared=shared)
    assert str(raised.value) == f"[Errno 13] Permission denied: '{tmp_path / 'a.json'}'"
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError) as taken:
        replace_file(tmp_path / "b", lambda place: place.write_text("x"), shared=shared)
    assert str(taken.value) == f"[Errno 21] Is a directory: '{tmp_path / 'b'}'"


def test_an_error_of_another_file_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        replace_file(tmp_path / "a", lambda place: place.write_bytes((tmp_path / "gone").read_bytes()))
    assert raised.value.filename == str(tmp_path / "gone") and not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_place("out", tmp_path / "new" / "deep" / "a.json")
    check_place("out", tmp_path, tmp_path / "a.csv", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=f"save={tmp_path}: is a folder; give the name of a file in it"):
        check_place("save", str(tmp_path))
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match=rf"out={tmp_path}: {tmp_path}/a\.png is a folder; give another place"):
        check_place("out", tmp_path, tmp_path / "a.csv", tmp_path / "a.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=rf"out={tmp_path}/file/x/a: nothing can be written into {tmp_path}/file;"):
        check_place("out", tmp_path / "file" / "x" / "a")
    monkeypatch.setattr("os.access", lambda place, mode: False)  # the root user may write everywhere
    with pytest.raises(ConfigError, match=f"out=a.json: nothing can be written into {Path.cwd()};"):
        check_place("out", "a.json")


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    check_apart(tmp_path / "b.mp4", tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match=r"out=.*link\.mp4 is content=.*a\.mp4 itself, which would be lost"):
        check_apart(tmp_path / "link.mp4", tmp_path / "a.mp4", "content")


def test_flushed_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    replace = os.replace
    monkeypatch.setattr("os.fsync", lambda handle: calls.append("flushed"))
    monkeypatch.setattr("os.replace", lambda *places: (calls.append("named"), replace(*places)))
    write_text(tmp_path / "a", "x")
    assert calls == ["named"]
    write_json(tmp_path / "deep" / "b.json", {"x": 1})
    assert calls == ["named", "flushed", "named"] and (tmp_path / "deep" / "b.json").exists()


def test_json_has_no_name_for_nan(tmp_path: Path) -> None:
    data = {"a": [float("nan"), torch.tensor(2.5), np.int64(3)], "b": {"c": float("-inf")}}
    write_json(tmp_path / "a.json", data)
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 2.5, 3], "b": {"c": None}}


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back(tmp_path: Path, compressed: bool) -> None:
    write_arrays(tmp_path / "a.npz", {"x": np.arange(4)}, compressed=compressed, shared=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2, 3]


def test_a_folder_that_was_made_is_flushed_into_those_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not flushed itself, and nothing above the first folder that belongs to somebody else."""
    deep = tmp_path / "one" / "two" / "run"
    deep.mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) not in tmp_path.parents)
    flushed: list[int] = []
    monkeypatch.setattr("os.fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    flush_names(deep)
    assert flushed == [folder.stat().st_ino for folder in (deep.parent, deep.parent.parent, tmp_path)]
