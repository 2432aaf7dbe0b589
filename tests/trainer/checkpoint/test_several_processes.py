"""Checkpoints of several processes: written once, sharded tensors whole, failures seen by all, any number may load."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from tests.helpers.forking import free_port
from tests.helpers.paths import ROOT
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import load_weights

WORKER = """
import errno, sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
import trainer.checkpoint.directory as module
from trainer.checkpoint.directory import Checkpoints
from tests.helpers.altering import flip
from trainer.checkpoint.resuming import choose
from trainer.errors import CheckpointError

dist.init_process_group("gloo")
rank = dist.get_rank()
mesh = init_device_mesh("cpu", (2,))
whole = torch.arange(12.0).view(4, 3)
sharded = distribute_tensor(whole, mesh, [Shard(0)])
state = {"same": torch.ones(5), "sharded": sharded, "step": 7}
checkpoints = Checkpoints(sys.argv[1], 2)
path = checkpoints.save(7, state, {"w": whole}, None, {"world": 2})
assert checkpoints.latest() == path

target = {"same": torch.zeros(5), "sharded": distribute_tensor(torch.zeros(4, 3), mesh, [Shard(0)]), "step": 0}
loaded, meta = checkpoints.load(path, template=lambda place, *_: target[place])
assert loaded["step"] == 7 and meta["world"] == 2
assert torch.equal(loaded["same"], torch.ones(5))
assert torch.equal(target["sharded"].to_local(), whole[2 * rank : 2 * rank + 2])

newer = checkpoints.save(8, state, {"w": whole}, None, {})
if rank == 0:  # a bit of the other's shard, which only that one reads again
    flip(newer / "state" / "__1_0.distcp", 8)
dist.barrier()
chosen, passed = choose(checkpoints, "auto")
assert chosen == path and [line[:40] for line in passed] == ["step-00000008: state/__1_0.distcp is not"], passed
assert checkpoints.latest() == path
if rank == 0:
    checkpoints.set_aside(path)
dist.barrier()

for place in ("write_flushed", "save_weights"):  # only rank 0 calls these: rank 1 must hear of it
    original = getattr(module, place)
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")
    setattr(module, place, full)
    try:
        checkpoints.save(8, state, {"w": whole}, None, {})
        raise SystemExit("a failure went unnoticed")
    except CheckpointError as error:
        assert "no space left" in str(error), error
    setattr(module, place, original)

if rank == 1:  # and the other way round: a failing write of rank 1 ends both
    import torch.distributed.checkpoint.filesystem as filesystem
    def broken(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")
    filesystem.FileSystemWriter.write_data = broken
try:
    checkpoints.save(9, state, {"w": whole}, None, {})
    raise SystemExit("a failure went unnoticed")
except CheckpointError as error:
    assert "no space left" in str(error), error
assert checkpoints.latest() == path
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "run")],
            env={**common, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        texts = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(texts)

    # one process reads what two have written
    run = tmp_path / "run"
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
        "latest",
        "step-00000007",
        "step-00000008.before",
    ]
    path = Checkpoints(run).latest()
    assert path is not None
    state, _ = Checkpoints(run).load(path)
    assert torch.equal(state["sharded"], torch.arange(12.0).view(4, 3)) and torch.equal(state["same"], torch.ones(5))
    assert torch.equal(load_weights(run)[0]["w"], torch.arange(12.0).view(4, 3))
