"""A look at a whole data set, for whoever checks one: reading in order on several threads, and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from trainer.errors import ConfigError
from trainer.files import check_place, replace_file

Job = TypeVar("Job")
Found = TypeVar("Found")

Progress = Callable[[Iterable[int], int], Iterable[int]]  # wraps counts of samples done; gets their total too

_AHEAD = 64  # jobs that are begun before their turn
_TITLE, _GAP = 16, 4  # pixels: height of a row's title, between rows and between columns
_WIDE = 1160  # pixels that a title may need beside fewer pictures


def in_order(read: Callable[[Job], Found], jobs: Iterable[Job], threads: int) -> Iterator[Found]:
    """What ``read`` makes of the jobs, in their order, few of them waiting: memory does not grow with the data."""
    remaining = iter(jobs)
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(read, job) for job in islice(remaining, _AHEAD)]
        try:
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(read, job) for job in islice(remaining, 1)]
        finally:
            for future in waiting:
                future.cancel()


def spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` indices, the first and the last among them, evenly between."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))}) if count else []


def check_sheet_path(out: str) -> None:
    """Refuse a path that no sheet can be written to; to be called before what is on it is read.

    Raises:
        ConfigError: its ending names no picture format that Pillow writes, or nothing can be written there.
    """
    path = Path(out)
    if path.is_dir():
        raise ConfigError(f"out={out}: is a folder; give the name of a picture in it, like out={path / 'sheet.png'}")
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ConfigError(f"out={out}: the contact sheet is a picture; give a path ending in .png")
    check_place("out", path)


def write_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path: Path) -> Path | None:
    """Write a picture: below each other the rows, each its title and its cells side by side.

    Args:
        rows: title and cells, uint8 (H, W, 3) of any size; those without a cell are left out.
        path: of the file, whose format its ending names; the folder is made.

    Returns:
        ``path``, or None where there is no cell at all.
    """
    drawn = [_row(title, cells) for title, cells in rows if cells]
    if not drawn:
        return None
    width = max(row.shape[1] for row in drawn)
    sheet = np.concatenate([np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0))) for row in drawn])
    form = Image.registered_extensions()[path.suffix.lower()]
    replace_file(path, lambda place: Image.fromarray(sheet).save(place, format=form))
    return path


def _row(title: str, cells: Sequence[np.ndarray]) -> np.ndarray:
    height = max(cell.shape[0] for cell in cells)
    padded = [np.pad(cell, ((0, height - cell.shape[0]), (0, _GAP), (0, 0))) for cell in cells]
    body = np.concatenate(padded, axis=1)
    printable = title.encode("utf-8", "backslashreplace").decode()
    needed = 6 + int(ImageDraw.Draw(Image.new("RGB", (1, 1))).textlength(printable))
    width = max(body.shape[1], min(needed, _WIDE))  # a class of one picture may have a long name
    head = Image.new("RGB", (width, _TITLE))
    ImageDraw.Draw(head).text((3, 2), printable, fill=(255, 255, 255))
    return np.concatenate([np.asarray(head), np.pad(body, ((0, 0), (0, width - body.shape[1]), (0, 0)))])
