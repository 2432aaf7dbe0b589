"""Addresses as paths."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.far_data import empty, fill, settings
from trainer.data.remote.address import known_address, parse_size
from trainer.data.remote.path import RemotePath, matching, place, within
from trainer.data.remote.store import use
from trainer.errors import DataError


@pytest.fixture(autouse=True)
def memory(tmp_path: Path) -> Iterator[None]:
    empty()
    fill({"/b/s/train-2.tar": b"2", "/b/s/train-10.tar": b"10", "/b/s/c #/ü?%.txt": "größe\n".encode()})
    use(settings(tmp_path))
    yield
    empty()


def test_they_are_joined_and_taken_apart_as_paths() -> None:
    root = place("s3://bucket/imagenet/")
    assert isinstance(root, RemotePath) and str(root) == "s3://bucket/imagenet" and root.name == "imagenet"
    assert str(root / "train" / "a b#?%.jpg") == "s3://bucket/imagenet/train/a b#?%.jpg"
    assert str(root.parent) == "s3://bucket" and isinstance(root.parent, RemotePath)
    assert (root / "train").relative_to(root).parts == ("train",)
    assert str(place("file:///tmp/x") / "y") == "file:///tmp/x/y"
    assert pickle.loads(pickle.dumps(root)) == root and str(pickle.loads(pickle.dumps(root))) == str(root)
    assert root == place("s3://bucket/imagenet") and hash(root) == hash(place("s3://bucket/imagenet"))
    assert not isinstance(place("/data/x"), RemotePath) and not isinstance(place("weird://x"), RemotePath)
    assert str(within(root, "s3://other/x")) == "s3://other/x" and str(within(Path("/d"), "x")) == "/d/x"


def test_they_are_read() -> None:
    root = place("memory://b/s")
    assert root.is_dir() and root.exists() and not root.is_file()
    assert (root / "train-2.tar").is_file() and not (root / "train-3.tar").exists()
    assert (root / "c #" / "ü?%.txt").read_bytes() == "größe\n".encode()
    assert (root / "c #" / "ü?%.txt").read_text(encoding="utf-8") == "größe\n"
    assert sorted(path.name for path in root.iterdir()) == ["c #", "train-10.tar", "train-2.tar"]
    assert (root / "train-10.tar").stat().st_size == 2
    assert matching("memory://b/s/*.tar") == ["memory://b/s/train-2.tar", "memory://b/s/train-10.tar"]
    assert matching("memory://b/*/ü*") == [] and matching("memory://b/*/*/ü*") == ["memory://b/s/c #/ü?%.txt"]
    for above in (place("memory://b").parent, place("memory://b").parent.parent):
        assert not above.exists()


@pytest.mark.parametrize("write", ["mkdir", "touch", "unlink", "write_text"])
def test_they_are_never_written(write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["text"] if write == "write_text" else []
    with pytest.raises(DataError, match="memory://b/s: is an address, and nothing is written there"):
        getattr(place("memory://b/s"), write)(*arguments)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["cache"])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ftp://x/y", "addresses that are read begin with s3://, gs://"),
        ("memory://", "names nothing"),
        ("memory://a::zip://b", "addresses within addresses"),
    ],
)
def test_addresses_that_are_not_read(value: str, words: str) -> None:
    assert words in (known_address("data.root", value) or [""])[0]


def test_paths_and_addresses_that_are() -> None:
    assert known_address("data.root", "memory://a/b") == [] and known_address("data.root", "/data/a") is None


def test_sizes() -> None:
    assert [parse_size("k", text) for text in ("50GB", "1.5M", "0", "300 kB", "2T")] == [
        50 * 10**9, 1_500_000, 0, 300_000, 2 * 10**12,
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"data\.remote\.cache_size=much: is no size"):
        parse_size("data.remote.cache_size", "much")
