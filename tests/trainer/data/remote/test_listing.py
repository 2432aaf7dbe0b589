"""What lies below an address, as it is listed and kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.far_data import empty, fill, settings
from trainer.data.remote.connection import connection_to
from trainer.data.remote.listing import Facts, Listing, facts_of, listing_of
from trainer.data.strings import Strings

_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=3)


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    empty()
    yield
    empty()


def listing(names: list[str]) -> Listing:
    ordered = sorted(names, key=str.encode)
    return Listing(Strings(ordered), np.arange(len(names)), Strings(f"etag:{name}" for name in ordered), [])


@given(st.sets(st.lists(_NAMES, min_size=1, max_size=3).map("/".join), max_size=12))
def test_folders_and_files_of_any_names(paths: set[str]) -> None:
    names = {path for path in paths if not any(other.startswith(f"{path}/") for other in paths)}
    found = listing(list(names))
    folders = {name.rpartition("/")[0] for name in names} | {name.split("/")[0] for name in names if "/" in name} | {""}
    for folder in folders if names else set():
        start = f"{folder}/" if folder else ""
        below = {name[len(start) :] for name in names if name.startswith(start)}
        expected = {(rest.split("/")[0], "/" in rest) for rest in below}
        listed = list(found.children(folder))
        assert set(listed) == expected and len(listed) == len(expected)
        assert found.has_folder(folder)
    for place, name in enumerate(sorted(names, key=str.encode)):
        assert found.facts(name) == Facts(place, f"etag:{name}") and not found.has_folder(name)
    assert found.facts("no such\0") is None


def test_it_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    found = listing(["a/1", "a/ü", "b#?%/ 2"])
    found.save(tmp_path / "x.npz", {"launch": "1"})
    loaded = Listing.load(tmp_path / "x.npz")
    assert loaded is not None and loaded[0].digest() == found.digest() and loaded[1]["launch"] == "1"
    assert [loaded[0].names[i] for i in range(3)] == ["a/1", "a/ü", "b#?%/ 2"]
    data = bytearray((tmp_path / "x.npz").read_bytes())
    for place in range(0, len(data), 97):
        changed = data.copy()
        changed[place] ^= 4
        (tmp_path / "y.npz").write_bytes(changed)
        again = Listing.load(tmp_path / "y.npz")
        assert again is None or again[0].digest() == found.digest()
    (tmp_path / "z.npz").write_bytes(data[: len(data) // 2])
    assert Listing.load(tmp_path / "z.npz") is None and Listing.load(tmp_path / "none.npz") is None


def test_of_a_store(tmp_path: Path) -> None:
    fill({"/b/set/train/cat #1/ü 1.jpg": b"1", "/b/set/train/x%20?/2.jpg": b"22", "/b/other/3.jpg": b"333"})
    connection = connection_to("memory://b/set", settings(tmp_path))
    found = listing_of(connection, "memory://b/set", tmp_path, "data.root", below=True, relist=False)
    assert [found.names[i] for i in range(2)] == ["train/cat #1/ü 1.jpg", "train/x%20?/2.jpg"]
    assert found.sizes.tolist() == [1, 2] and len(list(tmp_path.glob("*.npz"))) == 1
    shallow = listing_of(connection, "memory://b/set/train", tmp_path, "data.root", below=False, relist=False)
    assert list(shallow.children("")) == [("cat #1", True), ("x%20?", True)]


def test_names_that_lead_elsewhere_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connection_to("memory://b", settings(tmp_path))
    names = ["ok.jpg", "../up.jpg", "a/../../up.jpg", "a//b.jpg", "./c.jpg", "marker/", "both"]
    answer = [{"name": f"/b/{name}", "type": "file", "size": 1, "ETag": '"e"'} for name in names]
    answer += [{"name": "/etc/passwd", "type": "file", "size": 1}, {"name": "/b/both", "type": "directory"}]
    answers = {"memory://b": answer, "memory://b/both": [{"name": "/b/both/in.jpg", "type": "file", "size": 2}]}
    monkeypatch.setattr(connection, "listed", lambda address, key: answers[address])
    found = listing_of(connection, "memory://b", tmp_path, "data.root", below=True, relist=False)
    assert [found.names[i] for i in range(len(found))] == ["both/in.jpg", "ok.jpg"]
    assert len(found.notes) == 2 and "left out 5 objects whose names are no paths" in found.notes[0]
    assert "left out 1 objects that are called like folders" in found.notes[1]


@pytest.mark.parametrize(
    ("info", "scheme", "tag"),
    [
        ({"ETag": '"0123456789abcdef0123456789abcdef"'}, "s3", "md5:0123456789abcdef0123456789abcdef"),
        ({"ETag": '"0123456789abcdef0123456789abcdef-7"'}, "s3", "etag:0123456789abcdef0123456789abcdef-7"),
        ({"ETag": '"0123456789abcdef0123456789abcdef"'}, "https", "etag:0123456789abcdef0123456789abcdef"),
        ({"md5Hash": "CY9rzUYh03PK3k6DJie09g=="}, "gs", "md5:098f6bcd4621d373cade4e832627b4f6"),
        ({"blob_id": "ab", "lfs": None}, "hf", "git:ab"),
        ({"blob_id": "ab", "lfs": {"sha256": "cd"}}, "hf", "sha256:cd"),
        ({"mtime": 1.5, "ino": 7}, "file", "seen:1.500|7"),
    ],
)
def test_what_tells_an_object_from_its_former_self(info: dict, scheme: str, tag: str) -> None:
    assert facts_of({"size": 3, **info}, scheme) == Facts(3, tag)
