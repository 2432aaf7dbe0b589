"""One run in one directory: a second one refuses, whatever a killed one left lets the next one in at once."""

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.forking import fork
from tests.helpers.toys import LinearTask, toy_config
from trainer.checkpoint import lock as module
from trainer.checkpoint.lock import LOCK, RunLock, owner_of
from trainer.errors import ConfigError
from trainer.loop import Trainer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.3)
    monkeypatch.setattr(module, "QUIET_S", 2.0)
    monkeypatch.setattr(module, "BEAT_S", 0.2)
    monkeypatch.setattr(module, "POLL_S", 0.02)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)


@contextmanager
def owner(folder: Path, action: Callable[[], Any] = lambda: None) -> Iterator[Any]:
    """Another process that trains in a folder."""

    def hold() -> None:
        lock = RunLock(folder)
        lock.take()
        action()
        (folder / "taken").touch()
        time.sleep(600)

    process = fork(hold)
    try:
        until = time.monotonic() + 60
        while not (folder / "taken").exists():
            assert time.monotonic() < until and process.is_alive()
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.join()


def take(folder: Path) -> float:
    """Seconds until the folder was this process's; which it is no more."""
    lock, began = RunLock(folder), time.monotonic()
    lock.take()
    seconds = time.monotonic() - began
    lock.check()
    lock.release()
    assert not (folder / LOCK).exists()
    return seconds


def left(folder: Path, **changes: Any) -> Path:
    """What a killed process left, of another machine."""
    (folder / LOCK).write_text(json.dumps({**module._self(), "host": "other", "boot": "another", **changes}))
    return folder / LOCK


def test_a_second_run_is_told_who_has_it(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        who = rf"process {process.pid} on {re.escape(socket.gethostname())}, since 20\d\d-\d\d-\d\dT[\d:]+[+-][\d:]+,"
        for _ in range(2):
            with pytest.raises(ConfigError, match=rf"{tmp_path} is in use: {who} trains there.*another name="):
                RunLock(tmp_path).take()
        assert process.is_alive()
    assert take(tmp_path) < 1.9 and take(tmp_path) < 1.9


def test_workers_that_outlive_a_killed_run_do_not_keep_it(tmp_path: Path) -> None:
    """Forked ones have all of its open files."""
    pids = tmp_path / "worker"

    def work() -> None:
        worker = os.fork()
        if worker == 0:
            time.sleep(600)
        pids.write_text(str(worker))

    with owner(tmp_path, work) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        try:
            os.kill(int(pids.read_text()), 0)  # it lives
            assert take(tmp_path) < 1.9
        finally:
            os.kill(int(pids.read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_of_many_that_begin_at_once_one_goes_on(tmp_path: Path) -> None:
    def begin(number: int) -> None:
        try:
            RunLock(tmp_path).take()
        except ConfigError:
            (tmp_path / f"refused-{number}").touch()
            os._exit(3)
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("refused-*"))) < 5 and time.monotonic() < until:
            time.sleep(0.05)
        os._exit(0)

    processes = [fork(begin, number) for number in range(6)]
    for process in processes:
        process.join()
    assert sorted(process.exitcode for process in processes) == [0, 3, 3, 3, 3, 3]


def test_another_machine_that_lives_has_it_and_a_dead_one_does_not(tmp_path: Path) -> None:
    file, ended = left(tmp_path), threading.Event()

    def beat() -> None:
        while not ended.wait(0.2):
            os.utime(file)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="on other, since"):
            RunLock(tmp_path).take()
    finally:
        ended.set()
        thread.join()
    seconds = take(tmp_path)  # its last sign of life was a moment ago
    assert seconds > 1.5
    file = left(tmp_path)
    os.utime(file, (time.time() - 60, time.time() - 60))
    assert take(tmp_path) < 1.9


