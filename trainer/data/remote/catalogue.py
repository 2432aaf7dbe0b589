"""What lies at addresses: listed once for each root of data, asked for one by one beside them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from trainer.config.fields import RemoteConfig
from trainer.config.suggestions import did_you_mean
from trainer.data.remote.address import OF_FILES, scheme_of
from trainer.data.remote.connection import KEY, Connection, connection_to
from trainer.data.remote.download import Downloads
from trainer.data.remote.failures import MissingObjectError
from trainer.data.remote.listing import Facts, Listing, facts_of, listing_of
from trainer.errors import DataError

_log = logging.getLogger(__name__)


class Catalogue:
    """What lies at addresses, under one set of settings.

    Args:
        settings: of the configuration.
        lists: the folder in which listings are kept.
    """

    def __init__(self, settings: RemoteConfig, lists: Path) -> None:
        self.settings, self._lists = settings, lists
        self._downloads: dict[str, Downloads] = {}
        self._keys: dict[str, str] = {}  # the key of the configuration that gave a root
        self._roots: dict[str, Listing] = {}
        self._folders: dict[str, Listing] = {}
        self._single: dict[str, tuple[str | None, Facts | None]] = {}
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
            if self._of_single(address)[0] is None:
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
        found = self.listed(address)
        if found is not None:
            listing, name = found
            return "folder" if listing.has_folder(name) else "file" if listing.facts(name) else None
        try:
            return self._of_single(address)[0]
        except DataError as error:  # beside the data: a bucket may be open below a folder alone
            _log.debug("%s: taken as not there (%s)", address, error)
            return None

    def facts(self, address: str) -> Facts:
        """Of an object, as listed.

        Raises:
            MissingObjectError: there is none.
        """
        found = self.listed(address)
        facts = self._of_single(address)[1] if found is None else found[0].facts(found[1])
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

    def key_of(self, address: str) -> str:
        """The key of the configuration that an address follows from."""
        inside = (root for root in self._keys if f"{address}/".startswith(f"{root}/"))
        return self._keys.get(max(inside, key=len, default=""), KEY)

    def _list(self, address: str, key: str) -> Listing | None:
        """All that lies below an address; None where nothing does."""
        connection, relist = self.connection(address), self.settings.relist
        try:
            found = listing_of(connection, address, self._lists, key, below=True, relist=relist)
        except MissingObjectError:
            return None
        return found if len(found) else None

    def listed(self, address: str) -> tuple[Listing, str] | None:
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

    def _folder(self, address: str) -> Listing:
        """What lies in a folder."""
        if address not in self._folders:
            self._folders[address] = listing_of(
                self.connection(address),
                address,
                self._lists,
                self.key_of(address),
                below=False,
                relist=self.settings.relist,
            )
        return self._folders[address]

    def _of_single(self, address: str) -> tuple[str | None, Facts | None]:
        """(what a store says that an address is, as of `kind`; of a file its facts)."""
        if address not in self._single:
            scheme = str(scheme_of(address))
            known: tuple[str | None, Facts | None] = (None, None)
            with suppress(MissingObjectError):
                info = self.connection(address).facts(address, self.key_of(address))
                if info.get("type") != "directory":
                    known = ("file", facts_of(info, scheme))
                elif scheme not in OF_FILES:
                    known = ("folder", None)
            self._single[address] = known
        return self._single[address]

    def _near(self, address: str) -> str:
        """A name beside an address that is meant, perhaps."""
        parent, _, name = address.rpartition("/")
        try:
            beside = [child for child, _ in self._folder(parent).children("")] if parent.count("/") > 1 else []
        except DataError:
            return ""
        return did_you_mean(name, beside) or ""

    def connection(self, address: str) -> Connection:
        return self.downloads(address).connection

    def downloads(self, address: str) -> Downloads:
        scheme = str(scheme_of(address))
        with self._connecting:
            if scheme not in self._downloads:
                self._downloads[scheme] = Downloads(connection_to(address, self.settings))
            return self._downloads[scheme]


_all: list[Catalogue] = []


def _fresh_locks() -> None:
    """A child's locks are open, whatever a thread of its parent was doing."""
    for each in _all:
        each._connecting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh_locks)
