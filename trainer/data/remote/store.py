"""What lies at addresses, for whoever reads pictures, tables and shards: fetched once, and kept for a while."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from trainer.config.fields import RemoteConfig
from trainer.data.remote.address import parse_size, size_text
from trainer.data.remote.cache import ObjectCache
from trainer.data.remote.catalogue import Catalogue
from trainer.data.remote.listing import Facts
from trainer.errors import DataError

_log = logging.getLogger(__name__)
_THREADS = 32  # objects that a process fetches at a time


class Store(Catalogue):
    """Addresses under one set of settings. Processes that are forked go on with what was listed before.

    Args:
        settings: of the configuration.

    Raises:
        DataError: the size of the cache is none.
    """

    def __init__(self, settings: RemoteConfig) -> None:
        folder = Path(settings.cache_dir).expanduser().absolute()
        super().__init__(settings, folder / "listings")
        self.cache = ObjectCache(folder, parse_size("data.remote.cache_size", settings.cache_size))
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def read(self, address: str) -> bytearray:
        """The whole of an object.

        Raises:
            MissingObjectError: there is none.
            DataError: it cannot be fetched, or was replaced since it was listed.
        """
        facts = self.facts(address)
        if facts.size is None or not self.cache.fits(facts.size):
            return self._straight(address, facts)
        handle = self._cached(address, facts)
        if handle is None:
            return self._straight(address, facts)
        data = bytearray(facts.size)
        with os.fdopen(handle, "rb") as file:
            file.readinto(data)  # all of it, where one call of the system ends at 2 GiB
        return data

    def read_part(self, address: str, start: int, size: int, whole: bool) -> bytes:
        """Some bytes of an object.

        Args:
            whole: fetch all of it where it is not in the cache; otherwise these bytes alone, which are kept there.

        Raises:
            MissingObjectError, DataError: as `read`; it ends before these bytes.
        """
        facts = self.facts(address)
        if facts.size is not None and self.cache.fits(facts.size):
            handle = self._cached(address, facts) if whole else self.cache.opened(_name(address, facts), facts.size)
            if handle is not None:
                try:
                    return os.pread(handle, size, start)
                finally:
                    os.close(handle)
        return self._piece(address, facts, start, size)

    def opened(self, address: str) -> BinaryIO:
        """An object as a file, from the cache; it stays readable when it leaves the cache.

        Raises:
            MissingObjectError, DataError: as `read`; it is larger than the cache.
        """
        facts, key = self.facts(address), self.key_of(address)
        if facts.size is None or not self.cache.fits(facts.size):
            size = "of unknown size" if facts.size is None else size_text(facts.size)
            raise DataError(
                f"{address} ({key}): is {size}, and data.remote.cache_size={self.settings.cache_size} holds less: make "
                "it larger"
            )
        handle = self._cached(address, facts)
        if handle is None:
            raise DataError(
                f"{address} ({key}): there is no room for its {size_text(facts.size)} on the disk of "
                f"data.remote.cache_dir={self.settings.cache_dir}. Give a folder on a larger disk"
            )
        return os.fdopen(handle, "rb")

    def fetch(self, addresses: Iterable[str]) -> None:
        """Bring objects into the cache, many at a time; what fails is said later."""
        wanted = [address for address in dict.fromkeys(addresses) if self._is_wanted(address)]
        if len(wanted) > 1:
            list(self._pool().map(self._fetch_one, wanted))

    def fetch_parts(self, parts: Iterable[tuple[str, int, int]]) -> None:
        """Bring (address, start, bytes) of objects into the cache, many at a time; what fails is said later."""
        list(self._pool().map(self._fetch_part, parts))

    def fits(self, addresses: Iterable[str]) -> bool:
        """Whether all of some objects fit into the cache together, with a tenth to spare."""
        return sum(self.facts(address).size or 0 for address in addresses) <= 0.9 * self.cache.limit

    def _fetch_one(self, address: str) -> None:
        with suppress(DataError):
            handle = self._cached(address, self.facts(address))
            if handle is not None:
                os.close(handle)

    def _fetch_part(self, part: tuple[str, int, int]) -> None:
        with suppress(DataError):
            self.read_part(*part, whole=False)

    def _is_wanted(self, address: str) -> bool:
        found = self.listed(address)
        facts = None if found is None else found[0].facts(found[1])
        if facts is None or facts.size is None or not self.cache.fits(facts.size):
            return False
        handle = self.cache.opened(_name(address, facts), facts.size)
        if handle is not None:
            os.close(handle)
        return handle is None

    def _cached(self, address: str, facts: Facts) -> int | None:
        """A descriptor of an object in the cache; None where the disk has no room for it."""
        assert facts.size is not None
        name, key = _name(address, facts), self.key_of(address)
        handle = self.cache.opened(name, facts.size)
        if handle is not None:
            return handle

        def fill(file: int) -> None:
            self.downloads(address).whole(address, facts, lambda start, data: _write(file, data, start), key)

        try:
            return self.cache.add(name, facts.size, fill)
        except OSError as error:
            _full(str(self.cache.folder), str(error.strerror))
            return None

    def _piece(self, address: str, facts: Facts, start: int, size: int) -> bytes:
        """Some bytes of an object as an entry of their own in the cache."""
        key = self.key_of(address)

        def fetched() -> bytes:
            return self.downloads(address).part(address, facts, start, size, key)

        if not self.cache.fits(size):
            return fetched()
        name = hashlib.blake2b(f"{_name(address, facts)}|{start}|{size}".encode(), digest_size=20).hexdigest()
        handle = self.cache.opened(name, size)
        try:
            if handle is None:
                handle = self.cache.add(name, size, lambda file: _write(file, fetched(), 0))
        except OSError as error:
            _full(str(self.cache.folder), str(error.strerror))
            return fetched()
        try:
            return os.pread(handle, size, 0)
        finally:
            os.close(handle)

    def _straight(self, address: str, facts: Facts) -> bytearray:
        """An object into memory, past the cache."""
        data = bytearray(facts.size or 0)

        def write(start: int, piece: bytes) -> None:
            data[start : start + len(piece)] = piece

        self.downloads(address).whole(address, facts, write, self.key_of(address))
        return data

    def _pool(self) -> ThreadPoolExecutor:
        """This process's threads: a child has none of its parent's."""
        if os.getpid() not in self._pools:
            self._pools[os.getpid()] = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch")
        return self._pools[os.getpid()]


_stores: dict[str, Store] = {}
_used: list[Store] = []  # the last that was asked for


def use(settings: RemoteConfig) -> Store:
    """The store of these settings, through which addresses are read from here on."""
    key = repr(settings)
    if key not in _stores:
        _stores[key] = Store(settings)
    _used[:] = [_stores[key]]
    return _stores[key]


def store() -> Store:
    """The store in use; that of the default settings where nobody chose another."""
    return _used[0] if _used else use(RemoteConfig())


def forget_stores() -> None:
    """List and connect anew at the next call: for programs that change objects as they run."""
    _stores.clear()
    _used.clear()


def _name(address: str, facts: Facts) -> str:
    """What an object is called in the cache: another where it was replaced."""
    text = f"{address}|{facts.size}|{facts.tag}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=20).hexdigest()


def _write(file: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, start)
        view, start = view[written:], start + written


@cache
def _full(folder: str, reason: str) -> None:
    """Say once that nothing is kept."""
    _log.warning(
        "data.remote.cache_dir=%s: objects cannot be kept there (%s), so each is fetched whenever it is read; give a "
        "folder on a larger disk, or a smaller data.remote.cache_size", folder, reason,
    )  # fmt: skip
