"""``vid2vid.load``: a trained video model as an object of Python.

Shapes: T frames of H x W pixels, L past frames (`VideoModel.past_frames`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainer.device.compute import asked_for, moved
from trainer.errors import ConfigError, DataError
from trainer.text import by
from vid2vid.config import FirstFrame
from vid2vid.data.augment import centre_crop
from vid2vid.data.sources.kinds import wants_labels
from vid2vid.generate.given import Given, WithPictures, as_array, condition, label_map
from vid2vid.generate.rollout import Rollout
from vid2vid.generate.styling import build_styles
from vid2vid.generate.video import FASTEST, generate_frames, length_of, open_clip, read_first_image
from vid2vid.loading import load_folder
from vid2vid.styles.assigned import VideoStyles
from vid2vid.styles.request import StyleRequest
from vid2vid.trained import LoadedRun

Labels = str | os.PathLike[str] | np.ndarray | Tensor | Iterable[Any]
Picture = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
_EMPTY = "the labels have no frames, so there is nothing to generate from: give at least one"
_NO_PICTURE = ("model", "zeros")  # words for what stands before the first frame


class Frame(NamedTuple):
    """One generated frame.

    Attributes:
        frame: (H, W, 3) uint8.
        past: for the next `VideoModel.step`.
    """

    frame: np.ndarray
    past: Past


@dataclass(frozen=True)
class Past:
    """Where a video stands after some frames. `VideoModel.step` leaves it as it is, so that a video may go on twice.

    Attributes:
        frames: that were made so far.
        extras: what else the generator made of the last one, as far as it exists: ``hallucination`` (3, H, W) in
            [-1, 1], ``flow`` (2, H, W) in pixels to the frame before, ``mask`` (1, H, W) in 0..1.
    """

    frames: int
    extras: Mapping[str, Tensor]
    _rollout: Rollout = field(repr=False)


class Video:
    """Frames that are generated as they are asked for. Made by `VideoModel.generate`.

    ``for frame in video`` gives (H, W, 3) uint8 arrays one by one, in constant memory; ``np.asarray(video)`` all of
    them, (T, H, W, 3). Each pass generates anew, the same frames; labels that can be read only once allow one pass.
    """

    def __init__(self, model: VideoModel, sequence: Any, frames: int | None, options: Mapping[str, Any]) -> None:
        self._model, self._sequence, self._frames, self._options = model, sequence, frames, dict(options)

    @property
    def fps(self) -> float:
        """Frames per second of the source; 25 where it does not tell."""
        return float(self._sequence.fps)

    def __len__(self) -> int:
        """T. TypeError: the source has no known length."""
        length = length_of(self._sequence, None)
        if length is None:
            raise TypeError("the labels have no known length")
        return length if self._frames is None else min(length, self._frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        options = dict(self._options)
        options["styles"] = self._model._styles(options.pop("request"), self._sequence, self._frames)
        for step in generate_frames(self._model.run, self._sequence, self._frames, **options):
            yield step.picture.numpy()

    def array(self) -> np.ndarray:
        """All frames, (T, H, W, 3) uint8.

        Raises:
            trainer.errors.DataError: there are none.
        """
        frames = list(self)
        if not frames:
            raise DataError(_EMPTY)
        return np.stack(frames)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.array(), dtype)

    def save(self, path: str | os.PathLike[str], fps: float | None = None) -> Path:
        """Writes a video as ``scripts/generate.py`` does: .mp4, .mov, .mkv, .webm or .gif, or a folder of PNGs.

        Raises:
            trainer.errors.DataError: the place cannot be written, or there are no frames. ConfigError: ``fps``.
        """
        from trainer.records.video_writer import video_output

        writer, place, rate = None, Path(path), self.fps if fps is None else fps
        if not 0 < rate <= FASTEST:
            raise ConfigError(f"fps={rate}: must be above 0 and at most {FASTEST}")
        with ExitStack() as stack:
            for frame in self:
                if writer is None:
                    writer = stack.enter_context(video_output(place, rate, (frame.shape[0], frame.shape[1])))
                writer.write(torch.from_numpy(frame))
        if writer is None:
            raise DataError(_EMPTY)
        return place


class VideoModel:
    """A trained generator with all that it must be used with. Made by ``vid2vid.load``.

    It computes what ``scripts/generate.py`` does: in eval mode, without gradients, by the averaged (EMA) weights where
    a run has them, in the run's precision.

    Attributes:
        run: configuration, networks and encoder (`vid2vid.trained.LoadedRun`).
        folder: where ``styles.json`` may be.
    """

    def __init__(self, run: LoadedRun, folder: Path) -> None:
        self.run, self.folder = run, folder

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its frames in pixels."""
        height, width = self.run.config.resolution
        return height, width

    @property
    def past_frames(self) -> int:
        """L, how many frames before a new one the generator sees."""
        return self.run.config.model.past_frames

    @property
    def label_ids(self) -> list[int]:
        """Ids of the classes that label maps may hold; none where the model takes pictures alone."""
        return list(self.run.encoder.ids) if wants_labels(self.run.config.model) else []

    @property
    def styled(self) -> bool:
        """Whether instances have styles, which ``seed`` and ``style`` choose."""
        return self.run.style is not None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.run.compute.device

    @property
    def lines(self) -> list[str]:
        """Which weights these are, in words."""
        return [self.run.weights_line]

    def __repr__(self) -> str:
        height, width = self.size
        return f"{type(self).__name__}({height}x{width}, {self.past_frames} past frames, on {self.device})"

    def to(self, device: str | torch.device) -> VideoModel:
        """Moves the networks, and returns this model; the precision stays what the run asks for.

        Args:
            device: ``cpu``, ``cuda`` or ``cuda:N``.

        Raises:
            ConfigError: there is no such device, or it lacks the precision.
        """
        compute = moved(self.run.compute, device)
        self.run.generator.to(compute.device)
        if self.run.style is not None:
            self.run.style.to(compute.device)
        self.run.compute = compute
        return self

    def generate(
        self,
        labels: Labels,
        first_frames: Picture | Sequence[Picture] | None = None,
        seed: int = 0,
        style: str | None = None,
        *,
        instances: np.ndarray | Tensor | Iterable[Any] | None = None,
        frames: int | None = None,
        clip: int = 0,
    ) -> Video:
        """A video of label maps; nothing is generated before its frames are asked for.

        Args:
            labels: class ids, an array (T, H, W) or anything that gives (H, W) arrays one by one. For a model that
                takes pictures: (T, H, W, C) uint8. Frames may also be mappings with ``labels`` (H, W), ``instances``
                (H, W), ``source`` (C, H, W) and ``image`` (3, H, W). Or a source as ``scripts/generate.py`` takes it: a
                folder, a film, or ``street``; its files are cropped and resized.
            first_frames: what the video begins from. None: as the run was trained. A picture (H, W, 3): it stands
                before the first frame. Several, (N, H, W, 3) with N >= L: the first N frames of the video, for
                ``labels`` 0..N-1; they are given back as they are. ``"model"``: nothing; ``"zeros"``: mid-grey.
            seed: draws the looks of a model with styles. Without styles nothing is random.
            style: of a model with styles: ``sample``, ``mean``, ``image:PATH`` or ``file:PATH`` (docs/styles.md).
            instances: instance ids, as ``labels``, where these are arrays.
            frames: at most so many.
            clip: which sequence of a source, from 0.

        Raises:
            trainer.errors.UserError: labels, pictures or options that the model cannot use; some when the first frame
                is asked for.
        """
        request = StyleRequest(style, None, seed)
        request.check(self.run.config.model)
        if frames is not None and frames < 1:
            raise ConfigError(f"frames={frames}: must be at least 1")
        if isinstance(labels, str | os.PathLike):
            if instances is not None:
                raise ConfigError("instances: a source has its own; give them with arrays of labels")
            sequence: Any = open_clip(str(labels), self.run.config, clip, frames, [self.run.colours])
        else:
            sequence = Given(labels, instances, self._frame, self.styled)
        chosen, image, real = self._first(first_frames)
        if real is not None:
            sequence = WithPictures(sequence, real)
        options = {"first_frame": chosen, "image": image, "real_frames": None if real is None else len(real)}
        return Video(self, sequence, frames, {**options, "request": request})

    @torch.inference_mode()
    def step(
        self,
        labels: Any,
        past: Past | np.ndarray | Tensor | None = None,
        *,
        instances: Any = None,
        seed: int = 0,
    ) -> Frame:
        """One step of the generator: the next frame of a video.

        Args:
            labels: of the next frame, as one of `generate`'s.
            past: what the step before gave; None: there is none. Pictures (N, H, W, 3) uint8 with N >= L begin a video
                after these, whose labels are taken to be ``labels`` too.
            instances: ids of the next frame, (H, W).
            seed: draws the looks of a model with styles, in the first step.

        Returns:
            The frame, (H, W, 3) uint8, and the past of the next step.
        """
        given = self._frame(labels, instances)
        if isinstance(past, Past):
            rollout, count = past._rollout.fork(), past.frames
        else:
            chosen, image, real = self._first(past)
            styles = self._styles(StyleRequest(None, None, seed), Given([given], None, self._frame, True), None)
            first = chosen if chosen is not None else self.run.config.model.first_frame
            number = None if real is None else len(real)
            run = self.run
            rollout = Rollout(run.generator, run.encoder, run.compute, first, image, run.scales, styles, number)
            count = 0
            for picture in real if real is not None else ():
                rollout.step({**given, "image": picture})
        picture, extras = rollout.step(given)
        more = {name: value for name, value in extras.items() if name != "frame"}
        return Frame(picture.permute(1, 2, 0).cpu().numpy(), Past(count + 1, more, rollout))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _styles(self, request: StyleRequest, sequence: Any, frames: int | None) -> VideoStyles | None:
        return build_styles(request, self.run, self.folder, sequence, length_of(sequence, frames))

    def _frame(self, given: Any, instances: Any = None) -> dict[str, Any]:
        """A frame as `Rollout.step` takes it, of the right size."""
        if isinstance(given, Mapping):
            frame = {name: value for name, value in given.items() if value is not None}
        else:
            array = as_array(given)
            if wants_labels(self.run.config.model):
                frame = {"labels": array}
            else:
                frame = {"source": np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]}
        if instances is not None:
            frame["instances"] = as_array(instances)
        for name in ("labels", "instances"):
            if name in frame:
                frame[name] = label_map(frame[name], name, self.size)
        if "source" in frame and (channels := self.run.encoder.pictures):  # else the encoder says what is wrong
            frame["source"] = condition(frame["source"], channels, self.size)
        return frame

    def _first(self, given: Any) -> tuple[FirstFrame | None, Tensor | None, list[Tensor] | None]:
        """(mode, a picture that stands before the first frame, or real frames)."""
        if given is None:
            return None, None, None
        if isinstance(given, str) and given in _NO_PICTURE:
            return FirstFrame[given], None, None
        several = isinstance(given, np.ndarray | Tensor) and given.ndim == 4
        if (not several and not isinstance(given, Sequence)) or isinstance(given, str):
            return FirstFrame.image, self._picture(given), None
        pictures = [self._picture(picture) for picture in given]
        if len(pictures) < max(1, self.past_frames):
            raise ConfigError(
                f"{len(pictures)} first frames: this model sees {self.past_frames} past frames; give as many, or one "
                "picture by itself"
            )
        return FirstFrame.real, None, pictures

    def _picture(self, given: Any) -> Tensor:
        """uint8 (3, H, W), cropped and resized as frames are."""
        if isinstance(given, str | os.PathLike):
            return read_first_image(Path(given), self.size, self.run.config.data)
        if isinstance(given, Image.Image):
            given = np.array((ImageOps.exif_transpose(given) or given).convert("RGB"))
        array = as_array(given)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ConfigError(f"a first frame of {array.dtype} and {by(array.shape)}: give uint8 (H, W, 3)")
        image = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)
        return image if array.shape[:2] == self.size else centre_crop(array.shape[:2], self.size).image(image)


def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | None = None,
    resolution: tuple[int, int] | None = None,
    device: str | torch.device | None = None,
    overrides: Sequence[str] = (),
) -> VideoModel:
    """The generator of a run, an exported folder, a checkpoint or a weights file. See ``vid2vid.load``."""
    words = [*overrides, *asked_for(device)]
    run, folder = load_folder(Path(path).expanduser(), checkpoint, resolution, words)
    model = VideoModel(run, folder)
    return model if device is None else model.to(device)
