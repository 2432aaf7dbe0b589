"""The newest pictures and videos that a run has left, as HTML: served from copies, so no run is open to requests."""

from __future__ import annotations

import hashlib
import html
import re
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trainer.errors import UserError
from trainer.page.contract import Page

PICTURES, VIDEOS = {".png", ".jpg", ".jpeg", ".gif", ".webp"}, {".mp4", ".webm"}
LARGEST = 2**28  # bytes of a file that is shown
MOST = 12  # of a run
_KEPT = 200  # copies
_STEP = re.compile(r"-(\d{8,})$")  # how the trainer ends the names of samples
_DRAWN_HERE = {"curves.png", "compare.png"}


@dataclass(frozen=True)
class Medium:
    """A picture or a video of a run.

    Attributes:
        name: without the step.
        step: that it was made at; None: it does not tell.
        file: its place in the run's folder.
        video: whether it is one.
    """

    name: str
    step: int | None
    file: Path
    video: bool


def newest(run: Path) -> list[Medium]:
    """What a run shows: of each name the one of the latest step; those of training first."""
    found: dict[str, Medium] = {}
    for path in [*_files(run / "samples"), *_files(run)]:
        step = _STEP.search(path.stem)
        name = path.stem[: step.start()] if step else path.stem
        medium = Medium(name, int(step[1]) if step else None, path.relative_to(run), path.suffix.lower() in VIDEOS)
        if name not in found or (found[name].step or 0) <= (medium.step or 0):
            found[name] = medium
    return list(found.values())[:MOST]


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in PICTURES | VIDEOS and path.name not in _DRAWN_HERE:
                yield path


class Copies:
    """Copies of runs' files in the page's temporary folder, which is all that it serves.

    Args:
        page: whose runs they are.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._made: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, name: str, file: Path) -> Path:
        """The copy of a file of a run as it is now.

        Raises:
            UserError: it is not there, lies elsewhere, or is too large to be shown.
        """
        source = self._page.within(name, file)
        status = source.stat()
        if status.st_size > LARGEST:
            raise UserError(f"{file.name[:80]} has {status.st_size / 2**20:.0f} MB, too large to be shown here")
        key = hashlib.sha256(f"{source}|{status.st_mtime_ns}|{status.st_size}".encode()).hexdigest()[:32]
        with self._lock:
            copy = self._page.root / "media" / key / f"shown{source.suffix.lower()}"
            if not copy.is_file():
                copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
            self._made[key] = copy
            self._made.move_to_end(key)
            while len(self._made) > _KEPT:
                shutil.rmtree(self._made.popitem(last=False)[1].parent, ignore_errors=True)
            return copy

    def show(self, name: str, run: Path) -> str:
        """HTML with a run's newest pictures and videos."""
        figures = []
        for medium in newest(run):
            try:
                address = f"gradio_api/file={quote(str(self.of(name, medium.file)))}"
            except (OSError, UserError):  # it was replaced at this moment, or is a link to elsewhere
                continue
            text = html.escape(f"{medium.name}, step {medium.step:,}" if medium.step is not None else medium.name)
            label = html.escape(f"{medium.name} of {name}", quote=True)
            shown = (
                f'<video src="{address}" controls loop muted playsinline aria-label="{label}"></video>'
                if medium.video
                else f'<a href="{address}" target="_blank"><img src="{address}" alt="{label}" loading="lazy"></a>'
            )
            figures.append(f"<figure>{shown}<figcaption>{text}</figcaption></figure>")
        return f"<div class='media'>{''.join(figures)}</div>" if figures else "<p>None yet.</p>"
