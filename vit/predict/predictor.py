"""What a trained classifier says of pictures without labels: probabilities of classes, or features.

``load_predictor`` takes a run, a weights file or a model of timm; ``predict`` streams batches of pictures through it;
``vit.predict.files`` writes what comes out.

Shapes: B pictures, C channels, H x W pixels, K classes, D features.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.cli import load_run
from trainer.config.overrides import apply_overrides
from trainer.config.schema import CONFIGS
from trainer.data.loader import DevicePrefetcher, make_eval_loader
from trainer.data.pictures.decode import Span, decode, span_of
from trainer.data.pictures.files import BadFileError, read_bytes, reason_of
from trainer.data.workers import usable_cores
from trainer.device.compute import Compute, choose_compute
from trainer.device.free_memory import is_out_of_memory
from trainer.errors import CheckpointError, ConfigError, DataError, UserError
from trainer.task import SampleDataset
from vit.config import VitConfig
from vit.data.clips.sampling import Sampling
from vit.data.sources.unlabelled import Listed
from vit.data.transforms import EvalTransform
from vit.encoding import normalise
from vit.evaluate.loaded import NO_NUMBERS, fitting_batch, heads
from vit.evaluate.metrics import log_probabilities
from vit.model.video import clip_frames, input_shape
from vit.preprocessing import from_plain, given_statistics
from vit.trained import load_run_model, load_weights_model

SCHEMAS = {"vit": VitConfig}
_READ = ("trainer", "augment", "resolution")  # of a configuration; the rest shapes training or its data
_STATISTICS = ("data.mean", "data.std")
CLIPS = ("clip_stride", "clip_views", "clip_short", "clip_order")  # of `data`: which frames of a clip are judged
_CLIPS = tuple(f"data.{name}" for name in CLIPS)
_TOLD = ("data.range", "model.heads")  # of weights that do not tell them
Wrap = Callable[[Iterable[dict[str, Any]]], Iterable[dict[str, Any]]]


@dataclass
class Predictor:
    """A classifier with everything that decides what it says of a picture.

    Attributes:
        model: (B, C, H, W) -> logits (B, K), in eval mode on its device.
        transform: a decoded picture to the network's size.
        mean, std: input normalisation per channel, on a scale of 0..1; as many as pictures are to have channels.
        classes: K names; none where the network has no head.
        compute: where and in which precision.
        sigmoid: whether every class is a yes-or-no question of its own (else one choice: softmax).
        multilabel: whether any number of them may be true; probabilities are then not normalised over the classes.
        separator: what stands between several labels of one picture.
        span: values of pictures of over 8 bits that become 0 and 255 (``data.range`` of training); None: of their type.
        sampling: which frames of a clip it sees; None: it sees pictures.
        lines: which weights these are, and what else the user should know.
    """

    model: nn.Module
    transform: EvalTransform
    mean: list[float]
    std: list[float]
    classes: list[str]
    compute: Compute
    sigmoid: bool = False
    multilabel: bool = False
    separator: str = " "
    span: Span | None = None
    sampling: Sampling | None = None
    lines: list[str] = field(default_factory=list)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """Bytes (B, C, H, W) to probabilities (B, K) fp32."""
        with self.compute.amp():
            logits = self.model(normalise(images.to(self.compute.device), self.mean, self.std))
        if self.multilabel:
            return logits.float().sigmoid()
        return log_probabilities(logits, self.sigmoid).exp()

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Bytes (B, C, H, W) to what the head reads, (B, D) fp32."""
        with self.compute.amp():
            found = self.model.representation(normalise(images.to(self.compute.device), self.mean, self.std))  # pyright: ignore[reportCallIssue]
        return found.float()


