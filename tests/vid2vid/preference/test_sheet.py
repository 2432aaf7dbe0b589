"""A blind sheet: what is drawn, what is on disk, and that nothing there tells whose a video is."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from trainer.errors import ConfigError, DataError
from vid2vid.preference.sheet import draw_trials, key_path, match, read_key, write_sheet


def made(folder: Path, side: str, clips: int = 4, ending: str = ".mp4") -> dict[str, Path]:
    found = {}
    for i in range(clips):
        found[f"clip{i}"] = folder / f"{side}{i}{ending}"
        found[f"clip{i}"].write_bytes(f"{side} {i}".encode())
    return found


def test_sides_are_drawn_and_balanced() -> None:
    clips = [f"c{i}" for i in range(20)]
    trials = draw_trials(clips, 2, seed=1)
    assert Counter(trial.left for trial in trials) == {"a": 20, "b": 20}
    for clip in clips:
        assert sorted(trial.left for trial in trials if trial.clip == clip) == ["a", "b"]
    assert draw_trials(clips, 2, seed=1) == trials != draw_trials(clips, 2, seed=2)
    assert [trial.clip for trial in trials] != clips * 2, "the order is drawn too"
    assert len({trial.name for trial in trials}) == 40
    once = Counter(trial.left for trial in draw_trials(clips, 1, seed=3))
    assert once == {"a": 10, "b": 10}


def test_what_is_on_disk(tmp_path: Path) -> None:
    videos = {side: made(tmp_path, side) for side in ("a", "b")}
    out = tmp_path / "sheet"
    key = write_sheet(out, videos, {"a": "runs/ours", "b": "runs/theirs"}, seed=5, question="Which <one>?")
    assert read_key(key_path(out)) == key and key_path(out).parent == tmp_path, "apart from the page"
    page = (out / "index.html").read_text()
    shown = json.loads(re.search(r"const SHEET = (.*);\n", page)[1])  # type: ignore[index]
    assert shown["sheet"] == key.sheet and "Which &lt;one&gt;?" in page
    for trial, row in zip(key.trials, shown["trials"], strict=True):
        assert row["trial"] == trial.name
        for side in ("left", "right"):
            whose = getattr(trial, side)
            assert (out / row[side]).read_bytes() == videos[whose][trial.clip].read_bytes()
    words = "".join(path.name for path in out.rglob("*")) + page
    assert not [word for word in ("ours", "theirs", "clip0") if word in words]
    assert all(set(row) == {"trial", "left", "right"} for row in shown["trials"])
    assert not re.search(r"(src|href)=\"", page), "nothing is fetched from elsewhere"
    with pytest.raises(ConfigError, match="is there already"):
        write_sheet(out, videos, {"a": "x", "b": "y"}, seed=5, question="")


def test_votes_are_of_these_videos_and_this_question(tmp_path: Path) -> None:
    """A sheet made anew from the same run, which was trained further, must not take the votes of the one before."""
    videos = {side: made(tmp_path, side) for side in ("a", "b")}

    def sheet(place: str, question: str) -> str:
        return write_sheet(tmp_path / place, videos, {"a": "ours", "b": "theirs"}, seed=5, question=question).sheet

    first = sheet("1", "Which?")
    assert sheet("2", "Which?") == first != sheet("3", "Which is sharper?")
    videos["b"]["clip3"].write_bytes(b"trained further")
    assert sheet("4", "Which?") != first


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    videos = {side: made(tmp_path, side) for side in ("a", "b")}
    videos["b"]["clip3"].unlink()
    with pytest.raises(FileNotFoundError):
        write_sheet(tmp_path / "sheet", videos, {"a": "x", "b": "y"}, seed=0, question="")
    assert [path.name for path in tmp_path.iterdir() if "sheet" in path.name] == []


def test_pairs_have_one_name_and_one_kind(tmp_path: Path) -> None:
    a, b = made(tmp_path, "a"), made(tmp_path, "b")
    assert match(a, dict(reversed(b.items())))["b"] == b
    del b["clip1"]
    with pytest.raises(ConfigError, match=r"a=.*clip1"):
        match(a, b)
    with pytest.raises(ConfigError, match="convert"):
        match(a, made(tmp_path, "c", ending=".webm"))
    alone = match({"x": tmp_path / "x.mp4"}, {"y": tmp_path / "y.mp4"})
    assert alone == {"a": {"x": tmp_path / "x.mp4"}, "b": {"x": tmp_path / "y.mp4"}}


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_key(tmp_path / "absent.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="no key"):
        read_key(tmp_path / "other.json")
