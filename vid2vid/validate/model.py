"""Checks of the settings of the networks and their labels (`model.*`). Loads no torch."""

from __future__ import annotations

from math import gcd

from trainer.config.schema import show
from trainer.validate import at_least, each_once, existing
from vid2vid.config import (
    DINO,
    Block,
    FirstFrame,
    ForegroundKind,
    ModelConfig,
    Norm,
    PerceptualKind,
    Region,
    SourceKind,
)
from vid2vid.validate.discriminators import image_discriminator_problems, penalty_problems
from vid2vid.validate.multiples import nearest_multiples
from vid2vid.widths import block_channels, width_divisor

LABEL_IDS = 1 << 16  # label maps have at most 16 bits


def model_problems(model: ModelConfig) -> list[str]:
    """One line for each setting of the networks and losses that cannot be: key, value, remedy."""
    found = []
    lowest = {
        "num_labels": 1, "source_channels": 1, "past_frames": 0, "ngf": 1, "downsamplings": 1, "blocks": 1,
        "local_blocks": 1, "scales": 1, "backprop_frames": 1, "ndf": 1, "discriminator_scales": 1,
        "discriminator_layers": 1, "video_discriminator_frames": 2, "temporal_scales": 1,
        "style_channels": 0, "nef": 1, "style_downsamplings": 1, "penalty_every": 1, "group_width": 1,
    }  # fmt: skip
    for name, value in lowest.items():
        found += at_least(f"model.{name}", getattr(model, name), value)
    for name in (name for name in vars(model) if name.startswith("lambda_")):
        if getattr(model, name) is not None:
            found += at_least(f"model.{name}", getattr(model, name), 0.0)
    for name in ("feedback_noise", "r1_gamma", "r2_gamma", "label_mix"):
        found += at_least(f"model.{name}", getattr(model, name), 0.0)
    if model.feedback_noise > 0 and model.past_frames < 1:
        found.append(
            f"model.feedback_noise={model.feedback_noise:g}, but with model.past_frames={model.past_frames} no "
            "frame is fed back: set model.feedback_noise=0"
        )
    if model.diff_augment and not (model.image_discriminator or model.video_discriminator or model.regions):
        found.append(
            f"model.diff_augment={show(model.diff_augment)} is of what discriminators see, and there is none: "
            "set model.diff_augment=[]"
        )
    found += each_once("model.diff_augment", model.diff_augment)
    found += image_discriminator_problems(model) + penalty_problems(model)
    found += _region_problems(model)
    found += at_least("model.flow_multiplier", model.flow_multiplier, 0.0, exclusive=True)
    if model.past_frames < 1 and model.flow:
        found.append(
            f"model.past_frames={model.past_frames}, but model.flow=true warps the frame before: "
            "set model.flow=false, or model.past_frames=2"
        )
    if model.past_frames < 1 and model.first_frame is not FirstFrame.model:
        found.append(
            f"model.first_frame={show(model.first_frame)} needs past frames; with model.past_frames=0 use model"
        )
    divisor = width_divisor(model)
    if model.ngf % divisor:
        found.append(
            f"model.ngf={model.ngf}: must be a multiple of {divisor} with model.scales={model.scales} and "
            f"model.foreground={show(model.foreground)}; nearest: {nearest_multiples(model.ngf, divisor)}"
        )
    found += _block_problems(model)
    found += _perceptual_problems(model)
    found += existing("model.weights", model.weights)
    found += _teacher_problems(model)
    return found


def _teacher_problems(model: ModelConfig) -> list[str]:
    found = existing("model.teacher", model.teacher)
    if model.teacher is None:
        return found
    if model.style_channels > 0:
        found.append(
            f"model.style_channels={model.style_channels}: a student has no styles: set model.style_channels=0"
        )
    if model.checkpointing and model.lambda_teacher_features > 0:
        found.append(
            "model.checkpointing=true drops the features that model.lambda_teacher_features="
            f"{model.lambda_teacher_features:g} compares: set one of them to false or 0"
        )
    return found


def _perceptual_problems(model: ModelConfig) -> list[str]:
    kind, weights = model.loss_perceptual, model.perceptual_weights
    found = existing("model.perceptual_weights", weights, allowed=("torchvision",))
    if kind is not PerceptualKind.dino:
        found += [
            f"model.{key}={show(getattr(model, key))} is read with model.loss_perceptual=dino only: set that, or null"
            for key in ("perceptual_backbone", "perceptual_layers")
            if getattr(model, key) is not None
        ]
    elif model.lambda_perceptual > 0 and weights in (None, "torchvision"):
        found.append(
            f"model.perceptual_weights={show(weights)}: model.loss_perceptual=dino needs a file or folder with "
            f"the weights of {model.perceptual_backbone or DINO} as timm keeps them, or a run of a classifier; nothing "
            "is downloaded. model.loss_perceptual=none trains without"
        )
    if model.perceptual_layers is not None:
        found += each_once("model.perceptual_layers", model.perceptual_layers)
        if not model.perceptual_layers:
            found.append("model.perceptual_layers=[]: needs at least one layer; null means four, evenly spaced")
    return found


