"""``vit.load``: a trained classifier as an object of Python.

Shapes: B pictures of C channels and H x W pixels (the network's size), K classes, D numbers that the head reads.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainer.checkpoint.run_folders import inside, run_around
from trainer.data.pictures.decode import Span, decode
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.device.compute import asked_for, moved
from trainer.errors import ConfigError, DataError, UserError
from trainer.text import by, few
from trainer.untrusted import plain_json
from vit.encoding import normalise
from vit.evaluate.loaded import NO_NUMBERS, fitting_batch
from vit.model.video import clip_frames
from vit.predict.order import likeliest
from vit.predict.predictor import CLIPS, Predictor, load_predictor
from vit.weights.files import HEADER

Picture = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
Pictures = Picture | Sequence[Picture]

_KEPT = ("1", "L", "LA", "I", "I;16", "I;16B", "F", "P", "RGB", "RGBA")  # what a PNG or a TIFF holds as it is


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one picture.

    Attributes:
        label: the likeliest class.
        probability: of it, 0..1.
        probabilities: of all classes, (K,) float32 in the order of `Classifier.classes`. They sum to 1, unless any
            number of classes may be true of a picture (`Classifier.multilabel`).
        classes: names of all.
    """

    label: str
    probability: float
    probabilities: np.ndarray
    classes: Sequence[str]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """(class, probability) of the ``count`` likeliest classes, the likeliest first; of ties the first in order."""
        order = likeliest(self.probabilities, count)
        return [(self.classes[int(k)], float(self.probabilities[k])) for k in order]


