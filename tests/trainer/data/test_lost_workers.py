"""Workers that die, hang or raise: the same batches go on, and what does not is named."""

import errno
import logging
import os
import signal
import time
from itertools import islice

import numpy as np
import pytest
import torch

from trainer.data import batches as module
from trainer.data import collate
from trainer.data.loader import DevicePrefetcher, make_eval_loader, make_loader
from trainer.data.reading import title
from trainer.data.workers import PARDONED_AFTER, Losses, WorkerLost
from trainer.errors import DataError


class Numbers:
    """Samples that show their index and their random stream; ``trouble(index)`` comes before."""

    def __init__(self, trouble=lambda index: None, n=11):
        self.trouble, self.n = trouble, n

    def __len__(self):
        return self.n

    def name(self, index):
        return f"/data/{index}.png"

    def sample(self, index, rng):
        self.trouble(index)
        return {"index": np.int64(index), "noise": rng.random((2, 3), dtype=np.float32)}


class Once:
    """Does something at one index, the first time that any process comes there."""

    def __init__(self, file, index, action):
        self.file, self.index, self.action = file, index, action

    def __call__(self, index):
        if index == self.index:
            try:
                os.close(os.open(self.file, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            self.action()


def batches(loader, count):
    return [(batch["index"].tolist(), batch["noise"]) for batch in islice(loader, count)]


def training(trouble=lambda index: None, **options):
    return make_loader(Numbers(trouble), **{"seed": 3, "samples_seen": 0, "batch_size": 2, "workers": 2, **options})


def same(one, two):
    return len(one) == len(two) and all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in zip(one, two, strict=True))


def kill_self(number):
    os.kill(os.getpid(), number)


OTHERS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, None)
ENDS = [signal.SIGKILL, *(pytest.param(number, marks=pytest.mark.slow) for number in OTHERS)]


@pytest.mark.parametrize("number", ENDS)
def test_a_worker_that_dies_once_costs_nothing(tmp_path, number, caplog):
    trouble = Once(tmp_path / "met", 6, (lambda: kill_self(number)) if number else lambda: os._exit(3))
    with caplog.at_level(logging.WARNING):
        assert same(batches(training(trouble), 12), batches(training(workers=0), 12))
    how = f"was killed by {number.name}" if number else r"ended by itself (exit code 3)"
    assert f"{how} while it read sample 6 (/data/6.png): the workers are started again" in caplog.text


@pytest.mark.parametrize(
    ("number", "advice"),
    [(9, r"memory ran out: lower data\.workers \(now 2\)"), (11, "library cannot digest the file"), (7, "--shm-size")],
)
def test_a_sample_that_kills_twice_is_named(number, advice):
    loader = training(lambda index: kill_self(number) if index == 6 else None)
    with pytest.raises(DataError, match=rf"sample 6 \(/data/6\.png\): again, after .*{advice}"):
        list(islice(loader, 12))


@pytest.mark.parametrize("often", [1, 99])
def test_shared_memory_that_is_full_is_as_a_worker_that_dies_of_it(tmp_path, monkeypatch, caplog, often):
    """torch raises in a worker that lives where it can reserve nothing; a moment later there may be room again."""
    expected = batches(training(workers=0), 12)
    theirs = collate.default_collate

    def full(tensors):
        if len(list(tmp_path.iterdir())) < often and any(t.ndim == 0 and int(t) == 6 for t in tensors):
            (tmp_path / str(time.monotonic_ns())).touch()
            name = "unable to allocate shared memory(shm) for file </torch_7_1_0>"
            raise RuntimeError(f"{name}: No space left on device (28)")
        return theirs(tensors)

    monkeypatch.setattr(collate, "default_collate", full)
    if often == 1:
        assert same(batches(training(), 12), expected)
        assert "found no shared memory for a batch (/dev/shm is full): the workers are started again" in caplog.text
        return
    with pytest.raises(DataError, match=r"no shared memory for a batch .*: again, after .*--shm-size"):
        list(islice(training(), 12))


