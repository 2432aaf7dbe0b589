"""Checks of a segmentation's configuration across its fields, before anything is built. Loads no torch."""

from __future__ import annotations

from trainer.config.schema import show
from trainer.data.labels.label_map import parse_label_map
from trainer.errors import ConfigError
from trainer.validate import at_least, each_once, existing, run_problems
from vit.config import Fit, HeadPolicy, Pool
from vit.segmentation.config import (
    PHASES,
    Decoder,
    InferenceConfig,
    Layout,
    MaskAugment,
    MaskKind,
    MasksConfig,
    SegmentationConfig,
    SegmentationLoss,
    SetrConfig,
)
from vit.validate import model_problems, size_problems, weights_problems

NO_HEAD = {
    "num_classes": None,
    "representation": 0,
    "probe_norm": False,
    "head_bias": None,
    "head_std": None,
    "distilled": False,
    "patch_dropout": 0.0,
    "frames": 1,
    "head": HeadPolicy.keep,
}  # keys of a classifier that a segmentation has no place for, and their defaults


def problems(config: SegmentationConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    found = run_problems(config, PHASES)
    found += _model_problems(config.model)
    found += size_problems(config, "pad|resize")
    found += weights_problems(config.model)
    found += data_problems(config.data)
    found += _augment_problems(config.augment)
    found += inference_problems(config.inference)
    found += _loss_problems(config.loss)
    return found


def _model_problems(model: SetrConfig) -> list[str]:
    if model.name is not None:
        return [f"model.name={model.name}: a segmentation is on a plain ViT: model.weights=timm:{model.name} takes its"]
    found = model_problems(model)
    if model.pool is not Pool.none:
        found.append(f"model.pool={show(model.pool)}: a decoder reads every patch: leave it out (none)")
    for name, default in NO_HEAD.items():
        value = getattr(model, name)
        if value != default:
            remedy = "give data.num_classes" if name == "num_classes" else "leave it out"
            found.append(f"model.{name}={show(value)} is for a classifier: {remedy}")
    if model.fit is Fit.crop:
        found.append("model.fit=crop leaves pixels at the border without a class: use pad or resize")
    found += at_least("model.decoder_width", model.decoder_width, 2 if model.decoder is Decoder.mla else 1)
    found += each_once("model.auxiliary", model.auxiliary)
    if model.frozen and model.weights is None:
        found.append("model.frozen=true keeps a ViT that learnt nothing: give model.weights=PATH|timm:NAME as well")
    if model.auxiliary and model.frozen:
        found.append("model.auxiliary trains the blocks of the ViT, which model.frozen=true keeps: leave one out")
    return found


def data_problems(data: MasksConfig) -> list[str]:
    """What is wrong with the keys of the data, or with their places."""
    found = at_least("data.workers", data.workers, 0)
    for name in ("num_classes", "short_side", "street_samples", "street_val_samples"):
        found += at_least(f"data.{name}", getattr(data, name), 1)
    if data.range is not None and (len(data.range) != 2 or data.range[0] >= data.range[1]):
        found.append(f"data.range={show(data.range)}: two numbers, what becomes 0 and what 255, like [0,4095]")
    for name in ("mean", "std"):
        value = getattr(data, name)
        if value is not None and (len(value) not in (1, 3) or (name == "std" and min(value) <= 0)):
            found.append(f"data.{name}={show(value)}: one number, or one per channel (3), on 0..1, std above 0")
    if not 0.0 < data.val_share < 1.0:
        found.append(f"data.val_share={data.val_share}: must lie between 0 and 1, like 0.1; or give data.val_root")
    if data.label_map is not None:
        try:
            parse_label_map(data.label_map)
        except ConfigError as error:
            found += error.problems
    if data.kind is MaskKind.masks:
        found += existing("data.root", data.root, "data=masks reads files; give data.root=PATH")
        found += existing("data.val_root", data.val_root)
    found += each_once("data.classes", data.classes)
    if data.layout is Layout.voc and data.mask_suffix:
        found.append(f"data.mask_suffix={data.mask_suffix}: data.layout=voc lists its names; leave it out")
    return found


def _augment_problems(augment: MaskAugment) -> list[str]:
    found = at_least("augment.color_jitter", augment.color_jitter, 0.0)
    if len(augment.scale) != 2 or not 0.0 < augment.scale[0] <= augment.scale[1]:
        found.append(f"augment.scale={show(augment.scale)}: needs [least, most], like [0.5,2.0]; [1,1] keeps the size")
    if not 0.0 <= augment.flip <= 1.0:
        found.append(f"augment.flip={augment.flip}: a probability, between 0 and 1")
    if not 0.0 < augment.largest_class <= 1.0:
        found.append(f"augment.largest_class={augment.largest_class}: a share above 0 and at most 1, like 0.75")
    return found


def inference_problems(inference: InferenceConfig) -> list[str]:
    """What is wrong with how pictures are seen."""
    if 0.0 < inference.stride <= 1.0:
        return []
    return [f"inference.stride={inference.stride}: a share of the window above 0 and at most 1, like 0.6667"]


def _loss_problems(loss: SegmentationLoss) -> list[str]:
    found = at_least("loss.dice", loss.dice, 0.0) + at_least("loss.auxiliary", loss.auxiliary, 0.0)
    wrong = [name for name, value in loss.class_weights.items() if value < 0]
    return [*found, *([f"loss.class_weights: {', '.join(wrong)} must not be negative"] if wrong else [])]