class Classifier:
    """A trained classifier with all that decides what it says of a picture. Made by ``vit.load``.

    It computes what ``scripts/predict.py`` does: in eval mode, without gradients, by the averaged (EMA) weights where
    a run has them, and with the crop, the normalisation and the precision of the run.

    Attributes:
        batch: pictures at a time; None: as many as the device takes.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.batch: int | None = None

    @property
    def classes(self) -> list[str]:
        """K names in the order of the logits; none where the weights have no head."""
        return list(self._predictor.classes)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels that the network sees."""
        return self._predictor.transform.resolution

    @property
    def mean(self) -> list[float]:
        """Of the normalisation, per channel, 0..1."""
        return list(self._predictor.mean)

    @property
    def std(self) -> list[float]:
        """Of the normalisation, per channel, 0..1."""
        return list(self._predictor.std)

    @property
    def multilabel(self) -> bool:
        """Whether any number of classes may be true of a picture."""
        return self._predictor.multilabel

    @property
    def lines(self) -> list[str]:
        """Which weights these are, and what else there is to know of them."""
        return list(self._predictor.lines)

    @property
    def model(self) -> torch.nn.Module:
        """The network, in eval mode on its device: (B, C, H, W) normalised -> (B, K)."""
        return self._predictor.model

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._predictor.compute.device

    def __repr__(self) -> str:
        height, width = self.size
        return f"{type(self).__name__}({len(self._predictor.classes)} classes, {height}x{width}, on {self.device})"

    def to(self, device: str | torch.device) -> Classifier:
        """Moves the network, and returns this classifier; the precision stays what was asked for.

        Args:
            device: ``cpu``, ``cuda`` or ``cuda:N``.

        Raises:
            ConfigError: there is no such device, or it lacks the precision.
        """
        compute = moved(self._predictor.compute, device)
        self._predictor.model.to(compute.device)
        self._predictor.compute = compute
        return self

    def prepare(self, pictures: Pictures) -> Tensor:
        """Pictures as the network sees them, before the normalisation: uint8 (B, C, H, W) on the CPU.

        Args:
            pictures: a picture or several, each a path, a PIL picture, an array (H, W) or (H, W, C) or a tensor
                (C, H, W), of bytes 0..255 and any size; or a batch of tensors (B, C, H, W). Each is resized and cropped
                as in evaluation. A path is decoded as ``scripts/predict.py`` does it. For a network of clips: paths of
                videos or of folders of frames, and the result is (B, T, C, H, W).

        Raises:
            DataError: a picture that cannot be read. ConfigError: something else than pictures, or none.
        """
        return torch.stack([self._one(picture, number) for number, picture in enumerate(_listed(pictures))])

    def __call__(self, pictures: Pictures) -> list[Prediction]:
        """What it says of pictures, one `Prediction` for each, in order; also for a single picture a list.

        Args:
            pictures: see `prepare`.

        Raises:
            ConfigError: the weights have no head. DataError: a picture that cannot be read. UserError: the network's
                answer is no number.
        """
        self._need_head()
        listed, found = _listed(pictures), list[Prediction]()
        classes = self.classes
        for start in range(0, len(listed), step := self._batch()):
            rows = self._predictor.probabilities(self.prepare(listed[start : start + step])).cpu().numpy()
            for number, row in enumerate(rows, start):
                if not np.isfinite(row).all():
                    raise UserError(f"item {number}: {NO_NUMBERS}")
                best = int(likeliest(row, 1)[0])
                found.append(Prediction(classes[best], float(row[best]), row, classes))
        return found

    @torch.inference_mode()
    def logits(self, images: Tensor | Pictures) -> Tensor:
        """Scores of all classes before softmax or sigmoid, (B, K) float32, on the network's device.

        Args:
            images: what `prepare` gives: a uint8 tensor (B, C, H, W) of the network's size. A floating-point one is
                taken as normalised already: ``(pixel / 255 - mean) / std``. Anything else are pictures, which are
                prepared first.

        Raises:
            ConfigError: the weights have no head, or a tensor of another size.
        """
        self._need_head()
        return torch.cat([self._forward(part, self._predictor.model) for part in self._parts(images)])

    @torch.inference_mode()
    def features(self, images: Tensor | Pictures) -> Tensor:
        """What the head reads of pictures, (B, D) float32, on the network's device.

        Args:
            images: as in `logits`.

        Raises:
            ConfigError: a tensor of another size.
        """
        model: Any = self._predictor.model
        return torch.cat([self._forward(part, model.representation) for part in self._parts(images)])

    # --- inside -------------------------------------------------------------------------------------------------------

    def _forward(self, images: Tensor, network: Any) -> Tensor:
        images = images.to(self.device)
        if not images.is_floating_point():
            images = normalise(images, self._predictor.mean, self._predictor.std)
        images = images.float()
        with self._predictor.compute.amp():
            return network(images).float()

    def _parts(self, images: Tensor | Pictures) -> Iterator[Tensor]:
        batches = isinstance(images, Tensor) and images.ndim >= 4
        whole = self._checked(images) if batches else self.prepare(images)
        return iter(whole.split(self._batch()))

    def _checked(self, images: Any) -> Tensor:
        channels = len(self._predictor.mean)
        frames = clip_frames(self.model)
        wanted = (channels, *self.size) if frames == 1 else (frames, channels, *self.size)
        inner = tuple(images.shape[1:])
        whole = inner == wanted or (frames > 1 and len(inner) == len(wanted) + 1 and inner[1:] == wanted)  # views too
        if not whole or not len(images):
            raise ConfigError(
                f"a tensor of {by(images.shape)}: the network sees (B, {', '.join(map(str, wanted))}); "
                "prepare(pictures) makes it of pictures of any size"
            )
        if not images.is_floating_point() and images.dtype != torch.uint8:
            raise ConfigError(f"a tensor of {images.dtype}: give uint8, 0..255, or normalised floating-point numbers")
        return images

    def _batch(self) -> int:
        if self.batch is None:
            predictor = self._predictor
            self.batch = fitting_batch(predictor.model, (len(predictor.mean), *self.size), predictor.compute)
        if self.batch < 1:
            raise ConfigError(f"batch={self.batch}: must be at least 1, or None")
        return self.batch

    def _need_head(self) -> None:
        if not self._predictor.classes:
            raise ConfigError(
                f"{self._predictor.lines[0]}: there is no head that tells classes apart; features(pictures) gives what "
                "such a head would read, and train.py model.weights=PATH model.head=reset trains one"
            )

    def _one(self, picture: Any, number: int) -> Tensor:
        predictor, channels = self._predictor, len(self._predictor.mean)
        try:
            if isinstance(picture, str | os.PathLike):
                if predictor.sampling is not None:
                    return self._clip(Path(picture))
                path = Path(picture).expanduser()
                return predictor.transform(decode(read_bytes(path), path, channels, predictor.span))
            if predictor.sampling is not None:
                raise ConfigError(
                    f"item {number} is a {type(picture).__name__}: this network looks at clips of "
                    f"{predictor.sampling.frames} frames: give paths of videos, or of folders of frames"
                )
            return predictor.transform(_pixels(picture, channels, number, predictor.span))
        except BadFileError as error:
            raise DataError(str(error)) from error

    def _clip(self, path: Path) -> Tensor:
        from vit.predict.clips import UnlabelledClips, list_clips

        predictor = self._predictor
        assert predictor.sampling is not None
        files = list_clips(str(path)).files
        clips = UnlabelledClips(files, predictor.transform, len(predictor.mean), predictor.sampling, predictor.span)
        if len(files) != 1:
            raise ConfigError(f"{path} holds {len(files)} clips: give them one by one, like {few(files, 2)}")
        sample = clips.sample(0, np.random.default_rng(0))
        if sample["bad"]:
            raise DataError(f"{path}: {sample['bad']}")
        return sample["image"]


