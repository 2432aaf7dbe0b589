"""Votes: read in every form, counted by the key, and refused where they are of something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.made_films import write_film
from tests.helpers.scripts import run_script
from trainer.errors import DataError
from vid2vid.preference.sheet import Key, Trial
from vid2vid.preference.votes import Vote, checked, read_votes, report

TRIALS = (Trial("t001", "x", "a", "b"), Trial("t002", "y", "b", "a"), Trial("t003", "x", "b", "a"))
KEY = Key("s1", "ours", "theirs", 0, TRIALS)
ROWS = [("t001", "left"), ("t002", "left"), ("t003", "right")]


def of(voter: str, rows: list[tuple[str, str]]) -> dict[str, object]:
    return {"sheet": "s1", "voter": voter, "votes": [{"trial": t, "choice": c, "seconds": 1.5} for t, c in rows]}


def test_all_forms_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(of("me, you", ROWS)))
    (tmp_path / "server.json").write_text(json.dumps({"voters": [of("me, you", ROWS)]}))
    lines = [f's1,"me, you",{trial},{choice},1.5' for trial, choice in ROWS]
    (tmp_path / "one.csv").write_text("\n".join(["sheet,voter,trial,choice,seconds", *lines]) + "\n")
    expected = [Vote("s1", "me, you", trial, choice) for trial, choice in ROWS]
    for name in ("one.json", "server.json", "one.csv"):
        assert read_votes(tmp_path / name) == expected


def test_the_key_turns_sides_into_runs() -> None:
    """Left of t001 is a, left of t002 is b, right of t003 is a: 2 of 3 for a; clip x 2 to 0, clip y 0 to 1."""
    lines = report([Vote("s1", "me", trial, choice) for trial, choice in ROWS], KEY)
    assert [line.split() for line in lines[:3]] == [["clip", "a", "b"], ["x", "2", "0"], ["y", "0", "1"]]
    text = "\n".join(lines)
    assert "a: ours" in text and "2 of 3: 0.667" in text and "left video was chosen 2 times" in text
    assert "0.094 to 0.992" in text, "Clopper-Pearson of 2 of 3"


def test_the_last_vote_of_a_voter_on_a_pair_counts() -> None:
    votes = [Vote("s1", "me", "t001", "left"), Vote("s1", "you", "t001", "left"), Vote("s1", "me", "t001", "right")]
    assert checked(votes, KEY) == [votes[2], votes[1]]


def test_votes_on_something_else_are_refused(tmp_path: Path) -> None:
    for vote, word in ((Vote("s2", "me", "t001", "left"), "another sheet"), (Vote("s1", "me", "t9", "left"), "t9")):
        with pytest.raises(DataError, match=word):
            checked([vote], KEY)
    with pytest.raises(DataError, match="no votes"):
        report([], KEY)
    for text in ("{", "[1]", "a,b\n1,2\n", '{"x": 1}'):
        (tmp_path / "votes.json").write_text(text)
        with pytest.raises(DataError, match="no file of votes"):
            read_votes(tmp_path / "votes.json")
    (tmp_path / "votes.json").write_text(json.dumps(of("me", [("t001", "both")])))
    with pytest.raises(DataError, match="not a side"):
        read_votes(tmp_path / "votes.json")


def test_script_makes_a_sheet_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side in ("ours", "theirs"):
        (tmp_path / side).mkdir()
        for clip in ("x", "y"):
            write_film(tmp_path / side / f"{clip}.mp4", frames=3)
    out = tmp_path / "ab"
    words = (f"a={tmp_path / 'ours'}", f"b={tmp_path / 'theirs'}", f"out={out}")
    assert run_script("ab_sheet", *words) == 0
    key = json.loads((tmp_path / "ab-key.json").read_text())
    assert key["a"] == str(tmp_path / "ours") and len(key["trials"]) == 2
    rows = [(trial["name"], "left" if trial["left"] == "a" else "right") for trial in key["trials"]]
    votes = tmp_path / "votes.json"
    votes.write_text(json.dumps(of("me", rows) | {"sheet": key["sheet"]}))
    capsys.readouterr()
    assert run_script("ab_sheet", f"votes={votes}", f"out={out}") == 0
    assert "2 of 2: 1.000" in capsys.readouterr().out
    old, broken = write_film(tmp_path / "old.mp4", "mpeg4", frames=3), tmp_path / "broken.mp4"
    full = write_film(tmp_path / "full.mp4", frames=3, pix_fmt="yuv444p")
    broken.write_bytes(b"no film")
    for wrong, word in (
        ((f"votes={votes}",), "key="),
        (words, "already"),
        (("a=x", "b=y"), "out="),
        ((f"a={tmp_path / 'ours'}", f"out={tmp_path / 'z'}"), "b="),
        ((f"a={tmp_path / 'ours'}", "b=absent", f"out={tmp_path / 'z'}"), "absent"),
        ((f"out={tmp_path / 'z'}", "serve=true"), "no sheet"),
        ((f"a={old}", f"b={old}", f"out={tmp_path / 'z'}"), "old.mp4 is mpeg4"),
        ((f"a={full}", f"b={full}", f"out={tmp_path / 'z'}"), "full.mp4 is h264 of yuv444p"),
        ((f"a={broken}", f"b={broken}", f"out={tmp_path / 'z'}"), "broken.mp4"),
    ):
        assert run_script("ab_sheet", *wrong) == 2
        assert word in capsys.readouterr().err
