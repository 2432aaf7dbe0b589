"""From a visitor's wishes to a video, frame by frame: what ``scripts/generate.py`` does, shown while it is done."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.media import label_panel
from trainer.records.video_writer import VideoWriter
from vid2vid.config import FirstFrame
from vid2vid.data import Sequence as Clip
from vid2vid.encoding import float_to_images
from vid2vid.flow.picture import flow_picture
from vid2vid.generate.edit.edits import Edits
from vid2vid.generate.edit.file import Edit, Span, read_edits
from vid2vid.generate.panels import condition_columns
from vid2vid.generate.styling import build_styles
from vid2vid.generate.video import Step, enlarged, generate_frames, length_of, open_clip, read_first_image
from vid2vid.page.model import Model
from vid2vid.page.source import Source
from vid2vid.styles.request import StyleRequest
from vid2vid.trained import LoadedRun

MOST_FRAMES = 480
EDITS, RESULT, PANELS = "edits.yaml", "result.mp4", "side_by_side.mp4"
COLUMNS = ("source", "result", "real", "flow", "mask", "hallucination")
_ABREAST = 3  # pictures in a row of the video that shows all of them
_SIDE = 256  # pixels that a column of the videos is wide, at least
_FLOW_SHARE = 1 / 32  # of the width: motion from one frame to the next that has the strongest colour


@dataclass(frozen=True)
class Wishes:
    """What a visitor wants to see.

    Attributes:
        source: the clip.
        frames: at most so many.
        edits: entries as the file of ``edit=`` has them (docs/editing.md).
        style: sample or mean; of a run with styles.
        seed: that draws them.
        picture: that the video begins from; None: as the run was trained, or from nothing.
    """

    source: Source
    frames: int
    edits: Sequence[Mapping[str, Any]] = ()
    style: str | None = None
    seed: int | None = None
    picture: Path | None = None


@dataclass(frozen=True)
class Shown:
    """One generated frame with all that there is to see of it.

    Attributes:
        number: from 0.
        total: frames of the video, as far as known.
        pictures: (H, W, 3) uint8 by name, of `COLUMNS`, in order; the real frame where the clip has pictures, flow,
            mask and hallucination where the generator makes them. A frame without one before it is hallucinated as a
            whole.
    """

    number: int
    total: int | None
    pictures: dict[str, np.ndarray]


@dataclass
class Generation:
    """A video in the making.

    Args:
        model: to generate with.
        wishes: of the visitor.
        folder: the visitor's; the list of edits is written there.

    Attributes:
        notes: what the visitor should know, in words; filled while frames come.
        fps: of the video.

    Raises:
        UserError: wishes that cannot be met, in words.
    """

    model: Model
    wishes: Wishes
    folder: Path
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        wishes, model = self.wishes, self.model
        if not 1 <= wishes.frames <= MOST_FRAMES:
            raise ConfigError(f"{wishes.frames} frames: this page makes between 1 and {MOST_FRAMES}")
        self._request = StyleRequest(wishes.style, None, wishes.seed)
        self._request.check(model.config.model)
        self._run = model.with_words(wishes.source.words)
        if wishes.seed is not None and not model.has_styles:
            self._run.config.data.world_seed = wishes.seed
        self._asked = self._read_edits()
        self._sequence = wishes.source.open(self._run, wishes.frames)
        self.total = length_of(self._sequence, wishes.frames)
        self.fps = self._sequence.fps
        self.first_frame, self._image = self._beginning()

    def command(self) -> str:
        """The command line that makes the same frames."""
        wishes = self.wishes
        words = [f"run={self.model.folder}", *wishes.source.arguments(), f"frames={wishes.frames}"]
        words += [f"seed={wishes.seed}"] if wishes.seed is not None else []
        words += [f"style={wishes.style}"] if wishes.style is not None else []
        words += [f"edit={EDITS}"] if wishes.edits else []
        if wishes.picture is not None:
            words += ["first_frame=image", f"image={wishes.picture.name}"]
        elif self.first_frame is not None:
            words.append(f"first_frame={self.first_frame.value}")
        return shlex.join(["python", "scripts/generate.py", *words, "out=video.mp4", "png=true"])

    def frames(self) -> Iterator[Shown]:
        """The frames as they are made; memory does not grow with their number.

        Raises:
            UserError: the source cannot be read, in words.
        """
        run, edits = self._run, self._edits()
        styles = build_styles(self._request, run, self.model.folder, self._sequence, self.total)
        steps = generate_frames(
            run, self._sequence, self.total, self.first_frame, self._image, None, edits, styles
        )  # fmt: skip
        number = 0
        while True:
            with self.model.lock:  # one frame at a time, so that visitors take turns
                step = next(steps, None)
                pictures = None if step is None else self._pictures(step, run)
            if pictures is None:
                break
            yield Shown(number, self.total, pictures)
            number += 1
        if not number:
            raise DataError("this clip has no frames, so there is nothing to generate from: choose another one")
        if number < self.wishes.frames:
            self.notes.append(f"The clip ended after {number} of the {self.wishes.frames} frames asked for.")
        self.notes += edits.unmet() if edits is not None else []

    def _read_edits(self) -> list[Edit]:
        path = self.folder / EDITS
        path.unlink(missing_ok=True)
        if not self.wishes.edits:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(edits_text(self.wishes.edits))
        return read_edits(path, self.model.config.model)

    def _edits(self) -> Edits | None:
        if not self._asked:
            return None
        run, total = self._run, self.total

        def open_track(source: str, clip: int, span: Span) -> Clip:
            return open_clip(source, run.config, clip, span.needed(total), [run.colours])

        return Edits(self._asked, run.config.model, open_track, run.config.data.ignore_label)

    def _beginning(self) -> tuple[FirstFrame | None, Tensor | None]:
        """``first_frame=`` where it is another than the run's own, and the picture."""
        config, picture = self._run.config, self.wishes.picture
        height, width = self.model.size
        if picture is not None:
            return FirstFrame.image, read_first_image(picture, (height, width), config.data)
        trained = config.model.first_frame
        if trained is FirstFrame.real and getattr(self._sequence, "has_pictures", False):
            return None, None
        if trained in (FirstFrame.image, FirstFrame.real):
            self.notes.append(
                f"The run was trained to go on from a picture (first_frame={trained.value}); none was given, so the "
                "video begins from nothing. Upload a picture to begin from for what it can do."
            )
            return FirstFrame.model, None
        return None, None

    def _pictures(self, step: Step, run: LoadedRun) -> dict[str, np.ndarray]:
        condition = {name: torch.as_tensor(step.frame[name]) for name in ("labels", "source") if name in step.frame}
        columns = list(condition_columns(condition, run.config).values())
        found = {"source": torch.cat(columns, dim=1), "result": step.picture}
        if getattr(self._sequence, "has_pictures", step.frame.get("image") is not None):
            found["real"] = _picture(step.frame.get("image"), self.model.size)
        # Without a frame before, nothing is warped and all is hallucinated: white is no motion, and a mask of 1.
        white = torch.full((*self.model.size, 3), 255, dtype=torch.uint8)
        if run.config.model.flow and run.encoder.model.past_frames:
            flow, mask, other = (step.extras.get(name) for name in ("flow", "mask", "hallucination"))
            found["flow"] = white if flow is None else flow_picture(flow, self.strongest).permute(1, 2, 0)
            found["mask"] = white if mask is None else _grey(mask)
            found["hallucination"] = step.picture if other is None else float_to_images(other).permute(1, 2, 0).cpu()
        return {name: picture.numpy() for name, picture in found.items()}

    @property
    def strongest(self) -> float:
        """[pixels] of motion from one frame to the next that has the strongest colour."""
        return self.model.size[1] * _FLOW_SHARE


