"""Preprocessing as other libraries keep it, read and written.

timm keeps a ``pretrained_cfg``, Hugging Face a ``preprocessor_config.json``, OpenCLIP a ``preprocess_cfg``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vit.preprocessing import KERNELS, Preprocessing, Size, enlarged, from_plain, numbers

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

OWN = "vivid"  # key of ``Preprocessing.plain`` in files of other libraries that cannot say it themselves

_KERNELS = (
    "bicubic is Pillow's in timm and PyTorch's in transformers since 5: at hard edges pixels differ by some grey levels"
)
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


# timm


def to_timm(what: Preprocessing) -> tuple[dict[str, Any], list[str]]:
    """(entries of a ``pretrained_cfg``, what it cannot say)."""
    names = {"mean": what.mean, "std": what.std, "interpolation": what.interpolation, "crop_pct": what.crop_ratio}
    entries: dict[str, Any] = {"crop_mode": what.crop or "center"}
    entries |= {name: list(v) if isinstance(v, tuple) else v for name, v in names.items() if v is not None}
    same = what.fill is None or (what.mean is not None and _bytes(what.fill) == _bytes(what.mean))
    notes = [] if what.crop != "border" or same else ["borders: timm fills them with the mean"]
    if what.floor and _halves(what):
        notes.append(
            "timm rounds half a pixel beside the centre crop to even, here it goes down: of some pictures it lies "
            "a pixel further down or right there"
        )
    notes += [_KERNELS] if what.floor and what.interpolation == "bicubic" else []
    if what.answers in ("sigmoid", "labels"):
        notes.append("timm cannot say that each class is a question of its own: its probabilities are the sigmoids")
    return entries, notes + _span_note(what, "timm")


def _halves(what: Preprocessing) -> bool:
    """Whether the centre of some pictures lies half a pixel beside their pixels."""
    if what.crop == "squash" and what.size is not None:
        whole = enlarged(what.size, what.crop_ratio or 1.0)
        return any((large - small) % 2 for large, small in zip(whole, what.size, strict=True))
    return what.crop in ("center", "border") and (what.crop == "center" or (what.crop_ratio or 1.0) < 1.0)


# Hugging Face


def to_hf(what: Preprocessing, size: Size) -> tuple[dict[str, Any], list[str]]:
    """(``preprocessor_config.json`` for an input of ``size``, what it cannot say).

    Where no processor there does the same, resizing is left to the user rather than done in another way.
    """
    height, width = size
    facts: dict[str, Any] = {
        **{"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255},
        **{"do_normalize": what.mean is not None, "resample": _PILLOW.index(what.interpolation or "bilinear")},
    }
    if what.mean is not None and what.std is not None:
        facts.update(image_mean=list(what.mean), image_std=list(what.std))
    ratio = what.crop_ratio or 1.0
    rows, columns = enlarged(size, ratio)
    cropped = {"do_center_crop": True, "crop_size": {"height": height, "width": width}}
    kind, notes = "ViTImageProcessor", list[str]()
    if what.crop in (None, "center") and (what.crop or what.crop_ratio) and height == width:
        kind = "BitImageProcessor"
        facts.update(size={"shortest_edge": rows}, **cropped)
    elif what.crop == "squash" and ratio < 1.0:
        kind = "DeiTImageProcessor"
        facts.update(size={"height": rows, "width": columns}, **cropped)
    elif what.crop == "squash" or (what.crop is None and what.crop_ratio is None):
        facts["size"] = {"height": height, "width": width}
    else:
        kind = ""
        how = f"{what.crop or 'center'} at {height}x{width} (crop ratio {ratio:g})"
        facts.update(
            do_resize=False, size={"height": height, "width": width}, **{OWN: replace(what, size=size).plain()}
        )
        notes.append(
            f"no processor of Hugging Face does what this network was evaluated with, {how}: do_resize=false, give "
            f"it pictures of {height}x{width} made so"
        )
    if kind and not what.floor and _halves(what):
        notes.append(
            "their processor rounds half a pixel beside the centre crop down, here it goes to even: of some "
            "pictures it lies a pixel further up or left there"
        )
    notes += [_KERNELS] if kind and not what.floor and what.interpolation == "bicubic" else []
    if what.answers == "sigmoid":
        notes.append(
            "Hugging Face cannot say that each class is a question of its own and yet one is true: its "
            "probabilities are the sigmoids"
        )
    notes += _span_note(what, "Hugging Face")
    return {"image_processor_type": kind or "ViTImageProcessor", **facts}, notes


def _span_note(what: Preprocessing, library: str) -> list[str]:
    if what.span is None:
        return []
    low, high = what.span
    return [f"pictures of more than 8 bits: here {low:g} to {high:g} become 0 to 255, which {library} cannot say"]


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


def ratio_of(crop: int, edge: int) -> float:
    """The ratio of which ``enlarged`` makes ``edge`` out of ``crop`` again, whatever rounding does."""
    ratio = crop / edge
    while math.floor(crop / ratio) < edge:
        ratio = math.nextafter(ratio, 0.0)
    return ratio


def _interpolation(name: Any) -> tuple[str | None, list[str]]:
    """Pillow's number, or a word, as one of ours; and a note where the nearest one is taken."""
    if isinstance(name, int) and 0 <= name < len(_PILLOW):
        name = _PILLOW[name]
    if name in KERNELS or name is None:
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