def load_predictor(
    run: str | None = None,
    weights: str | None = None,
    name: str | None = None,
    checkpoint: str | None = None,
    overrides: Sequence[str] = (),
    features: bool = False,
) -> Predictor:
    """The classifier of a run, with its averaged weights where it has them, or of published weights.

    Neither needs the data that it was trained on.

    Args:
        run: run directory; or
        weights: a file or folder that ``vit.weights.reading.read`` takes, or ``timm:NAME`` of any classifier of timm.
        name: timm's name of the model in the file; None: a plain ViT.
        checkpoint: of the run, by name, or a path; None: the newest.
        overrides: ``trainer.device``, ``trainer.precision``, ``resolution``, ``augment.eval_*``, ``data.mean`` and
            ``data.std``, as for training; of weights also ``data.range`` and ``model.heads``, which a run keeps.
        features: only `Predictor.features` is asked for: the network needs no head.

    Raises:
        ConfigError: not one of run and weights, other overrides, or a size that the network cannot take.
        UserError: no such run. CheckpointError: weights that cannot be had, read or used.
    """
    if (run is None) == (weights is None):
        raise ConfigError("give one of run=DIRECTORY and weights=FILE|timm:NAME")
    requested = {word.partition("=")[0].lstrip("+") for word in overrides}
    read = (*_STATISTICS, *_CLIPS, *(_TOLD if run is None else ()))
    unread = [key for key in sorted(requested) if key.split(".")[0] not in _READ and key not in read]
    if unread:
        has = f"trainer.*, augment.eval_*, resolution, {', '.join(read[:-1])} and {read[-1]} have"
        raise ConfigError([f"{key}: has no part in predictions; {has}" for key in unread])
    if run is not None:
        if name is not None:
            raise ConfigError(f"name={name} is for weights=FILE: a run knows its model")
        model, _, meta = load_run_model(run, checkpoint)
        config = load_run(run, SCHEMAS, overrides)
        if "resolution" not in requested and meta.get("resolution"):
            config = replace(config, resolution=list(meta["resolution"]))
        lines = [meta["weights_line"]]
    else:
        if checkpoint is not None:
            raise ConfigError(f"checkpoint={checkpoint} is for run=DIRECTORY: weights= names a file itself")
        config: VitConfig = apply_overrides(VitConfig(), overrides, CONFIGS, SCHEMAS)
        size = (config.resolution[0], config.resolution[1]) if "resolution" in requested else None
        model, meta = load_weights_model(str(weights), name, size, features, config.model.heads)
        if not features and not heads(model):
            raise CheckpointError(
                f"{weights} has no head that tells classes apart: features=true writes what such a head would read; "
                f"train.py model.weights={weights} model.head=reset trains one"
            )
        if size is None:
            config = replace(config, resolution=list(meta["resolution"]))
        config = replace(config, augment=from_plain(meta).into(config.augment, requested))
        lines = [f"weights of {meta['weights']}", *meta["notes"]]
    compute = choose_compute(config.trainer, foreign=run is None)
    height, width = config.resolution
    transform = EvalTransform(config.augment, (height, width))
    mean, std = (
        list(given_statistics(meta[key], getattr(config.data, key) if f"data.{key}" in requested else None,
                              len(meta["mean"]), f"data.{key}") or ())
        for key in ("mean", "std")
    )  # fmt: skip
    predictor = Predictor(model.to(compute.device), transform, mean, std, [], compute)
    if (frames := clip_frames(model)) > 1:
        predictor.sampling = replace(Sampling.of(config), frames=frames)
    outputs = _outputs(predictor)
    predictor.classes, more = _named(meta.get("classes"), outputs) if heads(model) else ([], [])
    predictor.lines = [*lines, *more]
    told = from_plain(meta)
    predictor.multilabel, predictor.sigmoid = told.answers == "labels", told.answers in ("sigmoid", "labels")
    predictor.separator, predictor.span = config.data.csv_separator, span_of(config.data.range) or told.span
    return predictor


@torch.inference_mode()
def _outputs(predictor: Predictor) -> int:
    """K, by one grey picture: a size that the network cannot take is told before any file is read."""
    height, width = predictor.transform.resolution
    shape = input_shape(predictor.model, (len(predictor.mean), height, width))
    grey = torch.zeros(1, *shape, device=predictor.compute.device)
    try:
        return int(predictor.model(grey).shape[-1])
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise ConfigError(
            f"resolution=[{height},{width}]: the network cannot take pictures of this size ({reason})"
        ) from error


def _named(told: Sequence[str] | None, outputs: int) -> tuple[list[str], list[str]]:
    """Names of the head's classes, and where they are from."""
    if told is not None and len(told) == outputs:
        return list(told), []
    if told:
        raise CheckpointError(f"the weights name {len(told)} classes, their head has {outputs}")
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": outputs})
    if subset is not None:
        info = ImageNetInfo(subset)
        names = [f"{n} {words}" for n, words in zip(info.label_names(), info.label_descriptions(), strict=True)]
        return names, [f"the weights name no classes; {outputs} are taken to be those of {subset} in their usual order"]
    return [str(k) for k in range(outputs)], [f"the weights name no classes: they are called 0 to {outputs - 1}"]


