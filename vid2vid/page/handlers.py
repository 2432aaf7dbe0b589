"""What happens on the Video tab: functions of a visitor's values, which gradio calls. Models alone are shared.

Nothing of a visitor is kept here: files lie in their own folder (``Page.temporary``), values in their own session.
"""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from trainer.data.pictures.files import BadFileError, reason_of
from trainer.errors import ConfigError, DataError
from trainer.page.canvas import MOST_FRAMES, decode, encode
from trainer.page.contract import Page
from vid2vid.page import views
from vid2vid.page.edit_list import REMOVED, added, class_choices, entry_of, read_text
from vid2vid.page.generation import EDITS, Files, Generation, Shown, Wishes
from vid2vid.page.generation import MOST_FRAMES as LONGEST
from vid2vid.page.model import Model, Models
from vid2vid.page.source import Source, as_files, data_clip, data_clips, label_track, painted
from vid2vid.page.upload import uploaded_labels, uploaded_source

TASK = "vid2vid"
PAINT, CLIP, UPLOAD = "Paint", "A clip of the run's data", "Upload"
_EVERY_S = 0.12  # pictures are sent no more often
_KEPT = 3  # generations and uploads of a visitor whose files stay


@dataclass(frozen=True)
class Uploaded:
    """What a visitor has uploaded for a run; kept in their session.

    Attributes:
        run: its name.
        source: the clip.
        words: about it.
    """

    run: str
    source: Source
    words: str


@dataclass(frozen=True)
class Answer:
    """One update of the page while a video is made; None leaves a component as it is."""

    progress: str
    live: str | None = None
    result: Path | None = None
    panels: Path | None = None
    edits: Path | None = None
    labels: Path | None = None
    command: str | None = None
    done: bool = False