def _picture(image: Any, size: tuple[int, int]) -> Tensor:
    """(3, H, W) uint8 as (H, W, 3); dark where there is none."""
    return torch.full((*size, 3), 24, dtype=torch.uint8) if image is None else torch.as_tensor(image).permute(1, 2, 0)


def _grey(mask: Tensor) -> Tensor:
    """(1, H, W) in 0..1 as (H, W, 3) uint8."""
    return (mask * 255).round().clamp(0, 255).to(torch.uint8).cpu().permute(1, 2, 0).expand(-1, -1, 3)


def edits_text(edits: Sequence[Mapping[str, Any]]) -> str:
    """A list of edits as the file that ``scripts/generate.py edit=`` reads, one entry a line."""
    lines = [yaml.safe_dump(dict(one), default_flow_style=True, sort_keys=False, width=10**6).strip() for one in edits]
    return "edits:\n" + "".join(f"  - {line}\n" for line in lines)


class Files:
    """The videos of a generation, written while its frames come. Use it in a ``with`` block.

    Args:
        folder: the visitor's; ``result.mp4`` and ``side_by_side.mp4`` appear there when the block ends well.
        fps: of both.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        self.result, self.panels = folder / RESULT, folder / PANELS
        self._fps, self._stack = fps, ExitStack()
        self._writers: list[VideoWriter] = []

    def __enter__(self) -> Files:
        for path in (self.result, self.panels):
            path.unlink(missing_ok=True)
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, shown: Shown) -> None:
        """Add a frame to both videos; pixels of small pictures are enlarged."""
        pictures = {name: torch.from_numpy(picture) for name, picture in shown.pictures.items()}
        zoom = max(1, _SIDE // pictures["result"].shape[1])
        pictures = {name: enlarged(picture, zoom) for name, picture in pictures.items()}
        panels = _in_rows(pictures)
        if not self._writers:
            for path, frame in ((self.result, pictures["result"]), (self.panels, panels)):
                writer = VideoWriter(path, self._fps, (frame.shape[0], frame.shape[1]))
                self._writers.append(self._stack.enter_context(writer))
        for writer, frame in zip(self._writers, (pictures["result"], panels), strict=True):
            writer.write(frame)


def _in_rows(pictures: dict[str, Tensor]) -> Tensor:
    """Pictures (H, W, 3) uint8 of one height under their names, three in a row, as one picture."""
    names = list(pictures)
    rows = [names[start : start + _ABREAST] for start in range(0, len(names), _ABREAST)]
    width = max(sum(pictures[name].shape[1] for name in row) for row in rows)
    panels = []
    for row in rows:
        images = [pictures[name] for name in row]
        free = width - sum(image.shape[1] for image in images)
        if free:
            images.append(torch.zeros((images[0].shape[0], free, 3), dtype=torch.uint8))
        panels.append(label_panel(images, [*row, ""][: len(images)]))
    return torch.cat(panels)
