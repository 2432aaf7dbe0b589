"""How a picture becomes a network's input, and what its output means.

Runs, our safetensors files and ONNX's sidecar keep ``Preprocessing.plain()``; what other libraries keep is read and
written by ``vit.weights.preprocessors``. Importing this loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from trainer.errors import ConfigError
from vit.config import AugmentConfig, EvalCrop, Interpolation, LossKind

Size = tuple[int, int]
# one choice; one choice by yes-or-no questions of each class; any number of labels by such questions
ANSWERS = ("softmax", "sigmoid", "labels")
KERNELS = ("bilinear", "bicubic")  # of resizing


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a tensor; None: nothing tells.

    Attributes:
        size: (height, width) of the network's input in pixels.
        crop: ``center``: resized, its aspect kept, to cover ``size / crop_ratio``, then the centre. ``squash``: the
            whole picture resized to ``size / crop_ratio`` whatever its aspect, then the centre. ``border``: resized,
            its aspect kept, to fit inside ``size / crop_ratio``, then the centre, filled up all around by ``fill``.
        crop_ratio: share of the resized picture's sides that is kept, above 0 and at most 1.
        interpolation: ``bilinear`` or ``bicubic``.
        mean, std: of the normalisation, per channel on a scale of 0..1.
        fill: of ``border``, per channel on a scale of 0..1; None: the mean.
        floor: half a pixel beside the centre is rounded down, and bicubic is PyTorch's kernel, both as Hugging Face's
            processors do it; else half a pixel goes to even and bicubic is Pillow's (torchvision, timm, OpenCLIP).
        span: values of pictures of more than 8 bits that become 0 and 255; None: all of their type.
        answers: what logits are, one of ``ANSWERS``; None: nothing tells.
        notes: what of the file's preprocessing is not reproduced, one line each.
    """

    size: Size | None = None
    crop: str | None = None
    crop_ratio: float | None = None
    interpolation: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fill: tuple[float, ...] | None = None
    floor: bool = False
    span: tuple[float, float] | None = None
    answers: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    def plain(self) -> dict[str, Any]:
        """As JSON; ``from_plain`` reads it."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "notes"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def told(self) -> dict[str, Any]:
        """All but size and notes, by name: what ``ViTCheckpoint`` and ``LoadReport`` have of it."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in ("size", "notes")}

    def into(self, augment: AugmentConfig, requested: Collection[str] = ()) -> AugmentConfig:
        """``augment`` with the evaluation that this tells, but for the keys that were requested.

        The mode and its ratio go together: who asked for one of them gets both from the configuration.
        """
        changes: dict[str, Any] = {}
        if self.crop is not None and not {"augment.eval_crop", "augment.eval_crop_ratio"} & set(requested):
            whole = self.crop == "squash" and self.crop_ratio in (None, 1.0)
            name = "squash_center" if self.crop == "squash" and not whole else self.crop
            changes["eval_crop"] = EvalCrop[name]
            if self.crop_ratio is not None:
                changes["eval_crop_ratio"] = self.crop_ratio
            fill = self.fill or self.mean
            if fill is not None and self.mean is not None and len(fill) not in (1, len(self.mean)):
                fill = (sum(fill) / len(fill),)  # of a file for other channels
            if self.crop == "border" and fill is not None and "augment.eval_fill" not in requested:
                changes["eval_fill"] = list(fill)
            if "augment.eval_crop_floor" not in requested:
                changes["eval_crop_floor"] = self.floor
        if self.interpolation in KERNELS and "augment.eval_interpolation" not in requested:
            changes["eval_interpolation"] = Interpolation[self.interpolation]
        return replace(augment, **changes)


def answers_of(loss: LossKind, multilabel: bool) -> str:
    """What logits are that were trained with a loss."""
    return "labels" if multilabel else "sigmoid" if loss.independent else "softmax"


def enlarged(size: Size, ratio: float) -> Size:
    """(height, width) before the centre is taken; rounded down, as timm does."""
    return math.floor(size[0] / ratio), math.floor(size[1] / ratio)


def of_run(
    augment: AugmentConfig,
    mean: Sequence[float],
    std: Sequence[float],
    size: Sequence[int],
    span: Sequence[float] | None = None,
    answers: str | None = None,
) -> Preprocessing:
    """How a run evaluates."""
    crop = augment.eval_crop
    mode = "squash" if crop is EvalCrop.squash_center else crop.name
    ratio = 1.0 if crop is EvalCrop.squash else augment.eval_crop_ratio
    fill = tuple(augment.eval_fill) if crop is EvalCrop.border else None
    fill = fill * len(mean) if fill is not None and len(fill) == 1 else fill
    how = augment.eval_interpolation.name
    whole, floor = (size[0], size[1]), augment.eval_crop_floor
    deep = None if span is None else (span[0], span[1])
    return Preprocessing(whole, mode, ratio, how, numbers(mean), numbers(std), fill, floor, deep, answers)


def from_plain(facts: Mapping[str, Any], augment: Mapping[str, Any] | None = None) -> Preprocessing:
    """Of ``Preprocessing.plain``, or of an older checkpoint, where the run's ``augment`` tells the mode."""
    ratio, crop = facts.get("crop_ratio"), facts.get("crop")
    if crop is None and augment and augment.get("eval_crop"):
        crop = str(augment["eval_crop"])
    if crop is None and ratio is not None:
        crop = "center"
    if crop == "squash" and "crop" not in facts:
        ratio = 1.0  # it was not read, whatever stood there
    size, span, answers = facts.get("size"), facts.get("span"), facts.get("answers")
    mean, std, fill = (numbers(facts.get(name)) for name in ("mean", "std", "fill"))
    return Preprocessing(
        tuple(size) if size else None,
        crop,
        ratio,
        facts.get("interpolation"),
        mean,
        std,
        fill,
        bool(facts.get("floor")),
        (span[0], span[1]) if span else None,
        answers if answers in ANSWERS else None,
    )


def from_checkpoint(task: Mapping[str, Any], config: Mapping[str, Any]) -> Preprocessing:
    """Of what a checkpoint keeps of its task; what older ones lack is in the run's configuration (plain data)."""
    found = from_plain(task, config.get("augment"))
    data, loss = config.get("data") or {}, config.get("loss") or {}
    if "span" not in task and data.get("range"):
        found = replace(found, span=(data["range"][0], data["range"][1]))
    if found.answers is None and loss.get("kind"):
        found = replace(found, answers=answers_of(LossKind[loss["kind"]], bool(data.get("multilabel"))))
    return found


def given_statistics(
    told: Sequence[float] | None, given: Sequence[float] | None, channels: int, key: str
) -> tuple[float, ...] | None:
    """A mean or standard deviation per channel: what the user gave, one number for all or one each, else as told.

    Raises:
        ConfigError: another number of them.
    """
    if given is None:
        return numbers(told)
    values = numbers(given) or ()
    values = values * channels if len(values) == 1 else values
    if len(values) != channels:
        raise ConfigError(f"{key} has {len(values)} numbers, the network {channels} channels: give one each, or one")
    return values


def numbers(values: Any) -> tuple[float, ...] | None:
    """A tuple of numbers; None where there are none.

    Raises:
        ValueError, OverflowError, TypeError: one of them is no finite number.
    """
    if isinstance(values, int | float):
        values = (values,)
    if not isinstance(values, list | tuple) or not values:
        return None
    found = tuple(float(value) for value in values)
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{list(found)} are not all finite")
    return found