def _block_problems(model: ModelConfig) -> list[str]:
    found = []
    if model.zero_init and model.norm is Norm.instance_plain:
        found.append(
            "model.zero_init=true, but with model.norm=instance_plain no norm has a scale that could begin at "
            "zero, and what is before one comes out at full size: set model.norm=instance, or model.zero_init=false"
        )
    width, channels = model.group_width, block_channels(model)
    common = gcd(*channels)
    if model.block is Block.grouped and width > 0 and common and common % width:
        best = max(size for size in range(1, width + 1) if common % size == 0)
        remedy = f"set model.group_width={best}" if best > 1 else "set model.block=depthwise, or another model.ngf"
        found.append(
            f"model.group_width={width} does not divide the {' and '.join(map(str, channels))} channels of the "
            f"residual blocks (model.ngf={model.ngf}, model.scales={model.scales}): {remedy}"
        )
    if model.block is Block.grouped and width == 1:
        found.append("model.group_width=1: groups of one channel are model.block=depthwise; set that")
    return found


def _region_problems(model: ModelConfig) -> list[str]:
    chosen, ids = model.regions, model.region_labels
    found = each_once("model.regions", chosen) + each_once("model.region_labels", ids)
    if Region.labels in chosen and model.source is SourceKind.image:
        found.append(
            f"model.regions={show(chosen)}: labels needs label maps, but model.source=image has none: "
            "leave labels out, or use face and hands, whose boxes come with landmarks"
        )
    elif Region.labels in chosen and not ids:
        found.append(
            f"model.regions={show(chosen)}: model.region_labels=[] names no class; give the ids that each are a "
            "region, for example model.region_labels=[24,26]"
        )
    if Region.labels in chosen:
        found += _unknown("model.region_labels", ids, model, "name classes of the model")
    if ids and Region.labels not in chosen:
        found.append(f"model.region_labels={show(ids)} is read with model.regions=[labels] only: set that, or []")
    return found


def label_problems(model: ModelConfig) -> list[str]:
    """The same of the label ids that have a channel, and of the foreground's."""
    found = []
    if model.source is SourceKind.image:
        if model.foreground is not ForegroundKind.off:
            found.append(
                f"model.foreground={show(model.foreground)} needs label maps, but model.source=image has none: "
                "set model.foreground=off"
            )
        if model.style_channels > 0:
            found.append(
                f"model.style_channels={model.style_channels} needs label maps, but model.source=image has none: "
                "set model.style_channels=0"
            )
        return found
    ids = model.label_ids
    if ids is not None:
        if not ids:
            found.append("model.label_ids=[]: needs at least one id; null means 0..num_labels-1")
        found += each_once("model.label_ids", ids)
        wrong = [label for label in ids if not 0 <= label < LABEL_IDS]
        if wrong:
            found.append(f"model.label_ids has {show(wrong)}: label ids lie in 0..{LABEL_IDS - 1}")
    if model.foreground is not ForegroundKind.off:
        found += _foreground_problems(model)
    return found


def _foreground_problems(model: ModelConfig) -> list[str]:
    chosen = model.foreground_labels
    found = each_once("model.foreground_labels", chosen)
    if not chosen:
        return ["model.foreground_labels=[]: no class is named; name classes of yours, or set model.foreground=off"]
    if model.label_ids is not None and not set(chosen) & set(model.label_ids):
        return [
            f"model.foreground_labels={show(chosen)} has no id of model.label_ids={show(model.label_ids)}: "
            "name one, or set model.foreground=off"
        ]
    if model.label_ids is not None and chosen == ModelConfig().foreground_labels:
        return found  # of the default list some may be in use
    remedy = "name classes of the model, or set model.foreground=off"
    return found + _unknown("model.foreground_labels", chosen, model, remedy)


def _unknown(key: str, ids: list[int], model: ModelConfig, remedy: str) -> list[str]:
    """A problem when some of the ids are no classes of the model."""
    known = range(model.num_labels) if model.label_ids is None else model.label_ids
    unknown = [label for label in ids if label not in known]
    where = f"0..{model.num_labels - 1} (model.num_labels={model.num_labels})"
    where = where if model.label_ids is None else f"model.label_ids={show(model.label_ids)}"
    return [f"{key}={show(ids)}: {show(unknown)} is not in {where}; {remedy}"] if unknown else []
