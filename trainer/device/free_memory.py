"""How much memory is there: what this process may still take, what a backward pass keeps alive, and whether it ran out.

Containers limit memory below what the machine has, and the kernel's own figures do not show it, so control groups are
read too (both versions).
"""

from __future__ import annotations

import errno
import gc
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

# What libraries make of an allocation that failed. cuDNN tries plans until none is left, and then says only that.
_RAN_OUT = re.compile(
    r"out of memory|unable to find an engine|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR_(?:HOST|DEVICE)_ALLOCATION_FAILED|CUFFT_ALLOC_FAILED|CUSOLVER_STATUS_ALLOC_FAILED"
    r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory|std::bad_alloc",
    re.IGNORECASE,
)
_UNLIMITED = 2**60  # version 1 writes a number near 2^63 where there is no limit


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of main memory that can still be taken without swapping; None where the system does not tell.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    found = [value for value in (_free(root), *_group_limits(root)) if value is not None]
    return max(min(found), 0) if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory did not suffice, the device's or the machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM  # no room for another process, or for a file's pages
    return isinstance(error, RuntimeError) and _RAN_OUT.search(str(error)) is not None


def is_of_main_memory(error: BaseException) -> bool:
    """Whether it is main memory that an error which ``is_out_of_memory`` tells of."""
    return isinstance(error, MemoryError | OSError) or any(
        word in str(error) for word in ("DefaultCPUAllocator", "std::bad_alloc")
    )


def shortage(error: BaseException) -> str:
    """What to tell of an error that ``is_out_of_memory``, where nothing nearer knows how much was asked for and why."""
    lines = [f"memory ran out ({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__})."]
    with suppress(RuntimeError, AssertionError):  # even asking a full card can fail
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            others = total - free - torch.cuda.memory_reserved()
            lines.append(
                f"Of the card's {total / 2**30:.1f} GiB {free / 2**30:.1f} are free and {others / 2**30:.1f} are other "
                "programs' (nvidia-smi names them): end those, or choose another card with CUDA_VISIBLE_DEVICES."
            )
    lines.append("Otherwise lower the batch, the resolution or the number of workers")
    return " ".join(lines)


def release(device: torch.device) -> None:
    """Gives memory back that nobody refers to any more, and begins to measure the peak anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _free(root: Path) -> int | None:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if root == Path("/") and "SC_AVPHYS_PAGES" in os.sysconf_names:  # not Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _group_limits(root: Path) -> Iterator[int]:
    """What is left in this process's control group and in each above it."""
    groups = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines() if line.count(":") >= 2]
    paths = {controllers: path for _, controllers, path in groups}
    for controllers, base, limit, usage, reclaimable in (
        ("", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("memory", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        # Inside a container the path is that of the host, and the group's files lie at the top.
        folder = (root / base / paths.get(controllers, "").lstrip("/")).resolve()
        top = (root / base).resolve()
        while folder.is_relative_to(top):
            left = _left(folder / limit, folder / usage, folder / "memory.stat", reclaimable)
            if left is not None:
                yield left
            folder = folder.parent


def _left(limit: Path, usage: Path, stat: Path, reclaimable: str) -> int | None:
    most, used = _read(limit).strip(), _read(usage).strip()
    if not most.isdigit() or not used.isdigit() or int(most) >= _UNLIMITED:
        return None
    words = dict(line.split()[:2] for line in _read(stat).splitlines() if len(line.split()) == 2)
    return int(most) - int(used) + int(words.get(reclaimable, 0))  # file pages are given up when they are needed


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


class SavedMemory:
    """Bytes that autograd keeps for backward passes, counted by storage: views and repeated uses count once.

    Attributes:
        peak: most bytes alive at a time so far.
    """

    def __init__(self, spared: Iterable[Tensor] = ()) -> None:
        self.peak = 0
        self._now = 0
        self._uses: dict[int, int] = {}
        whole = (getattr(tensor, "to_local", lambda tensor=tensor: tensor)() for tensor in spared)  # of a DTensor: rows
        self._spared = {tensor.untyped_storage().data_ptr() for tensor in whole}

    @contextmanager
    def watching(self) -> Iterator[SavedMemory]:
        """Inside, everything that is saved for a backward pass is counted until it is given up."""

        def pack(tensor: Tensor) -> _Saved:
            return _Saved(tensor, self)

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
            yield self

    def take(self, tensor: Tensor) -> None:
        """One more use of a tensor's storage."""
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self._spared or key == 0:
            return
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] == 1:
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)

    def give_up(self, tensor: Tensor) -> None:
        """One use less."""
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self._uses:
            self._uses[key] -= 1
            if not self._uses[key]:
                del self._uses[key]
                self._now -= storage.nbytes()


class _Saved:
    """A saved tensor, which tells its counter when autograd drops it."""

    __slots__ = ("_counter", "tensor")

    def __init__(self, tensor: Tensor, counter: SavedMemory) -> None:
        self.tensor, self._counter = tensor, counter
        counter.take(tensor)

    def __del__(self) -> None:
        self._counter.give_up(self.tensor)
