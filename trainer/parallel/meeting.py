"""Where the processes of a run meet: the launcher's store, and what each knows there of another."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

_dist: Any = dist  # whose types do not have the store
Wait = Callable[[threading.Event, float], bool]
LEFT = "left"  # the last sign of life of a process that is through


@dataclass
class Sign:
    """What is known of a process: its last words, and when they were heard and when it last got on, by our clock."""

    host: str = ""
    place: str = ""  # host and space of process numbers, where those can be looked up
    pid: int = 0
    nonce: str = ""
    beat: str = ""
    heard: float = 0.0
    got_on: float = 0.0
    entered: int = 0
    waits: bool = False

    @property
    def left(self) -> bool:
        return self.beat == LEFT

    def hear(self, beat: str, now: float) -> None:
        """Takes note of a sign of life: its number, progress, common operations, and whether it is in one."""
        if beat == self.beat:
            return
        if beat != LEFT:
            _number, *progress = beat.split()
            if progress != self.beat.split()[1:]:
                self.got_on = now
            self.entered, self.waits = int(progress[1]), progress[2] == "1"
        self.beat, self.heard = beat, now


def place() -> str:
    """The host and the space of process numbers; empty where they cannot be looked up."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def is_dead(sign: Sign, place: str) -> bool:
    """Whether a process that can be looked up from here is no more, or has not been buried yet."""
    if not place or sign.place != place:
        return False
    try:
        with open(f"/proc/{sign.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False


def waits(thread: int) -> bool:
    """Whether a thread is inside of something that torch does with the others."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if "/torch/distributed/" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def address() -> str:
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def connect(serve: bool, timeout: float) -> Any:
    """The launcher's store, or a new one at its place; waits so many seconds for it, and for each answer."""
    return _dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=serve,
        timeout=timedelta(seconds=timeout),
        wait_for_workers=False,
        multi_tenant=True,
    )


def within(prefix: str, store: Any) -> Any:
    """A store whose keys have a prefix."""
    return _dist.PrefixStore(prefix, store)
