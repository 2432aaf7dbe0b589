"""Loaders: same data for any number of workers, readable errors, weights, waiting times."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from itertools import islice

import numpy as np
import pytest
import torch

from tests.helpers.paths import ROOT
from trainer.data.collate import collate
from trainer.data.loader import DevicePrefetcher, make_eval_loader, make_loader, to_device
from trainer.data.workers import worker_count
from trainer.errors import ConfigError, DataError, UserError


class Numbers:
    """Samples that show their index and their random stream."""

    def __init__(self, n=11):
        self.n = n

    def __len__(self):
        return self.n

    def sample(self, index, rng):
        return {
            "index": np.int64(index),
            "noise": rng.random((2, 3), dtype=np.float32),
            "tensor": torch.tensor([index], dtype=torch.int16),
            "name": f"clip{index}",
        }


class Broken(Numbers):
    """Index 3 cannot be read; ``problem`` says how."""

    def __init__(self, problem):
        super().__init__(6)
        self.problem = problem

    def sample(self, index, rng):
        if index == 3:
            self.problem()
        return super().sample(index, rng)


class Processes(Numbers):
    def sample(self, index, rng):
        import cv2

        return {
            "pid": np.int64(os.getpid()),
            "torch": np.int64(torch.get_num_threads()),
            "cv2": np.int64(cv2.getNumThreads()),
        }


def take(count, **options):
    loader = make_loader(Numbers(), **{"seed": 3, "samples_seen": 0, "batch_size": 4, **options})
    return list(islice(loader, count))


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key]


def test_batches_have_a_first_dimension_and_no_weight():
    (batch,) = take(1)
    assert batch["index"].shape == (4,) and batch["index"].dtype == torch.int64
    assert batch["noise"].shape == (4, 2, 3) and batch["noise"].dtype == torch.float32
    assert batch["tensor"].shape == (4, 1) and batch["tensor"].dtype == torch.int16
    assert batch["name"] == [f"clip{i}" for i in batch["index"].tolist()]
    assert "weight" not in batch


def test_data_do_not_depend_on_workers():
    assert_same(take(7, workers=0), take(7, workers=2))


def test_data_do_not_depend_on_processes():
    one = take(6)
    ranks = [take(6, batch_size=2, rank=rank, world=2) for rank in range(2)]
    for step, batch in enumerate(one):
        assert torch.equal(batch["noise"], torch.cat([ranks[r][step]["noise"] for r in range(2)]))


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_continues_with_the_same_samples_and_augmentation(workers):
    whole = take(8, workers=0)
    assert_same(whole[5:], take(3, samples_seen=20, workers=workers))


def test_augmentation_differs_between_epochs():
    batches = list(islice(make_loader(Numbers(2), seed=0, samples_seen=0, batch_size=2), 3))
    noise = {float(b["noise"][b["index"].tolist().index(0)].sum()) for b in batches}
    assert len(noise) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_random_stream_alone(workers):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    take(2, workers=workers)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("batch_size", "world", "limit"), [(4, 1, None), (3, 2, None), (4, 2, 5)])
def test_evaluation_weights_sum_to_the_number_of_samples(batch_size, world, limit):
    loaders = [
        make_eval_loader(Numbers(), batch_size=batch_size, rank=r, world=world, limit=limit) for r in range(world)
    ]
    batches = [list(loader) for loader in loaders]
    assert {len(b) for b in batches} == {len(loader) for loader in loaders}
    flat = [batch for rank in batches for batch in rank]
    assert {batch["weight"].dtype for batch in flat} == {torch.float32}
    assert all(batch["weight"].shape == batch["index"].shape for batch in flat)
    assert sum(float(batch["weight"].sum()) for batch in flat) == (limit or 11)
    mean = sum(float((batch["weight"] * batch["index"]).sum()) for batch in flat) / (limit or 11)
    assert mean == (5.0 if limit is None else np.mean([0, 2, 4, 6, 8]))


def test_evaluation_repeats_itself():
    loader = make_eval_loader(Numbers(), batch_size=4, workers=1, seed=1)
    first = list(loader)
    assert_same(first, list(loader))
    assert_same(first, list(make_eval_loader(Numbers(), batch_size=4, workers=0, seed=1)))


def test_empty_data_and_limits_are_refused():
    with pytest.raises(DataError, match="empty"):
        make_loader(Numbers(0), seed=0, samples_seen=0, batch_size=1)
    with pytest.raises(DataError, match="empty"):
        make_eval_loader(Numbers(0), batch_size=1)
    with pytest.raises(ConfigError, match=r"trainer\.eval_samples=0"):
        make_eval_loader(Numbers(), batch_size=1, limit=0)


def test_collate_names_what_differs():
    samples = [{"x": np.zeros((2, 3)), "name": "a"}, {"x": np.zeros((2, 4)), "name": "b"}]
    with pytest.raises(DataError, match=r"'x' is 2x3 \(float64\) in sample 'a' and 2x4 .* in sample 'b'"):
        collate(samples)
    with pytest.raises(DataError, match="uint8"):
        collate([{"x": np.zeros(2, np.uint8)}, {"x": np.zeros(2, np.int16)}])
    with pytest.raises(DataError, match="differ in flow"):
        collate([{"x": 1}, {"x": 1, "flow": 2}])
    with pytest.raises(DataError, match="'x' of sample 'a' cannot become a tensor"):
        collate([{"x": np.array(["s"]), "name": "a"}])


def test_collate_takes_awkward_arrays():
    frozen = np.arange(6).reshape(2, 3)
    frozen.setflags(write=False)
    sample = {"flip": frozen[:, ::-1], "frozen": frozen, "zero": np.array(2.0), "number": 3}
    batch = collate([{**sample, "nested": {"y": np.ones(2)}, "none": None}] * 2)
    assert batch["flip"].tolist() == [frozen[:, ::-1].tolist()] * 2
    assert batch["frozen"].shape == (2, 2, 3) and batch["zero"].shape == (2,) and batch["number"].tolist() == [3, 3]
    assert batch["nested"]["y"].shape == (2, 2) and batch["none"] == [None, None]


def raise_data():
    raise DataError("cannot read /data/a.png: truncated")


def raise_config():
    raise ConfigError(["data.frames=9: too long", "data.x=1: unknown"])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("problem", "kind"), [(raise_data, DataError), (raise_config, ConfigError)])
def test_user_errors_arrive_as_they_are(workers, problem, kind):
    with pytest.raises(UserError) as expected:
        problem()
    loader = make_loader(Broken(problem), seed=0, samples_seen=0, batch_size=2, workers=workers)
    with pytest.raises(UserError) as caught:
        list(islice(loader, 6))
    assert type(caught.value) is kind and str(caught.value) == str(expected.value)


def test_failures_of_collating_arrive_from_a_worker():
    class Uneven(Numbers):
        def sample(self, index, rng):
            return {"x": np.zeros(index)}

    with pytest.raises(DataError, match="'x' is "):
        next(iter(make_loader(Uneven(), seed=0, samples_seen=0, batch_size=4, workers=1)))


def test_other_errors_keep_their_traceback():
    def bug():
        raise ZeroDivisionError("oh")

    loader = make_loader(Broken(bug), seed=0, samples_seen=0, batch_size=2, workers=1)
    with pytest.raises(ZeroDivisionError, match="oh"):
        list(islice(loader, 6))


def test_workers_use_one_thread_each():
    batches = list(islice(make_loader(Processes(), seed=0, samples_seen=0, batch_size=2, workers=2), 4))
    assert len({int(p) for b in batches for p in b["pid"]} - {os.getpid()}) == 2
    assert {int(t) for b in batches for t in b["torch"]} == {1}
    assert {int(t) for b in batches for t in b["cv2"]} <= {0, 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_workers_survive_signals_sent_to_the_whole_group(number):
    batches = iter(make_loader(Processes(), seed=0, samples_seen=0, batch_size=1, workers=1))
    pid = int(next(batches)["pid"][0])
    subprocess.run(["kill", f"-{number.value}", str(pid)], check=True)  # not the training process sends it
    time.sleep(0.05)
    assert [int(b["pid"][0]) for b in islice(batches, 5)] == [pid] * 5
    begin = time.perf_counter()
    del batches
    assert time.perf_counter() - begin < 3, "the worker must still end when it is told to"


class Ring:
    """Garbage that only the collector finds; it says in which process it was collected."""

    def __init__(self, log):
        self.own, self.log = self, log

    def __del__(self):
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\n")


class Collecting(Numbers):
    def sample(self, index, rng):
        gc.collect()
        return super().sample(index, rng)


@pytest.mark.slow
def test_garbage_of_this_process_is_not_left_to_a_worker(tmp_path):
    """A decoder in it would wait for its threads, which the worker does not have."""
    gc.disable()
    try:
        Ring(str(tmp_path / "log"))
        list(islice(make_loader(Collecting(), seed=0, samples_seen=0, batch_size=2, workers=2), 3))
        gc.collect()
    finally:
        gc.enable()
    assert (tmp_path / "log").read_text().split() == [str(os.getpid())]


def test_close_ends_the_workers():
    loader = make_loader(Processes(), seed=0, samples_seen=0, batch_size=1, workers=2)
    batches = iter(loader)
    pids = {int(next(batches)["pid"][0]) for _ in range(4)}
    begin = time.perf_counter()
    loader.close()
    assert time.perf_counter() - begin < 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_uncaught_error_does_not_hang_at_exit():
    code = (
        "from tests.trainer.data.test_loader import Numbers\n"
        "from trainer.data.loader import make_loader\n"
        "batches = iter(make_loader(Numbers(), seed=0, samples_seen=0, batch_size=2, workers=2))\n"
        "next(batches)\n"
        "raise SystemError('stop here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "stop here" in done.stderr


def test_the_dataset_travels_to_spawned_workers():
    loader = make_loader(Numbers(), seed=0, samples_seen=0, batch_size=2)
    assert len(pickle.dumps(loader._start(0, None)._dataset)) < 2000  # nothing but the user's data set and the seed


class Slow:
    def __iter__(self):
        for index in range(3):
            time.sleep(0.03)
            yield {"x": torch.full((2,), index), "name": ["a", "b"]}

    def __len__(self):
        return 3


def test_prefetcher_counts_the_wait_and_keeps_the_order():
    prefetcher = DevicePrefetcher(Slow(), "cpu")
    assert len(prefetcher) == 3
    assert [int(b["x"][0]) for b in prefetcher] == [0, 1, 2]
    assert prefetcher.wait_s >= 0.09
    list(prefetcher)
    assert prefetcher.wait_s >= 0.18


def test_to_device_moves_nested_tensors():
    batch = to_device({"a": [torch.ones(1), "s"], "b": {"c": torch.ones(2)}}, torch.device("meta"))
    assert batch["a"][0].is_meta and batch["b"]["c"].is_meta and batch["a"][1] == "s"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("workers", [0, 2])
def test_prefetching_to_cuda_changes_nothing(workers):
    expected = take(12)
    loader = make_loader(Numbers(), seed=3, samples_seen=0, batch_size=4, workers=workers, device="cuda")
    moved = []
    for batch in islice(DevicePrefetcher(loader, "cuda"), 12):
        torch.mm(torch.ones(500, 500, device="cuda"), torch.ones(500, 500, device="cuda"))
        moved.append({k: v.cpu() if isinstance(v, torch.Tensor) else v for k, v in batch.items()})
        assert batch["noise"].is_cuda
    assert_same(expected, moved)


@pytest.mark.parametrize("workers", [0, 2])
def test_copies_of_a_sample_are_augmented_differently(workers):
    loader = make_loader(Numbers(4), seed=3, samples_seen=0, batch_size=6, repeats=3, workers=workers)
    (first,) = islice(loader, 1)
    loader.close()
    indices, noise = first["index"].tolist(), first["noise"]
    assert len(set(indices[:3])) == len(set(indices[3:])) == 1 and indices[0] != indices[3]
    assert len({tuple(row.flatten().tolist()) for row in noise}) == 6


def test_no_threads_are_left_behind():
    before = set(threading.enumerate())  # not their number: one of an earlier test may just be ending
    take(2, workers=1)
    deadline = time.monotonic() + 10  # on a busy machine they take their time to end
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_workers_follow_the_cores_on_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [worker_count(asked, device) for asked in (None, 0, 3) for device in (cpu, cuda)] == [2, 15, 0, 0, 3, 3]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert worker_count(None, cuda) == 1


def test_a_worker_says_nothing_of_a_reader_that_is_gone() -> None:
    """Ctrl-C between two batches: the thread that hands tensors over printed a traceback."""
    code = (
        "import sys, threading; from trainer.data import workers; workers.init_worker(0)\n"
        "def hand_over(error):\n"
        "    try: raise error\n"
        "    except BaseException: sys.excepthook(*sys.exc_info())  # as multiprocessing.resource_sharer does\n"
        "for error in ConnectionResetError(104, 'reset'), EOFError(), ValueError('own fault'): hand_over(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "own fault" in done.stderr and "reset" not in done.stderr and "EOFError" not in done.stderr
