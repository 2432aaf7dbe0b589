"""Lists of clips in the forms that data sets come with."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.errors import DataError
from vit.data.clips.lists import read_list

ROOT = Path("/data")


def pairs(path: Path, text: str, *there: str) -> list[tuple[str, str]]:
    path.write_text(text)
    found = read_list(path, ROOT, [f"/data/{name}" for name in there])
    return list(zip([name.removeprefix("/data/") for name in found.files], found.classes, strict=True))


def test_ucf101(tmp_path: Path) -> None:
    """Labels that only repeat the folders: the folders' names."""
    text = "Archery/v_a.avi 1\nBowling/v_b.avi 2\nBowling/v_c.avi 2\n"
    there = ("Archery/v_a.avi", "Bowling/v_b.avi", "Bowling/v_c.avi")
    expected = list(zip(there, ("Archery", "Bowling", "Bowling"), strict=True))
    assert pairs(tmp_path / "trainlist01.txt", text, *there) == expected
    assert pairs(tmp_path / "testlist01.txt", text.replace(" 1", "").replace(" 2", ""), *there) == expected


def test_paths_and_numbers(tmp_path: Path) -> None:
    text = "all/a.mp4 1\nall/b.mp4 0\nall/c.mp4 1\n"
    there = ("all/a.mp4", "all/b.mp4", "all/c.mp4")
    assert [label for _, label in pairs(tmp_path / "list.txt", text, *there)] == ["1", "0", "1"]
    commas = text.replace(" ", ",")
    assert [label for _, label in pairs(tmp_path / "list.csv", commas, *there)] == ["1", "0", "1"]
    (tmp_path / "classInd.txt").write_text("0 Apply Lipstick\n1 Bowling\n")
    found = [label for _, label in pairs(tmp_path / "list.txt", text, *there)]
    assert found == ["Bowling", "Apply Lipstick", "Bowling"]


def test_frames_lists_have_a_count_between(tmp_path: Path) -> None:
    text = "all/a 120 riding\nall/b 90 sitting\n"
    assert pairs(tmp_path / "list.txt", text, "all/a", "all/b") == [("all/a", "riding"), ("all/b", "sitting")]


def test_kinetics(tmp_path: Path) -> None:
    text = "label,youtube_id,time_start,time_end,split\nabseiling,-3B32lodo2M,59,69,train\nzumba,xyz,3,13,train\n"
    there = ("abseiling/-3B32lodo2M_000059_000069.mp4", "zumba/xyz_000003_000013.mp4")
    assert pairs(tmp_path / "train.csv", text, *there) == list(zip(there, ("abseiling", "zumba"), strict=True))


def test_clips_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """Without extensions, with others, with a folder in front: each name means the clip in its own folder."""
    there = ("Run/001.mp4", "Run/v1.0", "Walk/001.mp4", "Walk/v1.5")
    for form in ("Run/001 0\nWalk/001 1\n", "Run/001.avi 0\nWalk/001.avi 1\n", "set/run/001.mp4 0\nset/Walk/001 1\n"):
        assert pairs(tmp_path / "list.txt", form, *there) in (
            [("Run/001.mp4", "Run"), ("Walk/001.mp4", "Walk")],
            [("Run/001.mp4", "run"), ("Walk/001.mp4", "Walk")],
        )
    text = "x/v1.5 b\nx/v1.0 a\n"
    assert pairs(tmp_path / "list.txt", text, *there) == [("Walk/v1.5", "b"), ("Run/v1.0", "a")]
    with pytest.raises(DataError, match=r"names 001, which /data/Run/001.mp4, /data/Walk/001.mp4 are called"):
        pairs(tmp_path / "list.txt", "001 a\n", *there)
    assert pairs(tmp_path / "list.txt", "Walk/001 1\nRun/001 0\n", "Run/001.mp4") == [("Run/001.mp4", "Run")]


def test_names_with_blanks(tmp_path: Path) -> None:
    text = "My clips/first one.mp4 riding\nMy clips/b.MOV 120 sitting\nMy clips/v 1.2.mp4  riding\n"
    there = ("My clips/first one.mp4", "My clips/b.MOV", "My clips/v 1.2.mp4")
    found = pairs(tmp_path / "list.txt", text, *there)
    assert found == list(zip(there, ("riding", "sitting", "riding"), strict=True))
    tabs = "My clips/first one.mp4\tHorse riding\nMy clips/b.MOV\tsitting\n"
    assert pairs(tmp_path / "list.tsv", tabs, *there)[0] == (there[0], "Horse riding")


def test_something_something(tmp_path: Path) -> None:
    text = (
        '[{"id": "78687", "label": "holding potato", "template": "Holding [something]"},'
        '{"id": "1", "label": "x", "template": "Moving [something] up"}]'
    )
    assert pairs(tmp_path / "train.json", text, "78687.webm") == [("78687.webm", "Holding something")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("list.txt", "", "is empty"),
        ("list.txt", "a.mp4\n", "tells no class of a.mp4"),
        ("list.txt", "all/a.mp4 1\nall/b.mp4 2\nall/c.mp4\n", "none in its line 'all/c.mp4'"),
        ("list.json", '{"a": 1}', "no list of objects"),
    ],
)
def test_other_files_are_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        pairs(tmp_path / name, text)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.txt cannot be read \(No such file"):
        read_list(tmp_path / "missing.txt", ROOT, [])
