"""fsspec's file systems: one for each process and kind of address, with time-outs, tried again when an error passes.

A file system of fsspec's has a thread with an event loop, and a process that is forked has no such thread: waiting for
it would last for ever. So a process makes its own, whatever its parent has.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from trainer.config.fields import RemoteConfig
from trainer.data.remote.address import scheme_of
from trainer.data.remote.failures import Failure, as_user_error, failure_of, reason
from trainer.errors import DataError

_log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_WAIT = 0.5  # seconds before the second try; it doubles
LONGEST_WAIT = 30.0
POOL = 64  # connections that a process may have
KEY = "data.root"  # what messages call the key where nothing nearer is known
_CONNECT = 10.0  # seconds
_LISTING = 20  # times the time-out for a folder, which may have many pages


class Connection:
    """How one kind of address is read, by whichever process asks.

    Args:
        scheme: of the addresses.
        settings: of the configuration.
    """

    def __init__(self, scheme: str, settings: RemoteConfig) -> None:
        self.scheme, self.settings = scheme, settings
        self._systems: dict[int, Any] = {}  # by process: a parent's stays, so that nothing of it is closed in a child
        self._lock = threading.Lock()
        _all.append(self)

    @property
    def system(self) -> Any:
        """This process's file system."""
        found = self._systems.get(os.getpid())
        return found if found is not None else self._renewed(None)

    def _renewed(self, old: Any) -> Any:
        """A file system that reads its credentials anew, unless another thread has made one already."""
        with self._lock:
            current = self._systems.get(os.getpid())
            if current is None or current is old:
                self._systems[os.getpid()] = current = _opened(self.scheme, self.settings)
            return current

    def tried(self, address: str, call: Callable[[Any], T], key: str = KEY) -> T:
        """What ``call`` gives of the file system, tried again while an error may pass.

        Expired credentials are read anew once: whoever renews them in time loses nothing.

        Args:
            address: what is asked for, for messages.
            key: of the configuration, that it follows from.

        Raises:
            MissingObjectError: there is nothing at the address.
            DataError: whatever else stays; names address, key and remedy.
        """
        system, renewed, tries = self.system, False, 0
        while True:
            tries += 1
            try:
                return call(system)
            except DataError:
                raise
            except Exception as error:
                kind = failure_of(error)
                if kind is Failure.expired and not renewed:
                    system, renewed = self._renewed(system), True
                    continue
                if kind is not Failure.passing or tries > self.settings.retries:
                    raise as_user_error(error, address, key, tries) from error
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * _dice.uniform(0.5, 1.0)
                if tries == 3:
                    _log.warning("%s: tried %d times (%s), trying again", address, tries, reason(error))
                time.sleep(wait)

    def path(self, address: str) -> str:
        """The address as the file system calls it."""
        return self.system._strip_protocol(address)

    def listed(self, address: str, key: str = KEY) -> list[dict[str, Any]]:
        """fsspec's facts of all that lies in a folder, not below its folders; of a file its own."""
        path = self.path(address)
        return self.tried(
            address,
            lambda system: _asked(system, "ls", path, detail=True, timeout=self.settings.timeout * _LISTING),
            key,
        )

    def facts(self, address: str, key: str = KEY) -> dict[str, Any]:
        """fsspec's facts of one object."""
        path = self.path(address)
        return self.tried(address, lambda system: _asked(system, "info", path, timeout=self.settings.timeout), key)

    def bytes_of(
        self,
        address: str,
        start: int | None = None,
        end: int | None = None,
        *,
        etag: str | None = None,
        length: int | None = None,
        key: str = KEY,
    ) -> bytes:
        """An object's bytes, or those from ``start`` to before ``end``.

        Args:
            etag: the store is to refuse where the object has another one. Only S3 is asked.
            length: how many must come; others are an answer that was cut short.
        """
        path, timeout = self.path(address), self.settings.timeout

        def call(system: Any) -> bytes:
            data: Any
            if self.scheme == "s3":
                from fsspec.asyn import sync

                data = sync(system.loop, _of_s3, system, path, start, end, etag, timeout=timeout)
            else:
                data = _asked(system, "cat_file", path, start=start, end=end, timeout=timeout)
            if length is not None and len(data) != length:
                raise ConnectionError(f"{len(data)} of {length} bytes came")
            return data

        return self.tried(address, call, key)


_all: list[Connection] = []
_dice = random.Random()  # no stream of the run's: waiting is no part of it


def _fresh_locks() -> None:
    """A child's locks are open, whatever a thread of its parent was doing."""
    for connection in _all:
        connection._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_locks)


def _asked(system: Any, method: str, *arguments: Any, timeout: float, **words: Any) -> Any:
    """A method of a file system, with a time-out where it is one that waits for a loop."""
    from fsspec.asyn import AsyncFileSystem, sync

    if isinstance(system, AsyncFileSystem) and hasattr(system, f"_{method}"):
        return sync(system.loop, getattr(system, f"_{method}"), *arguments, timeout=timeout, **words)
    return getattr(system, method)(*arguments, **words)


async def _of_s3(system: Any, path: str, start: int | None, end: int | None, etag: str | None) -> bytes:
    bucket, name, _ = system.split_path(path)
    words = {} if etag is None else {"IfMatch": etag}
    if start is not None and end is not None:
        words["Range"] = f"bytes={start}-{end - 1}"
    answer = await system._call_s3("get_object", Bucket=bucket, Key=name, **words)
    try:
        return await answer["Body"].read()
    finally:
        answer["Body"].close()


def _opened(scheme: str, settings: RemoteConfig) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise DataError(f'{scheme}:// needs the library fsspec: pip install "vivid[remote]"') from error
    options: dict[str, Any] = {"skip_instance_cache": True}
    if scheme == "s3":
        # the library's own tries would multiply with those of `Connection.tried`, and wait in silence
        patience = {"connect_timeout": min(_CONNECT, settings.timeout), "read_timeout": settings.timeout}
        options["config_kwargs"] = {**patience, "retries": {"max_attempts": 0}, "max_pool_connections": POOL}
        options["use_listings_cache"] = False
    try:
        own = {**options, **settings.options}
        if scheme == "s3":
            own["config_kwargs"] = {**options["config_kwargs"], **settings.options.get("config_kwargs", {})}
        system = fsspec.filesystem(scheme, **own)
    except ImportError as error:
        raise DataError(f'{scheme}:// needs another library ({error}): pip install "vivid[remote]"') from error
    except (TypeError, ValueError) as error:
        raise DataError(f"data.remote.options={settings.options}: {scheme}:// does not take them ({error})") from error
    if scheme == "s3":
        system.retries = 1
    return system


def connection_to(address: str, settings: RemoteConfig) -> Connection:
    """The connection that reads an address.

    Raises:
        DataError: no address that is read.
    """
    scheme = scheme_of(address)
    if scheme is None:
        raise DataError(f"{address}: is no address that is read")
    return Connection(scheme, settings)
