"""Processes that begin as a copy of this one."""

from __future__ import annotations

import gc
import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch

# Autograd counts devices once, at the first backward of a process, and a copy of a process that found one cannot use
# it. Fake tensors bring one along (a CUDA that is not there): before any test has made them there is none.
torch.ones(1, requires_grad=True).sum().backward()


def fork(target: Callable[..., None], *arguments: Any) -> Any:
    """A running process. What is garbage here is collected first: in the copy a decoder would wait for its threads."""
    gc.collect()
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def free_port() -> int:
    """One of this machine's that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def side_by_side(target: Callable[..., Any], *arguments: Any, world: int = 2, within_s: float = 120) -> list[Any]:
    """What ``target(rank, *arguments)`` returns, or the exception that it raises, in processes that gloo may join.

    Results are plain: they come through a queue.
    """
    port = free_port()
    context = multiprocessing.get_context("fork")
    results = context.Queue()

    def work(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        try:
            found = target(rank, *arguments)
        except Exception as error:
            found = error
        results.put((rank, found))
        results.close()
        results.join_thread()
        os._exit(0)  # the groups need not be left: that takes seconds after a failure

    processes = [fork(work, rank) for rank in range(world)]
    try:
        return [found for _, found in sorted((results.get(timeout=within_s) for _ in processes), key=lambda x: x[0])]
    finally:
        for process in processes:
            process.kill()
            process.join()
