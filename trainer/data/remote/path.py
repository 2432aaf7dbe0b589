"""Addresses as paths: what asks a path for its files and reads them needs not know where they lie."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from fnmatch import fnmatchcase
from io import BytesIO, TextIOWrapper
from pathlib import Path, PosixPath
from typing import Any, cast

from trainer.data.natural_order import natural_key
from trainer.data.remote.address import is_address
from trainer.data.remote.store import store
from trainer.errors import DataError


class RemotePath(PosixPath):
    """An address; ``str`` gives it back. It is read and listed through `trainer.data.remote.store`, and never written.

    As of every path, slashes in a row are one, and a step ``.`` is none: objects that are called so have no path.
    """

    def __str__(self) -> str:
        scheme, colon, rest = super().__str__().partition(":/")
        if not colon:
            return scheme  # a part of an address
        return f"{scheme}:///{rest.lstrip('/')}" if scheme == "file" else f"{scheme}://{rest.lstrip('/')}"

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (str(self),)

    def is_dir(self, **_: Any) -> bool:
        return store().kind(str(self)) == "folder"

    def is_file(self, **_: Any) -> bool:
        return store().kind(str(self)) == "file"

    def exists(self, **_: Any) -> bool:
        return store().kind(str(self)) is not None

    def is_symlink(self) -> bool:
        return False

    def is_absolute(self) -> bool:
        return True

    def expanduser(self) -> RemotePath:
        return self

    def absolute(self) -> RemotePath:
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        return self

    def iterdir(self) -> Generator[RemotePath, None, None]:
        for name, _ in store().children(str(self)):
            yield self / name

    def glob(self, pattern: str, **_: Any) -> Iterator[RemotePath]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Paths below this one that a pattern means, step by step; ``**`` is no step that is known."""
        found = [self]
        for step in pattern.split("/"):
            found = [
                folder / name
                for folder in found
                if folder.is_dir()
                for name, _ in store().children(str(folder))
                if fnmatchcase(name, step)
            ]
        return iter(found)

    def read_bytes(self) -> bytes:
        return bytes(store().read(str(self)))

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, **__: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if set(mode) & set("wax+"):
            self._refuse()
        file = BytesIO(store().read(str(self)))
        return file if "b" in mode else TextIOWrapper(file, encoding)

    def stat(self, **_: Any) -> os.stat_result:
        facts = store().facts(str(self))
        return os.stat_result((0o100444, 0, 0, 1, 0, 0, facts.size or 0, 0, 0, 0))

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise DataError(f"{self}: is an address, and nothing is written there; give a folder of this machine")

    mkdir = touch = unlink = rename = replace = rmdir = write_bytes = write_text = chmod = symlink_to = _refuse


class RemoteEntry:
    """As ``os.DirEntry``.

    Args:
        folder: its address.
        name: what lies there.
        is_folder: whether that is one.
    """

    def __init__(self, folder: str, name: str, is_folder: bool) -> None:
        self.name, self.path, self._is_folder = name, f"{folder}/{name}", is_folder

    def is_dir(self, **_: Any) -> bool:
        return self._is_folder

    def is_file(self, **_: Any) -> bool:
        return not self._is_folder

    def is_symlink(self) -> bool:
        return False


def place(text: str | Path) -> Path:
    """A path of this machine, its ``~`` resolved, or an address."""
    if isinstance(text, RemotePath):
        return text
    return RemotePath(text) if is_address(str(text)) else Path(text).expanduser()


def within(folder: Path, name: str | Path) -> Path:
    """What is called ``name`` in a folder, or lies at the address that it is."""
    return RemotePath(name) if is_address(str(name)) else folder / name


def entries_of(folder: RemotePath) -> list[os.DirEntry[str]]:
    """What lies in a folder at an address, as ``os.scandir`` has it.

    Raises:
        DataError: it cannot be listed.
    """
    address = str(folder)
    return cast(list[os.DirEntry[str]], [RemoteEntry(address, *child) for child in store().children(address)])


def matching(pattern: str) -> list[str]:
    """Addresses that a pattern with ``*``, ``?`` or ``[]`` means, in natural order."""
    parts = RemotePath(pattern).parts
    first = next((number for number, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    base = RemotePath(*parts[:first])
    return sorted(map(str, base.glob("/".join(parts[first:]))), key=natural_key)


def look_into(files: Iterable[Path]) -> None:
    """List the folders that files at addresses lie in, where these are many: each for itself would be asked for."""
    there = [file for file in files if isinstance(file, RemotePath)]
    if len(there) > 8:
        store().look_into(str(file.parent) for file in there)
