"""Memory: what control groups leave, and what autograd keeps."""

from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.device.free_memory import SavedMemory, available_memory

GIB = 2**30


def system(root: Path, files: dict[str, str]) -> Path:
    for name, content in {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {8 * 2**20} kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_without_limits(tmp_path: Path) -> None:
    assert available_memory(system(tmp_path, {})) == 8 * GIB


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


@pytest.mark.parametrize("path", ["/", "/job/step", "/elsewhere/on/the/host"])
def test_control_groups_of_version_2(tmp_path: Path, path: str) -> None:
    """The tightest of the group and those above it; a container sees its own at the top."""
    files = {
        "proc/self/cgroup": f"0::{path}\n",
        "sys/fs/cgroup/memory.max": f"{3 * GIB}\n",
        "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
        "sys/fs/cgroup/job/memory.max": "max\n",
        "sys/fs/cgroup/job/memory.current": "1\n",
        "sys/fs/cgroup/job/step/memory.max": f"{GIB}\n",
        "sys/fs/cgroup/job/step/memory.current": f"{GIB // 4}\n",
    }
    expected = 3 * GIB // 4 if path == "/job/step" else 3 * GIB // 2
    assert available_memory(system(tmp_path, files)) == expected


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory/box"
    files = {
        "proc/self/cgroup": "11:cpu:/box\n9:memory:/box\n",
        f"{folder}/memory.limit_in_bytes": str(2 * GIB),
        f"{folder}/memory.usage_in_bytes": str(GIB),
        f"{folder}/memory.stat": f"total_inactive_file {GIB // 8}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
    }
    assert available_memory(system(tmp_path, files)) == GIB + GIB // 8


def test_more_used_than_allowed_is_nothing_left(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": "10", "sys/fs/cgroup/memory.current": "20", "proc/self/cgroup": "0::/"}
    assert available_memory(system(tmp_path, files)) == 0


def test_this_machine_tells() -> None:
    assert 2**20 < (available_memory() or 0) < 2**50


def test_saved_tensors_are_counted_once_and_given_up() -> None:
    layer = nn.Linear(4, 4, bias=False)
    saved = SavedMemory(spared=layer.parameters())
    x = torch.ones(10, 4)
    with saved.watching():
        y = layer(x)  # keeps x; the weight is spared
        assert saved.peak == 160
        z = (x.t() * 1.0).sum() + (y.tanh() * y[:, :2].repeat(1, 2)).sum()  # tanh's result, the repetition
        assert saved.peak == 3 * 160
        z.backward()
    del y, z
    assert saved._now == 0 and not saved._uses
    assert layer.weight.grad is not None


def test_the_peak_is_of_what_lives_at_a_time() -> None:
    saved = SavedMemory()
    w = torch.ones(25, requires_grad=True)
    with saved.watching():
        for _ in range(3):
            (w * 2.0).exp().sum().backward()
    assert saved.peak == 100
