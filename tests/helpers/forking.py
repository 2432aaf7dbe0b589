"""Processes that begin as a copy of this one."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from typing import Any


def fork(target: Callable[..., None], *arguments: Any) -> Any:
    """A running process. What is garbage here is collected first: in the copy a decoder would wait for its threads."""
    gc.collect()
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process
