"""What a tab of the page is, and what it gets: runs by name, uploads, a visitor's own folder, errors in words.

Names and files come from whoever opens the page. A run is one of a list and nothing else, an upload lies where uploads
are put, and no message shows where on this machine anything is.
"""

from __future__ import annotations

import hashlib
import html
import inspect
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from trainer.checkpoint.run_folders import CONFIG, runs_below
from trainer.errors import UserError, user_message
from trainer.page.settings import Settings

_log = logging.getLogger(__name__)
_MEGABYTE = 2**20
_PATH = re.compile(
    r"(?:file://|(?<![\w./~<-])(?!(?<=:)//))/(?:[^/\s'\"`,;:()<>]+/)*[^/\s'\"`,;:()<>]+/?"
)  # an absolute one
_CHECKPOINT = "checkpoints/step-*/meta.json"


@dataclass(frozen=True)
class Limits:
    """What one visitor may ask for.

    Attributes:
        upload_mb: [MiB] that an uploaded file may have.
        waiting: requests that wait at most; the next one is told to come again.
    """

    upload_mb: float = 200.0
    waiting: int = 40


class Page:
    """What a tab gets.

    Args:
        runs: the folder of runs; may be missing.
        given: runs that are on the page wherever they lie.
        folder: the page's temporary folder, where uploads are and what is made for visitors; removed by ``close``.
        limits: of uploads and of the queue.

    Attributes:
        root: the temporary folder, links resolved.
        settings: configurations of runs.
    """

    def __init__(self, runs: Path, given: Sequence[Path] = (), *, folder: Path, limits: Limits | None = None) -> None:
        self.runs = Path(runs)
        self.limits = limits or Limits()
        self.root = Path(folder).resolve()
        self._given = [Path(path) for path in given]
        self.settings = Settings()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def names(self, task: str | None = None) -> list[str]:
        """Runs that have a checkpoint, the one that wrote last first.

        Args:
            task: only those of this task, as ``config.yaml`` has it; None: of any.
        """
        found = {name: path for name, path in self.all_runs().items() if next(path.glob(_CHECKPOINT), None)}
        chosen = [name for name, path in found.items() if task is None or self.task(path) == task]
        return sorted(chosen, key=lambda name: -_changed(found[name] / "checkpoints"))

    def folder(self, name: str) -> Path:
        """The folder of a run on the page.

        Raises:
            UserError: there is none of this name.
        """
        runs = self.all_runs()
        if not isinstance(name, str) or name not in runs:
            raise UserError(f"there is no run {str(name)[:80]!r} on this page: choose one of the list")
        return runs[name]

    def all_runs(self) -> dict[str, Path]:
        """All runs by the name that the page calls them: below the folder of runs, and those that were given.

        A link that leads out of the folder of runs is passed over: whoever started the page names such a run.
        """
        root = self.runs.resolve()
        given = {path.resolve(): path for path in self._given}
        found: dict[str, Path] = {}
        for path in runs_below(self.runs):
            place = path.resolve()
            if place in given:
                given.pop(place)
            elif not place.is_relative_to(root):
                continue
            found[path.relative_to(self.runs).as_posix()] = path
        for path in given.values():
            if (path / CONFIG).is_file():
                found[_unused(path.resolve().name, found)] = path
        return found

    def task(self, run: Path) -> str | None:
        """The task that a run's configuration names; None: it cannot be read."""
        task = self.settings.of(run).get("task")
        return task if isinstance(task, str) else None

    def within(self, name: str, file: str | Path) -> Path:
        """A file of a run that may be shown.

        Args:
            name: of the run.
            file: its place in the run's folder.

        Raises:
            UserError: it is not there, or it lies elsewhere, by ``..`` or by a link.
        """
        run = self.folder(name).resolve()
        path = (run / file).resolve()
        if not path.is_relative_to(run) or not path.is_file():
            raise UserError(f"run {name} has no file {Path(file).name[:80]!r} to show")
        return path

    def upload(self, path: str | Path) -> Path:
        """An uploaded file, which may be read; by the readers of ``trainer.data``, for it may be anybody's.

        Raises:
            UserError: it lies elsewhere than uploads do, is no file, or is larger than ``limits.upload_mb``.
        """
        given = Path(path)
        place = given.resolve()
        if given.is_symlink() or not place.is_relative_to(self.root) or not place.is_file():
            raise UserError(f"{given.name[:80]!r} was not uploaded here: choose the file again")
        size = place.stat().st_size
        if size > self.limits.upload_mb * _MEGABYTE:
            raise UserError(
                f"{given.name[:80]!r} has {size / _MEGABYTE:.1f} MB, and this page takes {self.limits.upload_mb:g} MB "
                "at most: give a smaller file, or start the page with a larger app.max_upload_mb="
            )
        return place

    def temporary(self, request: gr.Request) -> Path:
        """The folder of who asks, in which a tab may write; removed when they leave, and at the end."""
        session = str(request.session_hash or "")
        folder = self.root / "visitors" / hashlib.sha256(session.encode()).hexdigest()[:32]
        with self._lock:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def leave(self, request: gr.Request) -> None:
        """Removes what was made for a visitor."""
        folder = self.temporary(request)
        with self._lock:
            shutil.rmtree(folder, ignore_errors=True)

    def end(self) -> None:
        """Work that is shown step by step goes no further than its next one."""
        self._ended.set()

    def close(self) -> None:
        """Removes the page's temporary folder with all uploads; ``end`` first."""
        self.end()
        shutil.rmtree(self.root, ignore_errors=True)

    def on_load(self, function: Callable[..., Any], *given: Any, **named: Any) -> None:
        """As ``gradio.Blocks.load``: an event's function that is called when somebody opens the page."""
        blocks = Context.root_block
        assert blocks is not None, "a tab is built inside gradio.Blocks"
        blocks.load(function, *given, **named)

    def worded(self, error: BaseException) -> gr.Error:
        """An error as the page shows it: one that the user can mend in its words, without a path of this machine.

        Of any other its kind alone: the terminal that the page was started from has all of it.
        """
        if isinstance(error, gr.Error):
            return error
        if not isinstance(error, UserError):
            _log.error("an error of the page", exc_info=error)
            return gr.Error(
                f"This failed on the page's side ({type(error).__name__}). The terminal that the page was started "
                "from tells more.", duration=None, print_exception=False,
            )  # fmt: skip
        text = html.escape(self.hidden(user_message(error)), quote=False).replace("\n", "<br>")
        return gr.Error(text, title="That does not work", duration=None, print_exception=False)

    def hidden(self, text: str) -> str:
        """Text with names in place of absolute paths; a run keeps its path from the folder of runs on."""
        for place in sorted({str(self.runs.absolute()), str(self.runs.resolve())}, key=len, reverse=True):
            text = text.replace(f"{place}/", f"{self.runs.name}/")
        return _PATH.sub(lambda found: Path(found[0]).name, text)

    def guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """An event's function, or generator, whose errors come to the visitor as ``worded`` has them."""
        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def stream(*args: Any, **named: Any) -> Iterator[Any]:
                try:
                    with closing(function(*args, **named)) as steps:
                        for step in steps:
                            if self._ended.is_set():
                                return
                            yield step
                except Exception as error:
                    raise self.worded(error) from error

            return stream

        @wraps(function)
        def once(*args: Any, **named: Any) -> Any:
            try:
                return function(*args, **named)
            except Exception as error:
                raise self.worded(error) from error

        return once


@dataclass(frozen=True)
class Tab:
    """One tab.

    Attributes:
        name: in the address, lower case: the page opens on it at ``#name``.
        title: what is written on it.
        build: makes its components and events; called once, inside ``gr.Tab``.
    """

    name: str
    title: str
    build: Callable[[Page], None]


def _unused(name: str, taken: dict[str, Path]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
