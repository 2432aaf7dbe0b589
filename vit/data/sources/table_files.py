"""The files that a table's cells mean: written on Windows, on another machine, without suffix, or in another case."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.data.remote.address import is_address
from trainer.data.remote.path import look_into, within
from trainer.files import is_there
from trainer.untrusted.places import check_below

NAME_BYTES = 255  # of a file's name, on every common file system
_PATH_BYTES = 4096  # of a path that Linux opens


def expanded(folder: Path) -> list[Path]:
    """Folders that a path with ``*`` or ``?`` in it stands for, in natural order; without these itself."""
    parts = folder.parts
    first = next((place for place, part in enumerate(parts) if "*" in part or "?" in part), None)
    if first is None:
        return [folder]
    found = [path for path in Path(*parts[:first]).glob("/".join(parts[first:])) if path.is_dir()]
    return sorted(found, key=lambda path: (natural_key(str(path)), str(path))) or [folder]


def check_addresses(
    cells: Iterable[str], folder: Path, others: Sequence[Path], allowed: bool, table: Path, *remedy: str
) -> None:
    """Refuse addresses outside of the folders before anybody is asked whether there is something: asking tells them.

    Raises:
        DataError: as `trainer.untrusted.places.check_below`.
    """
    found = [cell.strip() for cell in cells if is_address(cell.strip())]
    check_below(found, [table.parent, folder, *others], allowed, table, *remedy)


def locate(
    cells: Sequence[str], folder: Path, suffix: str = "", others: Sequence[Path] = ()
) -> tuple[list[Path], list[int], list[str]]:
    """Files that cells name, seen from ``folder``.

    Where there is no such file, these are tried, the same for all cells: backslashes as slashes; without the first
    folders of the names, as of a table that was written elsewhere; in upper or lower case as the file is.

    Args:
        suffix: what names lack, like ``.jpg``; those that have it are left alone.
        others: further folders, in which what is not in the first is looked for.

    Returns:
        (files, numbers of the cells whose file is not there, lines for the user on what was changed).
    """
    names = [_with_suffix(cell.strip(), suffix) for cell in cells]
    files = [within(folder, name) for name in names]
    look_into(files)
    missing = [number for number, file in enumerate(files) if not is_there(file)]
    for number in missing:
        names[number] = names[number].replace("\\", "/")
        files[number] = within(folder, names[number])
    missing = [number for number in missing if not is_there(files[number])]
    for other in others:
        for number in missing:
            if is_there(other / names[number]):
                files[number] = other / names[number]
        missing = [number for number in missing if not is_there(files[number])]
    notes = []
    for change in (_without_start, _in_case):
        if missing:
            found, said = change([names[number] for number in missing], folder)
            for number, file in zip(missing, found, strict=True):
                files[number] = file or files[number]
            missing = [number for number, file in zip(missing, found, strict=True) if file is None]
            notes += said
    return files, missing, notes


def _with_suffix(name: str, suffix: str) -> str:
    return name if not suffix or name.lower().endswith(suffix.lower()) else name + suffix


def _without_start(names: list[str], folder: Path) -> tuple[list[Path | None], list[str]]:
    """Files without the first folders of their names: those that lead from the first name to a file."""
    if len(names[0]) > _PATH_BYTES:
        return [None] * len(names), []
    parts = PurePosixPath(names[0]).parts
    tails = (PurePosixPath(*parts[start:]) for start in range(1, len(parts)))
    tail = next((tail for tail in tails if is_there(folder / tail)), None)
    if tail is None:
        return [None] * len(names), []
    start = names[0].removesuffix(str(tail))
    files = [folder / name.removeprefix(start) if name.startswith(start) else None for name in names]
    files = [file if file is not None and is_there(file) else None for file in files]
    count = len(files) - files.count(None)
    return files, [f"{count} files are named from {start}, which is not here: taken from {folder}"]


def _in_case(names: list[str], folder: Path) -> tuple[list[Path | None], list[str]]:
    """Files whose names differ from the table's in upper and lower case alone, and from no other file's."""
    listed: dict[Path, dict[str, list[str]]] = {}

    def entry(parent: Path, name: str) -> Path | None:
        if parent not in listed:
            listed[parent] = {}
            for there in _listing(parent):
                listed[parent].setdefault(there.lower(), []).append(there)
        same = listed[parent].get(name.lower(), [])
        return parent / (name if name in same else same[0]) if len(same) == 1 or name in same else None

    def find(name: str) -> Path | None:
        if len(name) > _PATH_BYTES:
            return None
        current = None if PurePosixPath(name).is_absolute() else folder
        for part in PurePosixPath(name).parts:
            current = current / part if current and part == ".." else current and entry(current, part)
        return current if current is not None and is_there(current) else None

    files = [find(name) for name in names]
    count = len(files) - files.count(None)
    return files, [f"{count} files are written in another case than in the table"] if count else []


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def whereabouts(cell: str, folder: Path) -> tuple[str, str]:
    """(folder below ``folder``, suffix) with which a cell without folder names a file there; empty where none does."""
    if not cell or any(sign in cell for sign in "*?[/\\"):
        return "", ""
    if len(cell.encode(errors="surrogatepass")) > NAME_BYTES:
        return "", ""
    for pattern in (cell, f"*/{cell}", f"*/*/{cell}", f"{cell}.*", f"*/{cell}.*", f"*/*/{cell}.*"):
        for file in sorted(folder.glob(pattern)):
            if file.suffix.lower() in picture_extensions():
                below = str(file.parent.relative_to(folder))
                return "" if below == "." else below, file.name.removeprefix(cell)
    return "", ""
