"""What lies at addresses, for whoever reads pictures, tables and shards: listed once, and kept for a while."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from trainer.config.fields import RemoteConfig
from trainer.config.suggestions import did_you_mean
from trainer.data.remote.address import OF_FILES, joined, parse_size, scheme_of, size_text
from trainer.data.remote.cache import ObjectCache
from trainer.data.remote.connection import KEY, Connection, connection_to
from trainer.data.remote.download import Downloads
from trainer.data.remote.failures import MissingObjectError
from trainer.data.remote.listing import Facts, Listing, facts_of, listing_of
from trainer.errors import DataError

_log = logging.getLogger(__name__)
_THREADS = 32  # objects that a process fetches at a time


class Store:
    """Addresses under one set of settings. Processes that are forked go on with what was listed before.

    Args:
        settings: of the configuration.

    Raises:
        DataError: the size of the cache is none.
    """

    def __init__(self, settings: RemoteConfig) -> None:
        self.settings = settings
        folder = Path(settings.cache_dir).expanduser().absolute()
        self.cache = ObjectCache(folder, parse_size("data.remote.cache_size", settings.cache_size))
        self._lists = folder / "listings"
        self._downloads: dict[str, Downloads] = {}
        self._keys: dict[str, str] = {}  # the key of the configuration that gave a root
        self._roots: dict[str, Listing] = {}
        self._folders: dict[str, Listing] = {}
        self._single: dict[str, Facts | None] = {}
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._connecting = threading.Lock()
        _all.append(self)

    def mount(self, address: str, key: str) -> str:
        """Look at a root of data: ``folder``, of which all objects are listed once, or ``file``.

        Args:
            key: of the configuration, for messages.

        Raises:
            DataError: there is nothing; says why.
        """
        address = address.rstrip("/")
        self._keys[address] = key
        if scheme_of(address) in OF_FILES:
            if self._of_single(address) is None:
                raise MissingObjectError(f"{key}={address}: there is no such file")
            return "file"
        if address in self._roots or self._covering(address):
            found = self.kind(address)
        else:
            listing = self._list(address, key)
            if listing is not None:
                self._roots[address] = listing
                for note in listing.notes:
                    _log.warning("%s", note)
                return "folder"
            found = self.kind(address)
        if found is None:
            raise DataError(f"{key}={address}: there is no object of this name or below it{self._near(address)}")
        return found

    def kind(self, address: str) -> str | None:
        """``folder``, ``file``, or None where there is nothing, or nothing that these credentials may see."""
        address = address.rstrip("/")
        if address.count("/") < 2 or scheme_of(address) is None:
            return None
        found = self._listed(address)
        if found is not None:
            listing, name = found
            return "folder" if listing.has_folder(name) else "file" if listing.facts(name) else None
        try:
            return "file" if self._of_single(address) else "folder" if self._is_folder(address) else None
        except DataError as error:  # beside the data: a bucket may be open below a folder alone
            _log.debug("%s: taken as not there (%s)", address, error)
            return None

    def facts(self, address: str) -> Facts:
        """Of an object, as listed.

        Raises:
            MissingObjectError: there is none.
        """
        found = self._listed(address)
        facts = self._of_single(address) if found is None else found[0].facts(found[1])
        if facts is None:
            raise MissingObjectError(f"{address} ({self.key_of(address)}): there is no such object")
        return facts

    def children(self, address: str) -> list[tuple[str, bool]]:
        """(name, whether it is a folder) of all that lies in a folder.

        Raises:
            DataError: it cannot be listed.
        """
        root = self._covering(address)
        if root is not None:
            return list(self._roots[root].children(address[len(root) + 1 :]))
        return list(self._folder(address).children(""))

    def look_into(self, folders: Iterable[str]) -> None:
        """List folders that are not listed yet, one by one, so that what lies in them is not asked for one by one."""
        for folder in dict.fromkeys(folders):
            if self._covering(folder) is None and scheme_of(folder) not in (None, *OF_FILES):
                self._folder(folder)

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
        try:
            data = bytearray(facts.size)
            os.preadv(handle, [data], 0)
            return data
        finally:
            os.close(handle)

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

    def key_of(self, address: str) -> str:
        """The key of the configuration that an address follows from."""
        inside = (root for root in self._keys if f"{address}/".startswith(f"{root}/"))
        return self._keys.get(max(inside, key=len, default=""), KEY)

    def _fetch_one(self, address: str) -> None:
        with suppress(DataError):
            handle = self._cached(address, self.facts(address))
            if handle is not None:
                os.close(handle)

    def _fetch_part(self, part: tuple[str, int, int]) -> None:
        with suppress(DataError):
            self.read_part(*part, whole=False)

    def _is_wanted(self, address: str) -> bool:
        found = self._listed(address)
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
            self._download(address).whole(address, facts, lambda start, data: _write(file, data, start), key)

        try:
            return self.cache.add(name, facts.size, fill)
        except OSError as error:
            _full(str(self.cache.folder), str(error.strerror))
            return None

    def _piece(self, address: str, facts: Facts, start: int, size: int) -> bytes:
        """Some bytes of an object as an entry of their own in the cache."""
        key = self.key_of(address)

        def fetched() -> bytes:
            return self._download(address).part(address, facts, start, size, key)

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

        self._download(address).whole(address, facts, write, self.key_of(address))
        return data

    def _listed(self, address: str) -> tuple[Listing, str] | None:
        """The listing that an address lies in, and its name there; None where none was made."""
        root = self._covering(address)
        if root is not None:
            return self._roots[root], address[len(root) + 1 :]
        parent, _, name = address.rpartition("/")
        if address in self._folders:
            return self._folders[address], ""
        return (self._folders[parent], name) if parent in self._folders else None

    def _covering(self, address: str) -> str | None:
        """The root that an address lies below, or is."""
        end = len(address)
        while end > 0:
            if address[:end] in self._roots:
                return address[:end]
            end = address.rfind("/", 0, end)
        return None

    def _list(self, address: str, key: str) -> Listing | None:
        """All that lies below an address; None where nothing does."""
        connection, relist = self._connection(address), self.settings.relist
        try:
            found = listing_of(connection, address, self._lists, key, below=True, relist=relist)
        except MissingObjectError:
            return None
        return found if len(found) else None

    def _folder(self, address: str) -> Listing:
        """What lies in a folder."""
        if address not in self._folders:
            self._folders[address] = listing_of(
                self._connection(address),
                address,
                self._lists,
                self.key_of(address),
                below=False,
                relist=self.settings.relist,
            )
        return self._folders[address]

    def _of_single(self, address: str) -> Facts | None:
        """What a store says of one object; None where there is none."""
        if address not in self._single:
            try:
                info = self._connection(address).facts(address, self.key_of(address))
                found = info.get("type") != "directory"
                self._single[address] = facts_of(info, str(scheme_of(address))) if found else None
            except MissingObjectError:
                self._single[address] = None
        return self._single[address]

    def _is_folder(self, address: str) -> bool:
        if scheme_of(address) in OF_FILES:
            return False
        try:
            return self._connection(address).facts(address, self.key_of(address)).get("type") == "directory"
        except MissingObjectError:
            return False

    def _near(self, address: str) -> str:
        """A name beside an address that is meant, perhaps."""
        parent, _, name = address.rpartition("/")
        try:
            beside = [child for child, _ in self._folder(parent).children("")] if parent.count("/") > 1 else []
        except DataError:
            return ""
        return did_you_mean(name, beside) or ""

    def _connection(self, address: str) -> Connection:
        return self._download(address).connection

    def _download(self, address: str) -> Downloads:
        scheme = str(scheme_of(address))
        with self._connecting:
            if scheme not in self._downloads:
                self._downloads[scheme] = Downloads(connection_to(address, self.settings))
            return self._downloads[scheme]

    def _pool(self) -> ThreadPoolExecutor:
        """This process's threads: a child has none of its parent's."""
        if os.getpid() not in self._pools:
            self._pools[os.getpid()] = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch")
        return self._pools[os.getpid()]


_all: list[Store] = []
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


def child_of(folder: str, name: str) -> str:
    """The address of what lies in a folder, or ``name`` itself where that is an address."""
    return name if "://" in name else joined(folder, name)


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


def _fresh_locks() -> None:
    """A child's locks are open, whatever a thread of its parent was doing."""
    for each in _all:
        each._connecting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_locks)