class UnlabelledPictures:
    """Pictures as a data set (`trainer.task.SampleDataset`): ``image`` uint8 (C, H, W), ``index``, and ``bad``.

    ``bad`` is why a picture cannot be used, else empty; its ``image`` is black then.
    """

    def __init__(
        self, files: Sequence[os.PathLike[str]], transform: EvalTransform, channels: int, span: Span | None = None
    ) -> None:
        self.files, self.transform, self.channels, self.span = files, transform, channels, span

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """The file."""
        return str(self.files[index])

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Sample ``index``; nothing of it is random."""
        file = self.files[index]
        try:
            image, bad = self.transform(decode(read_bytes(str(file)), str(file), self.channels, self.span)), ""
        except BadFileError as error:
            image = torch.zeros(self.channels, *self.transform.resolution, dtype=torch.uint8)
            bad = reason_of(error).partition(" Replace it")[0].partition(". Convert it")[0].removeprefix(f"{file}: ")
        return {"image": image, "index": index, "bad": bad}


def as_samples(predictor: Predictor, files: Sequence[Path]) -> SampleDataset:
    """Files as the network is to see them: pictures, or clips. What cannot be used says so under ``bad``."""
    channels = len(predictor.mean)
    if predictor.sampling is None:
        return UnlabelledPictures(files, predictor.transform, channels, predictor.span)
    from vit.predict.clips import UnlabelledClips

    return UnlabelledClips(files, predictor.transform, channels, predictor.sampling, predictor.span)


@dataclass
class Answers:
    """What came out for some pictures.

    Attributes:
        indices: of the pictures, ascending; those that could not be used are not among them.
        values: float32 (B, K) probabilities, or (B, D) features, on the CPU.
        bad: why others could not be used, by index.
    """

    indices: list[int]
    values: np.ndarray
    bad: dict[int, str]


def predict(
    predictor: Predictor,
    listed: Listed,
    *,
    features: bool = False,
    batch: int | None = None,
    workers: int | None = None,
    wrap: Wrap = lambda batches: batches,
    start: int = 0,
) -> Iterator[Answers]:
    """Looks at all pictures, in order, batch by batch.

    Args:
        start: pictures that are passed over at the beginning: an earlier call has looked at them.
        features: give what the head reads instead of probabilities.
        batch: pictures at a time; None: as many as the device takes.
        workers: processes that decode; None: a core each on a GPU, half of them where the network needs them too.
        wrap: around the batches, to show progress.

    Raises:
        ConfigError: ``batch`` below 1. UserError: memory does not suffice, or the network's answers are no numbers.
        DataError: no picture could be used.
    """
    if batch is None:
        batch = fitting_batch(
            predictor.model, (len(predictor.mean), *predictor.transform.resolution), predictor.compute
        )
    if batch < 1 or (workers is not None and workers < 0):
        raise ConfigError(f"batch={batch}, workers={workers}: must be at least 1 and 0")
    pictures = as_samples(predictor, listed.files[start:])
    workers = reading_processes(predictor.compute.device, len(pictures), batch) if workers is None else workers
    loader = make_eval_loader(pictures, batch_size=batch, workers=workers, device=predictor.compute.device)
    answer = predictor.features if features else predictor.probabilities
    if not len(pictures):
        return
    used, first = 0, None
    for samples in wrap(DevicePrefetcher(loader, predictor.compute.device)):
        real = (samples["weight"] > 0).tolist()
        why = [text for text, own in zip(samples["bad"], real, strict=True) if own]
        indices = [start + index for index, own in zip(samples["index"].tolist(), real, strict=True) if own]
        good = [place for place, text in enumerate(why) if not text]
        try:
            values = answer(samples["image"][: len(why)]).cpu().numpy()[good]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"batch={batch}: memory does not suffice; try batch={max(1, batch // 4)}") from error
        odd = next((place for place, row in zip(good, values, strict=True) if not np.isfinite(row).all()), None)
        if odd is not None:
            raise UserError(f"{listed.names[indices[odd]]}: {NO_NUMBERS}")
        bad = {index: text for index, text in zip(indices, why, strict=True) if text}
        first = first or next(((listed.names[index], text) for index, text in bad.items()), None)
        used += len(good)
        yield Answers([indices[place] for place in good], values, bad)
    if not used and first is not None and not start:
        raise DataError(f"none of {len(pictures)} pictures can be used; first {first[0]}: {first[1]}")


def reading_processes(device: torch.device, pictures: int, batch: int) -> int:
    """How many processes decode: none for a batch or two; else a core each on a GPU, half of the cores on a CPU."""
    if pictures <= 2 * batch:
        return 0
    cores = usable_cores()
    return min(max(1, cores if device.type == "cuda" else cores // 2), -(-pictures // batch))