def load(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | None = None,
    name: str | None = None,
    device: str | torch.device | None = None,
    overrides: Sequence[str] = (),
) -> Classifier:
    """The classifier of a run, of an exported folder, of a checkpoint or of a weights file. See ``vit.load``."""
    source, overrides = str(path), [*overrides, *asked_for(device)]
    found = None if source.startswith("timm:") else run_around(source)
    if found is not None:
        run, own = inside(found, source, checkpoint)
        predictor = load_predictor(str(run), None, name, own, overrides, features=True)
    else:
        if checkpoint is not None:
            raise ConfigError(f"checkpoint={checkpoint}: {source} is no run: give the checkpoint itself as the path")
        told = [*_clips_told(Path(source).expanduser()), *overrides]
        predictor = load_predictor(None, source, name, None, told, features=True)
    classifier = Classifier(predictor)
    return classifier if device is None else classifier.to(device)


def _clips_told(path: Path) -> list[str]:
    """How a network of clips was evaluated, as an exported folder tells it: words of a command line."""
    file = (path if path.is_dir() else path.parent) / "config.json"
    try:
        told = plain_json.loads(file.read_text(encoding="utf-8"))[HEADER]["clips"].items()
    except (OSError, *plain_json.MISSHAPEN):
        return []  # of another kind; whoever reads the weights says what is wrong with it
    plain = {name: "null" if value is None else str(value) for name, value in told if name in CLIPS}
    return [f"data.{name}={value}" for name, value in plain.items() if value.isalnum()]  # words, and no others


def _listed(pictures: Any) -> Sequence[Any]:
    """Pictures one by one."""
    if isinstance(pictures, Tensor | np.ndarray):
        pictures = pictures if pictures.ndim == 4 else [pictures]
    elif isinstance(pictures, str | os.PathLike | Image.Image):
        pictures = [pictures]
    found = list(pictures)
    if not found:
        raise ConfigError("no pictures: give at least one")
    return found


def _pixels(picture: Any, channels: int, number: int, span: Span | None) -> Tensor:
    """uint8 (C, H, W) of a PIL picture, an array or a tensor; its channels made those of the network as of files."""
    if isinstance(picture, Image.Image):
        kept = ImageOps.exif_transpose(picture)
        kept = kept if kept.mode in _KEPT else kept.convert("RGB")
    else:
        if not isinstance(picture, np.ndarray | Tensor):
            raise ConfigError(
                f"item {number} is a {type(picture).__name__}: give paths, PIL pictures, arrays (H, W, C) or tensors "
                "(C, H, W)"
            )
        array = picture.detach().cpu().movedim(0, -1).numpy() if isinstance(picture, Tensor) else picture
        shown = by(picture.shape)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            what = "an array (H, W) or (H, W, C)" if array is picture else "a tensor (C, H, W)"
            raise ConfigError(f"item {number} is of {array.dtype} and {shown}: give {what} of uint8, 0..255")
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.ndim == 3 and array.shape[2] not in (3, 4):
            raise ConfigError(f"item {number} is of {shown}: pictures have 1, 3 or 4 channels")
        kept = Image.fromarray(np.ascontiguousarray(array))
    memory = io.BytesIO()
    # lossless, so that modes, alpha and depth mean what they do in files
    deep = kept.mode[0] in "IF"  # a PNG would cut what has more than 16 bits
    kept.save(memory, "TIFF" if deep else "PNG", **({} if deep else {"compress_level": 0}))
    return decode(memory.getvalue(), f"picture {number}", channels, span)