def test_workers_that_cannot_be_started_for_want_of_shared_memory(monkeypatch):
    def none(workers):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as of a semaphore: no file is named

    monkeypatch.setattr(module, "Slots", none)
    with pytest.raises(DataError, match=r"no data workers can be started: shared memory .*data\.workers \(now 2\)"):
        next(iter(training()))


@pytest.mark.slow
def test_a_worker_killed_between_samples_at_any_moment(tmp_path):
    """Also while nobody waits for it: nothing is raised then, and the batches are the same."""
    expected = batches(training(workers=0), 12)
    loader, got = training(), []
    running = iter(loader)
    for number in range(12):
        batch = next(running)
        got.append((batch["index"].tolist(), batch["noise"]))
        if number in (3, 8):
            os.kill(loader._running[0]._workers[number % 2].pid, signal.SIGKILL)
            time.sleep(0.1)  # PyTorch's handler of SIGCHLD runs here
    assert same(got, expected)


def test_evaluation_workers_are_started_again_too(tmp_path):
    def loaded(workers, trouble=lambda index: None):
        loader = make_eval_loader(Numbers(trouble), batch_size=2, workers=workers)
        return [(batch["index"].tolist(), batch["weight"].tolist()) for batch in loader]

    trouble = Once(tmp_path / "met", 10, lambda: kill_self(signal.SIGKILL))  # of the last batch
    assert loaded(2, trouble) == loaded(0)


def test_connections_close_before_an_exit_code_is_there(tmp_path, caplog):
    """What an end looks like from outside on a busy machine; what was read before waits to be handed over."""

    def trouble(index):
        if index == 6:
            time.sleep(0.5)  # the batch comes when nobody waits for one
        elif index == 10 and not met.exists():
            time.sleep(0.2)
            os.closerange(3, 1 << 16)
            met.touch()
            time.sleep(1)
            kill_self(signal.SIGKILL)

    def loaded(workers, **options):
        running = iter(make_eval_loader(Numbers(**options), batch_size=2, workers=workers))
        rows = [next(running)["index"].tolist() for _ in range(2)]
        while workers and not met.exists():
            time.sleep(0.01)
        return rows + [batch["index"].tolist() for batch in running]

    met = tmp_path / "met"
    with caplog.at_level(logging.WARNING):
        assert loaded(2, trouble=trouble) == loaded(0)
    assert "was killed by SIGKILL" in caplog.text


@pytest.mark.slow
def test_another_iterations_death_is_not_this_ones(tmp_path):
    """PyTorch's handler does not tell whose worker it was."""
    first, second = training(), training()
    one, two = iter(first), iter(second)
    next(one), next(two)
    os.kill(first._running[0]._workers[0].pid, signal.SIGKILL)
    pids = [worker.pid for worker in second._running[0]._workers]
    batches(two, 6)
    assert [worker.pid for worker in second._running[0]._workers] == pids
    assert len(batches(one, 3)) == 3


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sample_that_hangs_is_named(workers):
    loader = training(lambda index: time.sleep(60) if index == 6 else None, workers=workers, limit_s=0.3)
    begin = time.monotonic()
    with pytest.raises(DataError) as caught:
        list(islice(loader, 12))
    who = r"this process" if workers == 0 else r"data worker "
    assert str(caught.value).startswith(who.strip())
    assert "has read sample 6 (/data/6.png) for more than 0.3 s (trainer.sample_timeout)" in str(caught.value)
    assert "raise trainer.sample_timeout" in str(caught.value)
    assert time.monotonic() - begin < 30


@pytest.mark.slow
def test_a_worker_that_hangs_once_costs_nothing(tmp_path, caplog):
    """A lock that was inherited, a disk that did not answer."""
    trouble = Once(tmp_path / "met", 6, lambda: time.sleep(60))
    with caplog.at_level(logging.WARNING):
        assert same(batches(training(trouble, limit_s=0.3), 12), batches(training(workers=0), 12))
    assert "sample 6 (/data/6.png) for more than 0.3 s" in caplog.text