def test_a_restart_of_the_same_torchrun_gets_in_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path, launch="job-7")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job-7")
    assert take(tmp_path) < 1.9
    left(tmp_path, launch="none")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")  # torchrun's word where it was given no id
    assert take(tmp_path) > 1.5


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "\0" * 50, "[" * 4096], ids=range(6))
def test_garbage_keeps_nobody_out(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    take(tmp_path)


def test_without_locks_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_lock", lambda handle: None)
    with owner(tmp_path) as process:
        with pytest.raises(ConfigError, match=f"process {process.pid} on "):
            RunLock(tmp_path).take()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert take(tmp_path) < 1.9


def test_who_was_out_of_reach_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead host's lock that the file server still keeps: its run is replaced, and notices when it comes back."""
    first = RunLock(tmp_path)
    first.take()
    first._ended.set()  # no sign of life
    left(tmp_path)
    held = (tmp_path / LOCK).stat().st_ino
    monkeypatch.setattr(module, "_lock", lambda handle: os.fstat(handle).st_ino != held)
    second = RunLock(tmp_path)
    second.take()
    second.check()
    with pytest.raises(ConfigError, match="was taken over by another run"):
        first.check()
    first.release()
    second.check()  # what is not its own, the first leaves alone
    second.release()


def test_a_lock_file_that_is_tidied_away_is_written_again(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.take()
    (tmp_path / LOCK).unlink()
    lock.check()
    assert (tmp_path / LOCK).stat().st_size > 0  # to open it here would give the lock of the system back

    def tries() -> None:
        with pytest.raises(ConfigError, match=f"process {os.getppid()} on "):
            RunLock(tmp_path).take()

    other = fork(tries)
    other.join()
    assert other.exitcode == 0
    lock.release()
    assert not (tmp_path / LOCK).exists()


def test_one_that_came_back_as_another_file_is_ours_still(tmp_path: Path) -> None:
    """A disk that was away for a while."""
    lock = RunLock(tmp_path)
    lock.take()
    (tmp_path / LOCK).replace(tmp_path / "old")
    (tmp_path / LOCK).write_bytes((tmp_path / "old").read_bytes())
    lock.check()
    lock.release()
    assert not (tmp_path / LOCK).exists()


def test_a_folder_that_another_run_has_made_its_own_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.take()
    (tmp_path / LOCK).unlink()
    with owner(tmp_path):
        with pytest.raises(ConfigError, match="was taken over by another run"):
            lock.check()
        lock.release()
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_folder_that_is_away_is_not_taken_over(tmp_path: Path, made_anew: bool) -> None:
    """Renamed, removed, or an empty place where a disk should be: it may come back, and a checkpoint is tried later."""
    run = tmp_path / "run"
    lock = RunLock(run)
    lock.take()
    run.rename(tmp_path / "away")
    if made_anew:
        run.mkdir()
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="is not there any more as this run began in it"):
            lock.check()
    if made_anew:
        run.rmdir()
    (tmp_path / "away").rename(run)
    lock.check()
    lock.release()


def test_likewise_where_the_file_system_knows_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second goes on in the same file. The first removed it when it ended, and so ended the second."""
    monkeypatch.setattr(module, "_lock", lambda handle: None)
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    first.take()
    first._ended.set()  # no sign of life
    left(tmp_path)
    second.take()
    with pytest.raises(ConfigError, match="was taken over by another run"):
        first.check()
    first.release()
    second.check()
    second.release()
    assert not (tmp_path / LOCK).exists()


def test_a_run_looks_before_it_writes(tmp_path: Path) -> None:
    trainer = Trainer(toy_config("linear"), LinearTask, tmp_path)
    original = trainer.task.losses

    def losses(phase: str, segment: Any, ctx: Any) -> Any:
        if ctx.step == 2:
            left(tmp_path)  # another one's
        return original(phase, segment, ctx)

    trainer.task.losses = losses  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="was taken over by another run"):
        trainer.fit()
    assert not list((tmp_path / "checkpoints").glob("step-*")) and (tmp_path / LOCK).exists()


def test_who_trains_is_seen_without_taking_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert owner_of(tmp_path) is None and not list(tmp_path.iterdir())
    with owner(tmp_path) as process:
        seen = owner_of(tmp_path)
        assert seen is not None and seen["pid"] == process.pid and seen["host"] == socket.gethostname()
        assert owner_of(tmp_path) == seen
        with pytest.raises(ConfigError, match="in use"):  # looking on has given nothing back
            take(tmp_path)
    assert (tmp_path / LOCK).exists() and owner_of(tmp_path) is None  # killed
    monkeypatch.setattr(module, "_held", lambda handle: None)  # a file system without locks: the beat tells
    os.utime(tmp_path / LOCK)
    assert owner_of(tmp_path) is not None
    os.utime(tmp_path / LOCK, (time.time() - 60, time.time() - 60))
    assert owner_of(tmp_path) is None
