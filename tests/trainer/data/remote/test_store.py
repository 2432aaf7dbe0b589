"""Objects come whole, as they were listed, or with an error that names them; what a passing failure costs is a wait."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.far_data import Answer, Faulty, empty, faulty, fill, settings
from tests.helpers.forking import fork
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.remote import listing
from trainer.data.remote.failures import MissingObjectError
from trainer.data.remote.store import forget_stores, use
from trainer.errors import DataError


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    empty()
    fill({"/b/set/train/a.jpg": b"a" * 100, "/b/set/train/b.jpg": b"b" * 200, "/b/set/val/c.jpg": b"c" * 300})
    yield
    empty()


def gets() -> list[str]:
    return [path for method, path in Faulty.calls if method == "cat_file"]


def test_an_object_is_fetched_once(tmp_path: Path) -> None:
    with faulty(tmp_path, lambda method, path: None) as store:
        assert store.mount("memory://b/set/", "data.root") == "folder"
        assert store.read("memory://b/set/train/a.jpg") == b"a" * 100
        assert store.read("memory://b/set/train/a.jpg") == b"a" * 100
        assert gets() == ["/b/set/train/a.jpg"]
        forget_stores()
        again = use(settings(tmp_path))
        again.mount("memory://b/set", "data.root")
        assert again.read("memory://b/set/train/a.jpg") == b"a" * 100 and len(gets()) == 1


def test_a_listing_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty(tmp_path, lambda method, path: None) as store:
        store.mount("memory://b/set", "data.root")
        asked = len([1 for method, _ in Faulty.calls if method == "ls"])
        assert asked == 3  # set, train, val
        forget_stores()
        again = use(settings(tmp_path))
        again.mount("memory://b/set", "data.root")
        assert sorted(again.children("memory://b/set")) == [("train", True), ("val", True)]
        assert len([1 for method, _ in Faulty.calls if method == "ls"]) == asked
        fill({"/b/set/val/new.jpg": b"n"})
        assert again.kind("memory://b/set/val/new.jpg") is None
        forget_stores()
        same = use(settings(tmp_path, relist=True))  # another process of this launch has asked already
        same.mount("memory://b/set", "data.root")
        assert same.kind("memory://b/set/val/new.jpg") is None
        forget_stores()
        monkeypatch.setattr(listing, "_launch", lambda: "the next one")
        fresh = use(settings(tmp_path, relist=True))
        fresh.mount("memory://b/set", "data.root")
        assert fresh.kind("memory://b/set/val/new.jpg") == "file"


@pytest.mark.parametrize(
    "error",
    [Answer("SlowDown", 503), Answer("InternalError", 500), ConnectionResetError("reset"), TimeoutError(),
     OSError(16, "busy")],
    ids=["slow down", "internal", "reset", "time-out", "busy"],
)  # fmt: skip
def test_what_passes_is_tried_again(tmp_path: Path, error: Exception) -> None:
    def faults(method: str, path: str) -> Exception | None:
        return error if method == "cat_file" and len(gets()) < 4 else None

    with faulty(tmp_path, faults) as store:
        store.mount("memory://b/set", "data.root")
        assert store.read("memory://b/set/train/a.jpg") == b"a" * 100
        assert len(gets()) == 4


def test_what_stays_is_said(tmp_path: Path) -> None:
    def faults(method: str, path: str) -> Exception | None:
        return Answer("SlowDown", 503) if method == "cat_file" else None

    with faulty(tmp_path, faults) as store:
        store.mount("memory://b/set", "data.val_root")
        with pytest.raises(DataError) as raised:
            store.read("memory://b/set/train/a.jpg")
    text = str(raised.value)
    assert "memory://b/set/train/a.jpg (data.val_root): no answer in 4 tries" in text
    assert "data.remote.retries" in text and "SlowDown: so it is" in text


@pytest.mark.parametrize("short", [b"", b"a" * 99, b"a" * 101])
def test_what_is_cut_short_is_never_kept(tmp_path: Path, short: bytes) -> None:
    def faults(method: str, path: str) -> bytes | None:
        return short if method == "cat_file" and len(gets()) < 3 else None

    with faulty(tmp_path, faults) as store:
        store.mount("memory://b/set", "data.root")
        assert store.read("memory://b/set/train/a.jpg") == b"a" * 100 and len(gets()) == 3
        kept = [path for path in (tmp_path / "cache" / "objects").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in kept] == [b"a" * 100]
        assert store.cache.used() == 100 == int((tmp_path / "cache" / "total").read_text())

    with faulty(tmp_path / "other", lambda method, path: short if method == "cat_file" else None) as store:
        store.mount("memory://b/set", "data.root")
        with pytest.raises(DataError, match=f"{len(short)} of 100 bytes came"):
            store.read("memory://b/set/train/a.jpg")
        assert store.cache.used() == 0 == int((tmp_path / "other" / "cache" / "total").read_text())


def test_an_object_that_was_replaced_is_named(tmp_path: Path) -> None:
    with faulty(tmp_path, lambda method, path: None) as store:
        store.mount("memory://b/set", "data.root")
        fill({"/b/set/train/a.jpg": b"x" * 100})  # of the same size
        with pytest.raises(DataError, match=r"train/a\.jpg \(data.root\): the object was replaced.*relist=true"):
            store.read("memory://b/set/train/a.jpg")
        with pytest.raises(DataError) as raised:
            read_bytes("memory://b/set/train/a.jpg")
        assert not isinstance(raised.value, BadFileError)  # nothing that data.on_bad_file=skip may pass over
        assert store.cache.used() == 0


def test_an_object_that_is_gone_is_a_bad_file(tmp_path: Path) -> None:
    with faulty(tmp_path, lambda method, path: None) as store:
        store.mount("memory://b/set", "data.root")
        Faulty().rm("/b/set/train/a.jpg")
        with pytest.raises(BadFileError, match=r"train/a\.jpg \(data.root\): there is no such object"):
            read_bytes("memory://b/set/train/a.jpg")
        with pytest.raises(MissingObjectError, match="there is no such object"):
            store.facts("memory://b/set/train/never.jpg")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "permission denied. These credentials must be allowed to list memory://b"),
        ("NoSuchBucket", "there is no bucket memory://b"),
        ("PermanentRedirect", "AWS_DEFAULT_REGION"),
        ("ExpiredToken", "give the same command again: a run goes on"),
    ],
)
def test_refusals_name_the_remedy_at_once(tmp_path: Path, code: str, words: str) -> None:
    with faulty(tmp_path, lambda method, path: Answer(code, 403)) as store:
        with pytest.raises(DataError) as raised:  # calls are counted while the store is there
            store.mount("memory://b/set", "data.root")
        assert len(Faulty.calls) == (2 if code == "ExpiredToken" else 1)  # other tries would be in vain
    assert words in str(raised.value) and "memory://b/set (data.root)" in str(raised.value)


def test_credentials_that_are_renewed_in_time_cost_nothing(tmp_path: Path) -> None:
    """The file system is made anew, which reads them."""
    seen: list[str] = []

    def faults(method: str, path: str) -> Exception | None:
        seen.append(method)
        return Answer("ExpiredToken") if method == "cat_file" and seen.count("cat_file") == 1 else None

    with faulty(tmp_path, faults) as store:
        store.mount("memory://b/set", "data.root")
        before = store.connection("memory://b/set").system
        assert store.read("memory://b/set/val/c.jpg") == b"c" * 300
        assert store.connection("memory://b/set").system is not before


def test_nothing_there_and_a_name_that_is_meant(tmp_path: Path) -> None:
    store = use(settings(tmp_path))
    with pytest.raises(DataError, match=r"data.root=memory://b/sett: there is no object .*set"):
        store.mount("memory://b/sett", "data.root")
    assert store.mount("memory://b/set/val/c.jpg", "data.root") == "file"


def test_what_lies_beside_the_data_is_asked_for_once(tmp_path: Path) -> None:
    with faulty(tmp_path, lambda method, path: None) as store:
        store.mount("memory://b/set/val", "data.root")
        Faulty.calls.clear()
        for _ in range(2):
            assert store.kind("memory://b/set/train") == "folder" and store.kind("memory://b/none") is None
            assert store.kind("memory://b/set/train/a.jpg") == "file"
            assert store.facts("memory://b/set/train/a.jpg").size == 100
        asked = ["/b/set/train", "/b/none", "/b/set/train/a.jpg"]
        assert Faulty.calls == [("info", path) for path in asked]


def test_parts_of_an_object(tmp_path: Path) -> None:
    fill({"/b/set/x.tar": bytes(range(250))})
    with faulty(tmp_path, lambda method, path: None) as store:
        store.mount("memory://b/set", "data.root")
        store.fetch_parts([("memory://b/set/x.tar", 10, 4), ("memory://b/set/x.tar", 20, 5)])
        assert store.read_part("memory://b/set/x.tar", 10, 4, whole=False) == bytes(range(10, 14))
        assert len(gets()) == 2 and store.cache.used() == 9
        assert store.read_part("memory://b/set/x.tar", 100, 3, whole=True) == bytes(range(100, 103))
        assert store.read_part("memory://b/set/x.tar", 7, 3, whole=False) == bytes(range(7, 10))
        assert len(gets()) == 3


def test_without_room_on_the_disk_objects_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    with faulty(tmp_path, lambda method, path: None) as store:
        store.mount("memory://b/set", "data.root")
        monkeypatch.setattr(os, "ftruncate", full)
        assert store.read("memory://b/set/train/a.jpg") == b"a" * 100
        with pytest.raises(DataError, match="no room for its 100 bytes"):
            store.opened("memory://b/set/train/a.jpg")


def test_a_cache_of_no_size(tmp_path: Path) -> None:
    with faulty(tmp_path, lambda method, path: None, cache_size="0") as store:
        store.mount("memory://b/set", "data.root")
        assert store.read("memory://b/set/train/a.jpg") == b"a" * 100 and store.cache.used() == 0
        with pytest.raises(DataError, match=r"data\.remote\.cache_size=0 holds less"):
            store.opened("memory://b/set/train/a.jpg")


def _read_all(folder: Path, out: Path) -> None:
    store = use(settings(folder))
    found = [bytes(store.read(f"memory://b/set/{name}")) for name in ("train/a.jpg", "train/b.jpg", "val/c.jpg")]
    out.write_bytes(b"".join(found))


def test_a_process_that_is_forked_reads_on(tmp_path: Path) -> None:
    store = use(settings(tmp_path))
    store.mount("memory://b/set", "data.root")
    store.read("memory://b/set/train/a.jpg")
    processes = [fork(_read_all, tmp_path, tmp_path / f"{number}") for number in range(3)]
    for number, process in enumerate(processes):
        process.join(60)
        assert process.exitcode == 0
        assert (tmp_path / f"{number}").read_bytes() == b"a" * 100 + b"b" * 200 + b"c" * 300
