"""A cache keeps to its size, whatever any number of processes do, and has nothing that is not whole."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.forking import fork
from trainer.data.remote.cache import ObjectCache
from trainer.errors import DataError


def name(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=20).hexdigest()


def put(cache: ObjectCache, number: int, size: int = 100) -> None:
    data = bytes([number % 256]) * size
    os.close(cache.add(name(number), size, lambda file: os.pwrite(file, data, 0)))


def has(cache: ObjectCache, number: int, size: int = 100) -> bool:
    handle = cache.opened(name(number), size)
    if handle is None:
        return False
    try:
        assert os.pread(handle, size + 1, 0) == bytes([number % 256]) * size
        return True
    finally:
        os.close(handle)


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, 1000)
    for number in range(10):
        put(cache, number)
        time.sleep(0.002)
    assert cache.used() == 1000 and has(cache, 0) and has(cache, 3)
    put(cache, 10)
    there = [number for number in range(11) if (tmp_path / "objects" / name(number)[:2] / name(number)[2:]).exists()]
    assert there == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10] and cache.used() == 1000


def test_a_large_object_empties_it(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, 1000)
    for number in range(9):
        put(cache, number)
    put(cache, 99, 950)
    assert cache.used() == 950 and has(cache, 99, 950)
    assert cache.fits(1000) and not cache.fits(1001) and not cache.fits(0)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path, 1000)

    def fill(file: int) -> None:
        os.pwrite(file, b"half", 0)
        raise ValueError("the line broke")

    with pytest.raises(ValueError, match="the line broke"):
        cache.add(name(1), 100, fill)
    assert cache.opened(name(1), 100) is None and cache.used() == 0 and list((tmp_path / "partial").iterdir()) == []
    assert int((tmp_path / "total").read_text()) == 0


@pytest.mark.parametrize("size", [0, 99, 101])
def test_an_object_of_another_length_is_fetched_again(tmp_path: Path, size: int) -> None:
    cache = ObjectCache(tmp_path, 1000)
    put(cache, 1)
    (tmp_path / "objects" / name(1)[:2] / name(1)[2:]).write_bytes(b"?" * size)
    assert not has(cache, 1)
    put(cache, 1)
    assert has(cache, 1) and cache.used() == 100


def _hang(folder: Path) -> None:
    def fill(file: int) -> None:
        os.pwrite(file, b"half", 0)
        (folder / "begun").touch()
        time.sleep(60)

    ObjectCache(folder, 1000).add(name(1), 800, fill)


def test_what_a_killed_process_left_makes_room(tmp_path: Path) -> None:
    process = fork(_hang, tmp_path)
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    cache = ObjectCache(tmp_path, 1000)
    assert cache.used() == 800
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    for number in range(2, 12):  # the object that it fetched is not locked either
        put(cache, number)
    put(cache, 1)
    assert has(cache, 1) and cache.used() <= 1000 and list((tmp_path / "partial").iterdir()) == []


def _work(folder: Path, seed: int) -> None:
    cache = ObjectCache(folder, 2000)
    for step in range(150):
        number = (step * 7 + seed * 3) % 60
        if not has(cache, number):
            put(cache, number)


@pytest.mark.slow
def test_many_processes_share_it(tmp_path: Path) -> None:
    """60 objects in room for 20: each process always gets the right bytes, and the size holds at every moment."""
    processes = [fork(_work, tmp_path, seed) for seed in range(4)]
    cache, looks = ObjectCache(tmp_path, 2000), 0
    while any(process.is_alive() for process in processes):
        with cache._counted():  # nobody begins or removes anything meanwhile
            assert cache.used() <= 2000
        looks += 1
        time.sleep(0.01)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0] and looks
    assert cache.used() == int((tmp_path / "total").read_text()) <= 2000
    assert list((tmp_path / "partial").iterdir()) == []


def test_an_object_is_fetched_by_one_alone(tmp_path: Path) -> None:
    cache, fetched = ObjectCache(tmp_path, 1000), []

    def fill(file: int) -> None:
        time.sleep(0.05)
        fetched.append(1)
        os.pwrite(file, b"x" * 100, 0)

    threads = [threading.Thread(target=lambda: os.close(cache.add(name(1), 100, fill))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1


@pytest.mark.parametrize("place", [f"objects/{name(1)[:2]}/{name(1)[2:]}", "objects/cats/1.jpg", "partial/thesis.tex"])
def test_files_of_others_are_never_removed(tmp_path: Path, place: str) -> None:
    """``.git`` looks like a cache of ours, and what was not used for longest would go."""
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("mine")
    for _ in range(2):  # what the first try leaves does not make it a cache
        with pytest.raises(DataError, match=r"has a folder .* is no cache.*folder of its own"):
            put(ObjectCache(tmp_path, 100), 2)
    assert (tmp_path / place).read_text() == "mine"


def test_many_begin_a_cache_together(tmp_path: Path) -> None:
    for turn in range(20):
        caches = [ObjectCache(tmp_path / str(turn), 10_000) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, caches, range(8)))
        assert caches[0].used() == 800