class Handlers:
    """The functions behind the tab.

    Args:
        page: that it is on.
    """

    def __init__(self, page: Page) -> None:
        self.page, self.models, self._numbers = page, Models(), count(1)

    def model(self, name: str | None) -> Model:
        """The model of a run by the name that the page has for it.

        Raises:
            UserError: there is none, or it cannot be loaded.
        """
        if not name:
            raise ConfigError(f"choose a run first; where there is none: {views.COMMAND}")
        return self.models.get(name, self.page.folder(name))

    def clip_names(self, model: Model) -> tuple[list[tuple[str, int]], str]:
        """Choices of clips with their numbers; where there are none, why."""
        try:
            return [(name, number) for number, name in enumerate(data_clips(model))], ""
        except (DataError, ConfigError) as error:
            return [], self.page.hidden(str(error))

    def blank(self, model: Model) -> dict[str, Any] | None:
        """The value of the canvas that a run begins with: its first clip's first frame, else one class throughout."""
        if not model.paints:
            return None
        try:
            labels = label_track(model, data_clip(model, 0), 1)[0]
        except (DataError, ConfigError):
            labels = np.full(model.size, model.classes[0].id, np.int32)
        return self.canvas(model, labels)

    def canvas(self, model: Model, labels: np.ndarray) -> dict[str, Any]:
        """A label map (H, W) as the canvas has it, its objects ready to be moved."""
        known = {one.id for one in model.classes}
        strange = sorted(set(np.unique(labels).tolist()) - known)
        if strange:
            raise DataError(f"the label map has ids that the run does not know: {strange[:8]}")
        void = next((one.id for one in reversed(model.classes)), None)
        return encode(labels, model.classes, void=void, paths=True)

    def frame_of_clip(self, name: str | None, clip: int | None, frame: float | None) -> dict[str, Any]:
        """One frame of a clip of the data, for the canvas."""
        model = self.model(name)
        if clip is None:
            raise ConfigError("choose a clip to take the label map from")
        number = int(frame or 0)
        if not 0 <= number < LONGEST:
            raise ConfigError(f"frame {number}: between 0 and {LONGEST - 1} can be taken")
        track = label_track(model, data_clip(model, int(clip)), number + 1)
        if number >= len(track):
            raise ConfigError(f"frame {number}: the clip has {len(track)} frames, numbered from 0")
        return self.canvas(model, track[number])

    def upload(
        self, name: str | None, files: Sequence[str] | None, frames: float, request: gr.Request
    ) -> tuple[Uploaded | None, dict[str, Any] | None, str]:
        """What was uploaded: a clip; or one label map, as the value of the canvas; and words about it."""
        model = self.model(name)
        paths = [self.page.upload(file) for file in files or ()]
        folder = self.page.temporary(request)
        place = folder / f"upload-{next(self._numbers):06d}"
        _forget(folder, "upload-*")
        try:
            if not model.has_labels:
                source = uploaded_source(model, paths, place)
                sequence = source.open(model.loaded, None)
                words = f"Uploaded: a clip for run {model.name}. Press Generate."
                next(iter(sequence))  # what cannot be read is told now
                return Uploaded(model.name, source, words), None, words
            if not model.paints:
                raise DataError("this run takes label maps and pictures together: take a clip of its data")
            labels = list(uploaded_labels(model, paths, int(frames), place / "between"))
            if len(labels) == 1:
                words = "Uploaded: one label map. It is on the canvas; paint on it, or move its objects."
                return None, self.canvas(model, labels[0]), words
            source = as_files(model, labels, place)
        except (DataError, ConfigError) as error:
            shutil.rmtree(place, ignore_errors=True)
            if isinstance(error, BadFileError):  # there is no data.on_bad_file here
                raise DataError(reason_of(error)) from error
            raise
        most = " (as many as Frames asks for; to have more of them, set Frames first and choose the files again)"
        words = f"Uploaded: {len(labels)} label maps{most if len(labels) == int(frames) else ''}. Press Generate."
        return Uploaded(model.name, source, words), None, words

    def add_edit(self, name: str | None, first: int | None, action: str, second: int | None, text: str) -> str:
        """The list of edits with one more."""
        model = self.model(name)
        if first is None or (second is None and action != REMOVED):
            raise ConfigError("choose the classes to change first")
        return added(
            text or "", entry_of(int(first), action, None if second is None else int(second), model.config.model)
        )

    def wishes(self, form: dict[str, Any], folder: Path) -> tuple[Model, Wishes]:
        """What a visitor asks for; ``form`` has the values of the page by name.

        Raises:
            UserError: something is missing or does not fit, in words.
        """
        model = self.model(form["run"])
        frames = int(form["frames"] or 0)
        if not 1 <= frames <= LONGEST:
            raise ConfigError(f"{frames} frames: this page makes between 1 and {LONGEST}")
        edits = read_text(form["edits"] or "", folder) if model.has_labels else []
        picture = None if not form["picture"] else self.page.upload(form["picture"])
        styles = {"style": form["style"], "seed": int(form["seed"] or 0)} if model.has_styles else {}
        wanted = picture if model.config.model.past_frames and model.wants_picture else None
        return model, Wishes(self._source(model, form, frames, folder), frames, edits, picture=wanted, **styles)

    def _source(self, model: Model, form: dict[str, Any], frames: int, folder: Path) -> Source:
        kind, uploaded = form["kind"], form["uploaded"]
        if kind == UPLOAD:
            if not isinstance(uploaded, Uploaded) or uploaded.run != model.name:
                raise ConfigError(f"upload a clip for run {model.name} first")
            return uploaded.source
        if kind == PAINT and model.paints:
            painting = decode(form["canvas"], model.classes, model.size, frames=min(LONGEST, MOST_FRAMES))
            return painted(model, painting.labels, painting.objects, frames, folder / "clip")
        if form["clip"] is None:
            raise ConfigError(f"there is no clip of the data of run {model.name} to choose: upload one")
        return data_clip(model, int(form["clip"]))

    def generate(self, form: dict[str, Any], request: gr.Request) -> Iterator[Answer]:
        """A video, update by update.

        Raises:
            UserError: wishes that cannot be met, in words.
        """
        mine = self.page.temporary(request)
        folder = mine / f"video-{next(self._numbers):06d}"
        folder.mkdir(parents=True)
        _forget(mine, "video-*")
        model, wishes = self.wishes(form, folder)
        generation = Generation(model, wishes, folder)
        yield Answer(views.progress(0, generation.total, 0.0))
        began = sent = time.monotonic()
        shown: Shown | None = None
        with Files(folder, generation.fps) as files:
            for shown in generation.frames():
                files.write(shown)
                now = time.monotonic()
                if now - sent >= _EVERY_S or shown.number == 0:
                    sent = now
                    rate = (shown.number + 1) / max(now - began, 1e-6)
                    yield Answer(views.progress(shown.number + 1, shown.total, rate), self._live(generation, shown))
        assert shown is not None  # else frames() has raised
        frames, seconds = shown.number + 1, time.monotonic() - began
        words = [f"Done: {frames} frames at {generation.fps:g} frames/s of film, made in {seconds:.1f} s."]
        words += [note if note.endswith(".") else f"{note}." for note in generation.notes]
        edits = folder / EDITS
        yield Answer(
            views.message(" ".join(words)),
            self._live(generation, shown),
            files.result,
            files.panels,
            edits if edits.is_file() else None,
            _packed(wishes.source, folder),
            self.page.hidden(generation.command()),
            done=True,
        )

    def _live(self, generation: Generation, shown: Shown) -> str:
        return views.pictures(shown.pictures, generation.model.paints, generation.strongest)


def _forget(folder: Path, pattern: str) -> None:
    """Remove all but the newest folders of a kind; their names count upward."""
    for old in sorted(folder.glob(pattern))[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _packed(source: Source, folder: Path) -> Path | None:
    """The files of a source that the command needs, as a zip; None: it needs none."""
    if source.made is None:
        return None
    path = folder / "clip.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(source.made.rglob("*")):
            if file.is_file():
                archive.write(file, Path("clip", file.relative_to(source.made)))
    return path


__all__ = ["CLIP", "PAINT", "TASK", "UPLOAD", "Answer", "Handlers", "Uploaded", "class_choices"]
