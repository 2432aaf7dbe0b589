"""The watch that the processes of a run keep over each other, so that none of them waits for one that is gone.

A thread in each process, from before the networks are built until the end. It meets the others at the store of the
launcher (``MASTER_ADDR``, ``MASTER_PORT``) and gives a sign of life every second. What ends all of them:

- an error in one (``Watch.fail``), within ``GRACE_S``;
- one that is gone (killed, crashed, its host lost): at once where its process number can be looked up, otherwise
  ``DEAD_AFTER_S`` after its last sign of life;
- nobody getting on for ``trainer.hang_after``: then the one that the others wait for shows where it stands. One process
  that is busy while the others wait (rank 0 writing, drawing) is given as long.

Rank 0 looks at everybody, everybody at rank 0: a thousand processes cost the store a few thousand messages a second.
Keys of an earlier attempt stay in the store when torchrun starts processes anew. Therefore the processes meet first:
each says hello with a number of its own, and the answer that quotes it has the prefix of this attempt's keys.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import sys
import threading
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Any

from trainer.errors import UserError
from trainer.parallel import failure
from trainer.parallel.failure import Failure
from trainer.parallel.meeting import LEFT, Sign, Wait, address, connect, is_dead, place, waits
from trainer.text import few

BEAT_S = 1.0
DEAD_AFTER_S = 120.0  # without a sign of life; a process that holds Python's lock gives none for so long at most
HANG_AFTER_S = 1800.0  # the default of trainer.hang_after
MEET_S = 900.0  # that the first process waits for the last one to come
COME_S = 15.0  # that a process which fails at once waits for the first one to come
SETTLE_S = 5.0  # that a closed connection waits for the news of who closed it
GRACE_S = 5.0  # to end by oneself once another has failed
LAST_S = 60.0  # that the process which has the store waits for the others to be through, after a run that went well
ENDED = "has ended without a word"
_LATE_BEATS = 0.1  # between looks while the processes meet


class Watch:
    """One process's part in it. With one process, or without a launcher's store, nothing is watched.

    Attributes:
        first: the failure that ends the run, once there is one.
        in_the_middle: of a run: leaving means failing.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.hang_after: float | None = HANG_AFTER_S
        self.first: Failure | None = None
        self.in_the_middle = False
        self._ticks = self._entered = self._beats = 0
        self._met, self._leaving, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._store: Any = None
        self._prefix, self._problem = "", ""
        self._others: dict[int, Sign] = {}
        self._me = {"host": socket.gethostname(), "place": place(), "pid": os.getpid(), "nonce": uuid.uuid4().hex}
        self._own, self._began = self._sign(self._me), time.monotonic()
        self._main = threading.main_thread().ident
        self._thread: threading.Thread | None = None

    @property
    def active(self) -> bool:
        return self._thread is not None

    @property
    def keeps_store(self) -> bool:
        """Whether the store is this process's: the first one's, unless it is torchrun's."""
        return self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)

    def start(self) -> None:
        if self.active or self.world == 1 or "MASTER_ADDR" not in os.environ:
            return
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()
        atexit.register(self.leave)
        sys.excepthook = _hook

    # From the main thread

    def tick(self) -> None:
        """This process gets on."""
        self._ticks += 1

    def enter(self) -> None:
        """It comes to something that all do together."""
        self._entered += 1

    def meeting_point(self, wait: Wait = threading.Event.wait) -> tuple[Any, str]:
        """The launcher's store, and the prefix of this attempt's keys; returns once the first process is there.

        Args:
            wait: for an event, for so many seconds at most.

        Raises:
            UserError: it has not come.
        """
        if not wait(self._met, MEET_S + GRACE_S) or self._problem:
            problem = self._problem or f"rank 0 has not come to {address()} for {MEET_S:.0f} s"
            taken = "; another program has that port, choose another one" if "EADDRINUSE" in problem else ""
            raise UserError(f"{problem}. All {self.world} processes need the same MASTER_ADDR and MASTER_PORT{taken}")
        return connect(serve=False, timeout=MEET_S), self._prefix

    def fail(self, text: str, code: int, follows: bool) -> Failure | None:
        """This process fails. Tells the others, unless another was first.

        Args:
            follows: the error looks like the end of another process; its news are waited for.

        Returns:
            None when this was the first; else what was.
        """
        if not self.active or not self._met.wait(COME_S) or self._leaving.is_set():
            return self.first
        if follows and self._ended.wait(SETTLE_S):
            return self.first
        found = self._publish(Failure(self.rank, self._me["host"], self._me["pid"], text, code))
        return None if found.by == self.rank else found

    def leave(self) -> None:
        """The end of this process. Whoever has the store stays until the others need it no more."""
        if self._thread is None or self._leaving.is_set():
            return
        if self.in_the_middle and self.first is None:
            text = f"rank {self.rank} ({self._me['host']}) leaves in the middle of the run: something ended its process"
            if self._met.is_set():
                self._tell(Failure(self.rank, self._me["host"], self._me["pid"], text))
        self._leaving.set()
        self._thread.join(GRACE_S)
        if not self._met.is_set() or self._thread.is_alive():
            return
        with suppress(Exception):
            self._store.set(self._key("beat", self.rank), LEFT)
            waits = self.keeps_store or (self.first is not None and self.first.rank == self.rank)
            until = time.monotonic() + (LAST_S if self.first is None else 2 * GRACE_S)
            while waits and time.monotonic() < until and not self._all_left():
                if self.rank == 0:
                    self._welcome()  # those that come only now learn what happened
                time.sleep(_LATE_BEATS)

    # The thread

    def _run(self) -> None:
        try:
            self._store = connect(serve=self.keeps_store, timeout=MEET_S)
            self._store.set_timeout(timedelta(seconds=DEAD_AFTER_S))
            self._meet()
            while not self._leaving.wait(_LATE_BEATS if self.missing else BEAT_S):
                self._beat()
                if self._store.check([self._key("first")]):
                    return self._end(Failure.loads(self._store.get(self._key("first"))))
                self._look()
        except Exception as error:
            if self._leaving.is_set():
                return
            reason = str(error).splitlines()[0]  # torch's own goes on with addresses of C++
            if not self._met.is_set():
                self._problem = f"the processes did not meet at {address()}: {reason}"
                self._met.set()
                return
            lost = self._others.get(0, self._own)  # whoever has the store, or whose agent has it
            ended = is_dead(lost, self._me["place"])
            how = ENDED if ended else f"is out of reach, the store at {address()} is gone ({reason})"
            self._end(
                Failure(0, lost.host, lost.pid, failure.lost(0, lost.host, lost.pid, how), time=time.time(), told=False)
            )

    @property
    def missing(self) -> list[int]:
        """Those at which this process looks and that have not come yet."""
        watched = range(1, self.world) if self.rank == 0 else (0,)
        return [rank for rank in watched if rank not in self._others or not self._others[rank].beat]

    def _key(self, *words: object) -> str:
        return "/".join(map(str, ("watch", self._prefix, *words)))

    def _meet(self) -> None:
        self._store.set(f"watch/hello/{self.rank}", json.dumps(self._me))
        if self.rank == 0:
            self._prefix = self._me["nonce"]
            self._met.set()
            return
        until = time.monotonic() + MEET_S
        key = f"watch/welcome/{self.rank}"
        while not self._leaving.wait(_LATE_BEATS):
            if self._store.check([key]):
                answer = json.loads(self._store.get(key))
                if answer["quoted"] == self._me["nonce"]:
                    self._prefix = answer["prefix"]
                    self._others[0] = self._sign(answer["host"])
                    self._met.set()
                    return
            if time.monotonic() > until:
                raise TimeoutError(f"rank 0 has not come for {MEET_S:.0f} s")

    def _sign(self, hello: dict[str, Any]) -> Sign:
        now = time.monotonic()
        return Sign(hello["host"], hello["place"], hello["pid"], hello["nonce"], heard=now, got_on=now)

    def _welcome(self) -> None:
        """Rank 0 answers those that have come, and those that have come anew in place of an earlier attempt's."""
        for rank in range(1, self.world):
            known = self._others.get(rank)
            if (known is not None and known.beat) or not self._store.check([f"watch/hello/{rank}"]):
                continue
            hello = json.loads(self._store.get(f"watch/hello/{rank}"))
            if known is None or known.nonce != hello["nonce"]:
                self._others[rank] = self._sign(hello)
                answer = {"quoted": hello["nonce"], "prefix": self._prefix, "host": self._me}
                self._store.set(f"watch/welcome/{rank}", json.dumps(answer))

    def _beat(self) -> None:
        self._beats += 1
        words = " ".join(map(str, (self._beats, self._ticks, self._entered, int(waits(self._main or 0)))))
        self._own.hear(words, time.monotonic())
        self._store.set(self._key("beat", self.rank), words)

    def _look(self) -> None:
        if self.rank == 0:
            self._welcome()
        now = time.monotonic()
        known = [
            rank for rank, sign in self._others.items() if sign.beat or self._store.check([self._key("beat", rank)])
        ]
        beats = self._store.multi_get([self._key("beat", rank) for rank in known]) if known else []
        for rank, beat in zip(known, map(bytes.decode, beats), strict=True):
            self._others[rank].hear(beat, now)
        for rank, sign in self._others.items():
            if sign.left or not (
                sign.beat or self.keeps_store
            ):  # in torchrun's store hello may be an earlier attempt's
                continue
            if is_dead(sign, self._me["place"]):
                return self._gone(rank, sign, ENDED)
            if sign.beat and now - sign.heard > DEAD_AFTER_S:
                return self._gone(rank, sign, f"has given no sign of life for {DEAD_AFTER_S:.0f} s")
        if self.rank == 0 and self.missing and now - self._began > MEET_S:
            text = f"of {self.world} processes rank {few(self.missing)} did not come to {address()} for {MEET_S:.0f} s"
            return self._tell(Failure(self.missing[0], "unknown", 0, text))
        if self.rank == 0 and self.hang_after is not None and not self.missing:
            self._look_for_hang(now, self.hang_after)
        return None

    def _look_for_hang(self, now: float, after: float) -> None:
        signs = {0: self._own, **{rank: sign for rank, sign in self._others.items() if not sign.left}}
        if len(signs) == 1 or any(now - sign.got_on < after for sign in signs.values()):
            return
        least = min(sign.entered for sign in signs.values())
        behind = [rank for rank, sign in signs.items() if sign.entered == least]
        rank = next((rank for rank in behind if not signs[rank].waits), behind[0])
        sign = signs[rank]
        text = failure.hanging(rank, sign.host, sign.pid, after)
        self._publish(Failure(rank, sign.host, sign.pid, text, told=False, stuck=True))

    def _gone(self, rank: int, sign: Sign, how: str) -> None:
        self._tell(Failure(rank, sign.host, sign.pid, failure.lost(rank, sign.host, sign.pid, how)))

    def _tell(self, mine: Failure) -> None:
        if self._publish(mine).by == self.rank:
            failure.say(f"error: {mine.text}\n")

    def _publish(self, mine: Failure) -> Failure:
        """Writes down the first failure. Returns what stands there then."""
        mine = replace(mine, by=self.rank, time=time.time())
        try:
            found = Failure.loads(self._store.compare_set(self._key("first"), "", mine.dumps()))
        except Exception:  # the store is gone: nobody can be told
            found = mine
        self.first = found
        return found

    def _all_left(self) -> bool:
        return all(
            (self._store.check([self._key("beat", rank)]) and self._store.get(self._key("beat", rank)).decode() == LEFT)
            or is_dead(self._others.get(rank, Sign()), self._me["place"])
            for rank in range(1, self.world)
        )

    def _end(self, first: Failure) -> None:
        """The run has failed: this process ends, by itself within ``GRACE_S`` or else at once."""
        self.first = first
        if first.stuck and first.rank == self.rank:
            stack = "".join(traceback.format_stack(sys._current_frames().get(self._main or 0)))
            failure.say(f"error: {first.text}. It stands at:\n{stack}")
        elif not first.told and not first.stuck and failure.speaks_for(first.host):
            failure.say(f"error: {first.text}\n")
        elif first.told and first.by != self.rank and first.host != self._me["host"] and failure.speaks_for(first.host):
            failure.say(f"{first.who} failed:\n{first.text.rstrip()}\n")
        self._ended.set()
        own = first.rank == self.rank
        if self._leaving.wait(GRACE_S):
            return  # the main thread ends the process
        with suppress(Exception):
            self._store.set(self._key("beat", self.rank), LEFT)
        if not own or first.stuck:
            failure.note(None if own else first, first.text)
        failure.end_now(first.code)


_watch: Watch | None = None


def begin() -> Watch:
    """This process's watch, started."""
    global _watch
    if _watch is None or _watch._me["pid"] != os.getpid():  # not the one of a process that this is a copy of
        _watch = Watch()
    _watch.start()
    return _watch


def first_of_all(error: BaseException, text: str | None, code: int) -> Failure | None:
    """Tells the other processes of an error that ends this one.

    Args:
        text: the message; None: the traceback.

    Returns:
        None when the error is the first one, which the caller shows; else the one that was first.
    """
    shown = "".join(traceback.format_exception(error)) if text is None else text
    first = begin().fail(shown, code, failure.follows(error))
    failure.note(first, error)
    return first


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """``sys.excepthook`` of a process among several: as Python's own, but for errors that only follow another's."""
    if issubclass(kind, KeyboardInterrupt) or first_of_all(error, None, 1) is None:
        sys.__excepthook__(kind, error, trace)
