"""How a picture becomes a network's input, and what its output means: read from what files say, and said to them.

Runs, our safetensors files and ONNX's sidecar keep ``Preprocessing.plain()``; timm keeps a ``pretrained_cfg``, Hugging
Face a ``preprocessor_config.json``, OpenCLIP a ``preprocess_cfg``. Importing this loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from trainer.errors import ConfigError
from vit.config import AugmentConfig, EvalCrop, Interpolation, LossKind

Size = tuple[int, int]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

OWN = "vivid"  # key of ``Preprocessing.plain`` in files of other libraries that cannot say it themselves

# one choice; one choice by yes-or-no questions of each class; any number of labels by such questions
ANSWERS = ("softmax", "sigmoid", "labels")
_KERNELS = (
    "bicubic is Pillow's in timm and PyTorch's in transformers since 5: at hard edges pixels differ by some grey levels"
)
_KNOWN = ("bilinear", "bicubic")
_PILLOW = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's numbers
_TIMM_DEFAULTS = {"interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}  # of timm's PretrainedCfg
# what the image processors of Hugging Face do unless their file says otherwise
_HF_SQUARE = {"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": HALF, "image_std": HALF}
_HF_CROP = {
    **{"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True, "resample": 3},
    **{"image_mean": CLIP_MEAN, "image_std": CLIP_STD},
}
_HF_DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": _HF_SQUARE,
    "Siglip": {**_HF_SQUARE, "resample": 3},
    "DeiT": {
        **{"size": {"height": 256, "width": 256}, "crop_size": 224, "do_center_crop": True, "resample": 3},
        **{"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD},
    },
    "CLIP": _HF_CROP,
    "Bit": _HF_CROP,
}
_HF_SHORT_SIDE = ("CLIP", "Bit")  # of whom a plain number is the short side; of the others both


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

    def into(self, augment: AugmentConfig, asked: Collection[str] = ()) -> AugmentConfig:
        """``augment`` with the evaluation that this tells, but for the keys that were ``asked`` for.

        The mode and its ratio go together: who asked for one of them gets both from the configuration.
        """
        changes: dict[str, Any] = {}
        if self.crop is not None and not {"augment.eval_crop", "augment.eval_crop_ratio"} & set(asked):
            whole = self.crop == "squash" and self.crop_ratio in (None, 1.0)
            name = "squash_center" if self.crop == "squash" and not whole else self.crop
            changes["eval_crop"] = EvalCrop[name]
            if self.crop_ratio is not None:
                changes["eval_crop_ratio"] = self.crop_ratio
            fill = self.fill or self.mean
            if fill is not None and self.mean is not None and len(fill) not in (1, len(self.mean)):
                fill = (sum(fill) / len(fill),)  # of a file for other channels
            if self.crop == "border" and fill is not None and "augment.eval_fill" not in asked:
                changes["eval_fill"] = list(fill)
            if "augment.eval_crop_floor" not in asked:
                changes["eval_crop_floor"] = self.floor
        if self.interpolation in _KNOWN and "augment.eval_interpolation" not in asked:
            changes["eval_interpolation"] = Interpolation[self.interpolation]
        return replace(augment, **changes)

    # timm

    def to_timm(self) -> tuple[dict[str, Any], list[str]]:
        """(entries of a ``pretrained_cfg``, what it cannot say)."""
        names = {"mean": self.mean, "std": self.std, "interpolation": self.interpolation, "crop_pct": self.crop_ratio}
        entries: dict[str, Any] = {"crop_mode": self.crop or "center"}
        entries |= {name: list(v) if isinstance(v, tuple) else v for name, v in names.items() if v is not None}
        same = self.fill is None or (self.mean is not None and _bytes(self.fill) == _bytes(self.mean))
        notes = [] if self.crop != "border" or same else ["borders: timm fills them with the mean"]
        if self.floor and self._halves():
            notes.append(
                "timm rounds half a pixel beside the centre crop to even, here it goes down: of some pictures it lies "
                "a pixel further down or right there"
            )
        notes += [_KERNELS] if self.floor and self.interpolation == "bicubic" else []
        if self.answers in ("sigmoid", "labels"):
            notes.append("timm cannot say that each class is a question of its own: its probabilities are the sigmoids")
        return entries, notes + self._span_note("timm")

    def _halves(self) -> bool:
        """Whether the centre of some pictures lies half a pixel beside their pixels."""
        if self.crop == "squash" and self.size is not None:
            whole = enlarged(self.size, self.crop_ratio or 1.0)
            return any((large - small) % 2 for large, small in zip(whole, self.size, strict=True))
        return self.crop in ("center", "border") and (self.crop == "center" or (self.crop_ratio or 1.0) < 1.0)

    # Hugging Face

    def to_hf(self, size: Size) -> tuple[dict[str, Any], list[str]]:
        """(``preprocessor_config.json`` for an input of ``size``, what it cannot say).

        Where no processor there does the same, resizing is left to the user rather than done in another way.
        """
        height, width = size
        facts: dict[str, Any] = {
            **{"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255},
            **{"do_normalize": self.mean is not None, "resample": _PILLOW.index(self.interpolation or "bilinear")},
        }
        if self.mean is not None and self.std is not None:
            facts.update(image_mean=list(self.mean), image_std=list(self.std))
        ratio = self.crop_ratio or 1.0
        rows, columns = enlarged(size, ratio)
        cropped = {"do_center_crop": True, "crop_size": {"height": height, "width": width}}
        kind, notes = "ViTImageProcessor", list[str]()
        if self.crop in (None, "center") and (self.crop or self.crop_ratio) and height == width:
            kind = "BitImageProcessor"
            facts.update(size={"shortest_edge": rows}, **cropped)
        elif self.crop == "squash" and ratio < 1.0:
            kind = "DeiTImageProcessor"
            facts.update(size={"height": rows, "width": columns}, **cropped)
        elif self.crop == "squash" or (self.crop is None and self.crop_ratio is None):
            facts["size"] = {"height": height, "width": width}
        else:
            kind = ""
            how = f"{self.crop or 'center'} at {height}x{width} (crop ratio {ratio:g})"
            facts.update(
                do_resize=False, size={"height": height, "width": width}, **{OWN: replace(self, size=size).plain()}
            )
            notes.append(
                f"no processor of Hugging Face does what this network was evaluated with, {how}: do_resize=false, give "
                f"it pictures of {height}x{width} made so"
            )
        if kind and not self.floor and self._halves():
            notes.append(
                "their processor rounds half a pixel beside the centre crop down, here it goes to even: of some "
                "pictures it lies a pixel further up or left there"
            )
        notes += [_KERNELS] if kind and not self.floor and self.interpolation == "bicubic" else []
        if self.answers == "sigmoid":
            notes.append(
                "Hugging Face cannot say that each class is a question of its own and yet one is true: its "
                "probabilities are the sigmoids"
            )
        notes += self._span_note("Hugging Face")
        return {"image_processor_type": kind or "ViTImageProcessor", **facts}, notes

    def _span_note(self, library: str) -> list[str]:
        if self.span is None:
            return []
        low, high = self.span
        return [f"pictures of more than 8 bits: here {low:g} to {high:g} become 0 to 255, which {library} cannot say"]


def answers_of(loss: LossKind, multilabel: bool) -> str:
    """What logits are that were trained with a loss."""
    return "labels" if multilabel else "sigmoid" if loss.independent else "softmax"


def enlarged(size: Size, ratio: float) -> Size:
    """(height, width) before the centre is taken; rounded down, as timm does."""
    return math.floor(size[0] / ratio), math.floor(size[1] / ratio)


def ratio_of(crop: int, edge: int) -> float:
    """The ratio of which ``enlarged`` makes ``edge`` out of ``crop`` again, whatever rounding does."""
    ratio = crop / edge
    while math.floor(crop / ratio) < edge:
        ratio = math.nextafter(ratio, 0.0)
    return ratio


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


def from_timm(cfg: Mapping[str, Any], complete: bool = True) -> Preprocessing:
    """Of a ``pretrained_cfg``, or of timm's arguments.

    Args:
        complete: what is missing is what timm takes there; else nothing tells it.
    """
    given = {name: value for name, value in cfg.items() if value not in (None, "")}  # timm's arguments: empty, not None
    if complete:
        given = {**_TIMM_DEFAULTS, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, **given}
    ratio, crop = given.get("crop_pct"), given.get("crop_mode")
    if crop is None and ratio is not None:
        crop = "center"
    how, notes = _interpolation(given.get("interpolation"))
    if crop is not None and crop not in ("center", "squash", "border"):
        notes.append(f"crop_mode={crop} is not known here: the configuration's is taken")
        crop = ratio = None
    size = given.get("input_size")
    found = Preprocessing(
        tuple(size[-2:]) if size else None, crop, ratio, how, numbers(given.get("mean")), numbers(given.get("std"))
    )
    return replace(found, notes=tuple(notes))


def from_hf(facts: Mapping[str, Any]) -> Preprocessing:
    """Of a ``preprocessor_config.json`` (also those of before 2023, whose sizes are plain numbers)."""
    kind = str(facts.get("image_processor_type") or facts.get("feature_extractor_type") or "ViT")
    family = next((name for name in _HF_DEFAULTS if kind.startswith(name)), "")
    usual = {**_HF_DEFAULTS.get(family, {})}
    facts = {**usual, **{name: value for name, value in facts.items() if value is not None}}
    scale = 255 * float(facts.get("rescale_factor", 1 / 255)) if facts.get("do_rescale", True) else 255.0
    mean, std = numbers(facts.get("image_mean")), numbers(facts.get("image_std"))
    if facts.get("do_normalize") is False:
        channels = len(mean or HALF)
        mean, std = (0.0,) * channels, (1.0,) * channels
    if not math.isclose(scale, 1.0):
        mean, std = (None if values is None else tuple(v / scale for v in values) for values in (mean, std))
    how, notes = _interpolation(facts.get("resample"))
    found = Preprocessing(None, None, None, how, mean, std)
    if not facts.get("do_resize", True) and isinstance(facts.get(OWN), Mapping):
        return from_plain(facts[OWN])
    if not facts.get("do_resize", True):
        notes.append("its processor does not resize: nothing tells how pictures come to their size")
        return replace(found, notes=tuple(notes))
    before, short = _hf_size(facts.get("size"), family)
    after = _hf_size(facts.get("crop_size"), "")[0] if facts.get("do_center_crop") else before
    if before is None or after is None or (short and not facts.get("do_center_crop")):
        notes.append(f"its processor resizes to {facts.get('size')} without a crop that is known: as configured here")
        return replace(found, notes=tuple(notes))
    ratio = min(ratio_of(crop, max(crop, edge)) for crop, edge in zip(after, before, strict=True))
    if enlarged(after, ratio) != tuple(max(sides) for sides in zip(after, before, strict=True)) or (
        any(crop > edge for crop, edge in zip(after, before, strict=True))
    ):
        notes.append(f"its processor cuts {after[0]}x{after[1]} out of {before[0]}x{before[1]}: as configured here")
        return replace(found, notes=tuple(notes))
    crop = "center" if short else "squash"
    return replace(found, size=after, crop=crop, crop_ratio=ratio, floor=True, notes=tuple(notes))


def from_open_clip(config: Mapping[str, Any]) -> Preprocessing:
    """Of an ``open_clip_config.json``."""
    facts = config.get("preprocess_cfg") or {}
    size = (config.get("model_cfg") or {}).get("vision_cfg", {}).get("image_size")
    how, notes = _interpolation(facts.get("interpolation", "bicubic"))
    mode = facts.get("resize_mode", "shortest")
    crop = {"shortest": "center", "squash": "squash", "longest": "border"}.get(mode)
    mean, std = numbers(facts.get("mean") or CLIP_MEAN), numbers(facts.get("std") or CLIP_STD)
    colour = facts.get("fill_color", 0)
    colours = list(colour) if isinstance(colour, list) else [colour] * len(mean or ())
    fill = tuple(float(value) / 255 for value in colours) if crop == "border" else None
    whole = (size, size) if isinstance(size, int) else tuple(size) if size else None
    return Preprocessing(whole, crop, 1.0 if crop else None, how, mean, std, fill, notes=tuple(notes))


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
    """A tuple of numbers; None where there are none."""
    if isinstance(values, int | float):
        return (float(values),)
    return tuple(float(value) for value in values) if isinstance(values, list | tuple) and values else None


def _interpolation(name: Any) -> tuple[str | None, list[str]]:
    """Pillow's number, or a word, as one of ours; and a note where the nearest one is taken."""
    if isinstance(name, int) and 0 <= name < len(_PILLOW):
        name = _PILLOW[name]
    if name in _KNOWN or name is None:
        return name, []
    nearest = "bicubic" if name == "lanczos" else "bilinear"
    return nearest, [f"its pictures are resized by {name}, here by {nearest}, which is near it"]


def _hf_size(size: Any, family: str) -> tuple[Size | None, bool]:
    """((height, width), whether it is the short side that is told)."""
    if isinstance(size, Mapping):
        if size.get("height") and size.get("width"):
            return (int(size["height"]), int(size["width"])), False
        short = size.get("shortest_edge") if not size.get("longest_edge") else None
        return ((int(short), int(short)), True) if short else (None, False)
    if isinstance(size, int):
        return (size, size), family in _HF_SHORT_SIDE
    if isinstance(size, list | tuple) and len(size) == 2:
        return (int(size[0]), int(size[1])), False
    return None, False


def _bytes(values: Sequence[float]) -> list[int]:
    return [round(255 * value) for value in values]