@pytest.mark.slow
def test_workers_that_do_not_even_begin(tmp_path):
    loader = training(limit_s=0.5)
    running = iter(loader)
    next(running)
    for worker in loader._running[0]._workers:
        os.kill(worker.pid, signal.SIGSTOP)
    assert same(batches(running, 6), batches(training(workers=0), 7)[1:])


def test_a_worker_that_hangs_inside_a_library(tmp_path):
    """With all of its threads: it does not hand over what it had read before."""
    trouble = Once(tmp_path / "met", 6, lambda: kill_self(signal.SIGSTOP))
    assert same(batches(training(trouble, limit_s=0.5), 9), batches(training(workers=0), 9))


@pytest.mark.slow
def test_slow_samples_are_not_stuck_ones():
    """A batch may take longer than the limit, a sample not."""
    loader = training(lambda index: time.sleep(0.15), batch_size=8, limit_s=1.0, workers=1)
    assert len(batches(loader, 2)) == 2
    assert len(batches(training(lambda index: time.sleep(0.05), limit_s=None), 2)) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_any_exception_names_its_sample(workers):
    def trouble(index):
        if index == 6:
            raise KeyError("box")

    with pytest.raises(KeyError) as caught:
        list(islice(training(trouble, workers=workers), 12))
    told = f"{caught.value!s} {getattr(caught.value, '__notes__', '')}"
    assert "while sample 6 (/data/6.png) was read" in told and "box" in told
    if workers:
        assert "in trouble" in told  # the worker's traceback


@pytest.mark.parametrize("workers", [0, 1])
def test_an_end_of_iteration_inside_a_sample_is_no_end_of_data(workers):
    def trouble(index):
        if index == 6:
            next(iter([]))

    with pytest.raises(RuntimeError, match=r"sample 6 \(/data/6\.png\) raised StopIteration"):
        list(make_eval_loader(Numbers(trouble), batch_size=2, workers=workers))


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_that_runs_out_names_the_sample(workers):
    def trouble(index):
        if index == 6:
            np.empty(2**60, np.uint8)

    with pytest.raises(DataError, match=r"sample 6 \(/data/6\.png\): main memory ran out .*Lower data\.workers"):
        list(islice(training(trouble, workers=workers), 12))


def test_the_alarm_is_put_back():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        batches(training(workers=0), 2)
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        os.kill(os.getpid(), signal.SIGALRM)
        assert rung
    finally:
        signal.signal(signal.SIGALRM, before)


def test_losses_in_a_row_have_an_end():
    losses = Losses(2)
    for given in (0, 5, 9):
        losses.judge(WorkerLost("gone", given, dead=True), given)
    with pytest.raises(DataError, match="gone: the 4th loss in a row"):
        losses.judge(WorkerLost("gone", 77, dead=True), 12)
    spread = Losses(2)
    for row in range(8):
        spread.judge(WorkerLost("gone", row, dead=True), row * PARDONED_AFTER)
    with pytest.raises(DataError, match="again, after"):  # at the same batch, whoever read what
        spread.judge(WorkerLost("gone", None, dead=True), 7 * PARDONED_AFTER)


def test_a_failure_ahead_waits_for_its_turn():
    def trouble(index):
        if index == bad:
            raise DataError("broken")

    bad = batches(training(workers=0), 3)[2][0][0]
    prefetcher = DevicePrefetcher(training(trouble, workers=0), "cpu", ahead=True)
    running = iter(prefetcher)
    next(running)
    assert prefetcher.failure is None
    next(running)
    assert "broken" in str(prefetcher.failure)
    with pytest.raises(DataError, match="broken"):
        next(running)


def test_titles():
    assert title(Numbers(), 3) == "sample 3 (/data/3.png)"
    assert title([1, 2], 3) == "sample 3"  # type: ignore[arg-type]
