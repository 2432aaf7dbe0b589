"""Checks of a classification configuration across its fields, before anything is built. Loads no torch."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.config.fields import DeviceKind, RunConfig
from trainer.config.schema import show
from trainer.data.remote.address import is_address, not_at_address
from trainer.errors import ConfigError
from trainer.schedule.stage_table import stage_size
from trainer.validate import at_least, existing, remote_problems, run_problems
from vit.config import (
    PHASES,
    AugmentConfig,
    CropKind,
    DataConfig,
    DataKind,
    Decode,
    Distill,
    DropPathShape,
    Fit,
    Interpolation,
    LossConfig,
    LossKind,
    ModelConfig,
    Pool,
    PosEmbed,
    SpaceTime,
    VitConfig,
)
from vit.data.augment.policy_names import problem as policy_problem
from vit.model.architecture import pictures_alone
from vit.model.options import OPTIONS
from vit.model.variants import VARIANTS, parse_variant

TIMM = re.compile(r"timm:[\w.\-/]+")


def problems(config: VitConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    found = run_problems(config, PHASES)
    if config.model.name is None:
        found += model_problems(config.model)
        if config.model.pool is Pool.none:
            found.append("model.pool=none gives a vector per token and no prediction: use cls, gap, cls_gap or map")
        found += size_problems(config)
    found += weights_problems(config.model)
    found += picture_problems(config)
    found += _clip_problems(config)
    found += _loss_problems(config.loss, config.data)
    found += _distill_problems(config)
    return found


def picture_problems(config: VitConfig) -> list[str]:
    """What is wrong with ``data`` and ``augment``, which every task on pictures reads."""
    return [*_data_problems(config.data), *_augment_problems(config.augment), *_decoding_problems(config)]


def model_problems(model: ModelConfig) -> list[str]:
    """What is wrong with a plain ViT's keys, whatever it is for."""
    try:
        variant, patch = parse_variant(model.variant, model.patch)
    except ConfigError as error:
        return error.problems
    found = at_least("model.patch", patch, 1)
    for name in ("width", "depth", "mlp", "heads", "num_classes", "in_channels"):
        found += at_least(f"model.{name}", getattr(model, name), 1)
    found += at_least("model.head_std", model.head_std, 0.0)
    for option in OPTIONS:
        if option.least is not None:
            found += at_least(f"model.{option.name}", getattr(model, option.name), option.least)
    for name in ("drop_path", "dropout", "attention_dropout", "patch_dropout"):
        value = getattr(model, name)
        if not 0.0 <= value < 1.0:
            found.append(f"model.{name}={value}: a probability, at least 0 and below 1")
    found += at_least("model.layer_scale", model.layer_scale, 0.0, exclusive=True)
    found += at_least("model.norm_eps", model.norm_eps, 0.0, exclusive=True)
    width = model.width or VARIANTS[variant].width
    heads = model.heads or VARIANTS[variant].heads
    if width > 0 and heads > 0 and width % heads:
        near = [h for h in range(1, width + 1) if width % h == 0]
        near.sort(key=lambda h: abs(h - heads))
        found.append(f"model.heads={heads} does not divide the width {width}; nearest: {near[0]} or {near[1]}")
    if model.pos_embed in (PosEmbed.sincos2d, PosEmbed.sincos2d_mae) and width % 4:
        found.append(f"model.pos_embed={show(model.pos_embed)} needs a width divisible by 4, not {width}")
    if model.pool_first and model.pool is not Pool.gap:
        found.append(f"model.pool_first=true goes with model.pool=gap, not {show(model.pool)}")
    if model.distilled and model.pool is not Pool.cls:
        found.append(f"model.distilled=true needs model.pool=cls, not {show(model.pool)}")
    if model.distilled and model.representation:
        found.append("model.distilled=true has two linear heads: set model.representation=0")
    if (
        model.drop_path
        and model.drop_path_shape is DropPathShape.ramp
        and (model.depth or VARIANTS[variant].depth) == 1
    ):
        found.append(
            f"model.drop_path={model.drop_path} with one block and drop_path_shape=ramp drops nothing: use constant"
        )
    return found


def size_problems(config: RunConfig, fits: str = "pad|crop|resize") -> list[str]:
    """The patch against every resolution of the run.

    Args:
        fits: values of ``model.fit`` that are a remedy.
    """
    model, found = config.model, []
    try:
        _, patch = parse_variant(model.variant, model.patch)
    except ConfigError:
        return []
    sizes = {"resolution": list(config.resolution)}
    for name, row in config.curriculum.stages.items():
        if row.resolution is not None:
            sizes[f"curriculum.stages.{name}.resolution"] = list(row.resolution)
        elif row.downscale > 1 and all(side % row.downscale == 0 for side in config.resolution):
            sizes[f"curriculum.stages.{name}.downscale={row.downscale}, so"] = list(stage_size(config, row))
    if patch < 1:
        return []
    for key, size in sizes.items():
        if len(size) != 2 or min(size) < 1:
            continue  # said by others
        if min(size) < patch:
            found.append(f"{key}={show(size)} is smaller than a patch (model.patch={patch}): make it larger")
        elif model.fit is Fit.error and any(side % patch for side in size):
            below = [max(side // patch, 1) * patch for side in size]
            above = [-(-side // patch) * patch for side in size]
            found.append(
                f"{key}={show(size)}: patches of {patch} pixels (model.patch) do not divide it; nearest: "
                f"{show(below)} or {show(above)}, or model.fit={fits}"
            )
    return found


def weights_problems(model: ModelConfig) -> list[str]:
    """What is wrong with where weights come from and how channels are mapped."""
    found = []
    if model.weights is not None:
        found += checkpoint_problems("model.weights", model.weights)
    wrong = [c for c in model.channel_map if c is not None and c < 0]
    if wrong:
        found.append(f"model.channel_map has {show(wrong)}: give channels of the weights from 0 on, or null")
    if model.channel_map and model.in_channels not in (None, len(model.channel_map)):
        found.append(
            f"model.channel_map has {len(model.channel_map)} entries, but model.in_channels={model.in_channels}: "
            "one entry per channel of the new pictures"
        )
    return found


def checkpoint_problems(key: str, value: str) -> list[str]:
    """A problem when weights are neither a path that exists nor ``timm:NAME``."""
    if value.startswith("timm:"):
        return [] if TIMM.fullmatch(value) else [f"{key}={value}: needs a name, like timm:vit_base_patch16_224"]
    if Path(value).expanduser().exists():
        return []
    if is_address(value):
        return [not_at_address(key, value)]
    return [f"{key}={value}: there is no such file or folder, seen from {Path.cwd()}; or give timm:NAME"]


def _data_problems(data: DataConfig) -> list[str]:
    found = at_least("data.workers", data.workers, 0) + at_least("data.repeats", data.repeats, 1)
    found += at_least("data.train_seed", data.train_seed, 0)
    for name in ("train_samples", "cache_size", "shapes_samples", "shapes_val_samples"):
        found += at_least(f"data.{name}", getattr(data, name), 1)
    if data.channels not in (None, 1, 3, 4):
        found.append(f"data.channels={data.channels}: pictures are read as 1 (grey), 3 (RGB) or 4 (RGBA)")
    if data.range is not None and (len(data.range) != 2 or data.range[0] >= data.range[1]):
        found.append(f"data.range={show(data.range)}: two numbers, what becomes 0 and what 255, like [0,4095]")
    label = data.csv_label if isinstance(data.csv_label, list) else [data.csv_label]
    if not label or not all(isinstance(name, str | int) for name in label):
        found.append(f"data.csv_label={show(data.csv_label)}: a column's name, or several, like [cat,dog,bird]")
    if data.csv_delimiter is not None and len(data.csv_delimiter) != 1 and data.csv_delimiter not in ("tab", "\\t"):
        found.append(f"data.csv_delimiter={data.csv_delimiter}: one character, like ; or the word tab")
    if not 0.0 < data.val_share < 1.0:
        found.append(
            f"data.val_share={data.val_share}: must lie between 0 and 1, for example 0.1; or give data.val_root"
        )
    for name in ("mean", "std"):
        value = getattr(data, name)
        if value is not None and (not value or (name == "std" and min(value) <= 0)):
            found.append(f"data.{name}={show(value)}: one number per channel on a scale of 0..1, std above 0")
    if data.mean and data.std and len(data.mean) != len(data.std):
        found.append(f"data.mean has {len(data.mean)} numbers and data.std {len(data.std)}: one per channel each")
    if len(set(data.motions)) < max(2, len(data.motions)):
        names = ",".join(motion.value for motion in data.motions)
        found.append(f"data.motions=[{names}]: the classes; two or more, each once")
    if not 0.0 <= data.shapes_texture_contrast <= 2.8:
        found.append(f"data.shapes_texture_contrast={data.shapes_texture_contrast}: a factor, between 0 and 2.8")
    if not 0.0 <= data.shapes_texture_bias <= 1.0:
        found.append(f"data.shapes_texture_bias={data.shapes_texture_bias}: a probability, between 0 and 1")
    if not data.kind.built_in:
        fetch = " (data.download=true fetches it there)" if data.kind.fetched else ""
        needed = f"data={show(data.kind)} reads files; give data.root=PATH{fetch}"
        for name in ("root", "val_root", "test_root"):
            value = getattr(data, name)
            fetched = data.download and value is not None  # the download makes the folder
            only_evaluated = value is None and data.val_root is not None
            if name == "root" and (fetched or only_evaluated):
                continue
            if value is not None and data.kind is DataKind.webdataset and set("{*?[") & set(value):
                continue  # a pattern of shards
            far = data.kind.far
            found += existing(f"data.{name}", value, needed if name == "root" else "", addresses=far)
    found += remote_problems(data.remote)
    found += existing("data.class_map", data.class_map, addresses=True)
    if data.multilabel and not data.kind.tables:
        found.append(f"data.multilabel=true is for data=csv and data=hf, not {show(data.kind)}")
    return found


def _decoding_problems(config: VitConfig) -> list[str]:
    """What `data.decode=gpu` does not go with."""
    data, augment = config.data, config.augment
    if data.decode is not Decode.gpu:
        return []
    if data.kind.in_memory:
        return [f"data.decode=gpu decodes JPEG files, and data={show(data.kind)} has none: set data.decode=cpu"]
    found, otherwise = [], ", or data.decode=cpu"
    if config.trainer.device is DeviceKind.cpu:
        found.append("data.decode=gpu needs a CUDA device, but trainer.device=cpu: set data.decode=cpu")
    if data.cache:
        found.append(f"data.decode=gpu reads files, data.cache=true decoded pictures: set data.cache=false{otherwise}")
    if data.channels == 4:
        found.append(f"data.decode=gpu gives 1 or 3 channels, not data.channels=4: set data.channels=3{otherwise}")
    if augment.crop not in (CropKind.inception, CropKind.resize):
        found.append(
            f"augment.crop={show(augment.crop)} is done on the CPU, which data.decode=gpu leaves out: set "
            f"augment.crop=inception or resize{otherwise}"
        )
    for key, value in (("auto", augment.auto), ("color_jitter", augment.color_jitter)):
        if value:
            none = "null" if key == "auto" else "0"
            found.append(
                f"augment.{key}={show(value)} is done on the CPU, which data.decode=gpu leaves out: set "
                f"augment.{key}={none}{otherwise}"
            )
    return found


def sampling_problems(data: DataConfig) -> list[str]:
    """What is wrong with which frames of clips are looked at."""
    return [*at_least("data.clip_stride", data.clip_stride, 1), *at_least("data.clip_views", data.clip_views, 1)]


def _clip_problems(config: VitConfig) -> list[str]:
    """What networks of clips and their data do not go with."""
    model, data, found = config.model, config.data, list[str]()
    frames = f"model.frames={model.frames}"
    found += sampling_problems(data)
    if model.frames > 1:
        if model.name is not None:
            found.append(f"{frames} is of our ViTs, and model.name={model.name} sees pictures: leave one of them out")
        if model.tubelet > 0 and model.frames % model.tubelet:
            near = max(model.tubelet, model.frames // model.tubelet * model.tubelet)
            found.append(f"{frames}: model.tubelet={model.tubelet} does not divide it; try model.frames={near}")
        if model.temporal_depth != ModelConfig.temporal_depth and model.space_time is not SpaceTime.factorised_encoder:
            found.append(
                f"model.temporal_depth={model.temporal_depth} is of model.space_time=factorised_encoder, not "
                f"{show(model.space_time)}: leave one of them out"
            )
        found += [f"{words}: networks of clips ({frames}) have none; leave it out" for words in pictures_alone(model)]
        if config.distill.mode is not Distill.none:
            found.append(f"{frames}: a teacher sees pictures; set distill.mode=none")
    elif data.clip_views > 1:
        found.append(f"data.clip_views={data.clip_views} is for networks of clips: set model.frames above 1")
    for name in ("clip_list", "clip_val_list"):
        found += existing(f"data.{name}", getattr(data, name))
        if getattr(data, name) is not None and data.kind is not DataKind.clips:
            found.append(f"data.{name} is for data=clips, not {show(data.kind)}")
    if data.clip_val_list is not None and data.clip_list is None:
        found.append("data.clip_val_list needs data.clip_list, the list of training")
    if model.frames > 1 or data.kind.moving:
        if data.cache:
            found.append("data.cache=true keeps pictures, and clips are decoded anew: set data.cache=false")
        if data.decode is Decode.gpu:
            found.append("data.decode=gpu decodes JPEG files, not clips: set data.decode=cpu")
    return found


def _augment_problems(augment: AugmentConfig) -> list[str]:
    found = []
    for name in ("flip", "erasing", "mix_probability", "mix_switch"):
        value = getattr(augment, name)
        if not 0.0 <= value <= 1.0:
            found.append(f"augment.{name}={value}: a probability, between 0 and 1")
    for name in ("mixup", "cutmix", "color_jitter"):
        found += at_least(f"augment.{name}", getattr(augment, name), 0.0)
    found += at_least("augment.pad", augment.pad, 0)
    if len(augment.scale) != 2 or not 0.0 < augment.scale[0] <= augment.scale[1] <= 1.0:
        found.append(f"augment.scale={show(augment.scale)}: needs [least, most] share of the area, like [0.08,1.0]")
    if len(augment.ratio) != 2 or not 0.0 < augment.ratio[0] <= augment.ratio[1]:
        found.append(f"augment.ratio={show(augment.ratio)}: needs [least, most] width to height, like [0.75,1.3333]")
    if not 0.0 < augment.eval_crop_ratio <= 1.0:
        found.append(f"augment.eval_crop_ratio={augment.eval_crop_ratio}: must be above 0 and at most 1, like 0.875")
    if not augment.eval_fill or not all(0.0 <= value <= 1.0 for value in augment.eval_fill):
        found.append(f"augment.eval_fill={show(augment.eval_fill)}: one number, or one per channel, from 0 to 1")
    if augment.eval_interpolation is Interpolation.random:
        found.append("augment.eval_interpolation=random: evaluation draws nothing; use bilinear or bicubic")
    if augment.auto is not None:
        wrong = policy_problem(augment.auto)
        found += [f"augment.auto={augment.auto}: {wrong}"] if wrong else []
    return found


def labelled_alone(augment: AugmentConfig, reason: str) -> list[str]:
    """A problem for each augmentation on the device that only a task with labels has, with the reason of another."""
    given = (name for name in ("mixup", "cutmix", "erasing") if getattr(augment, name))
    return [f"augment.{name}={show(getattr(augment, name))} {reason}: set it to 0" for name in given]


def _loss_problems(loss: LossConfig, data: DataConfig) -> list[str]:
    found = at_least("loss.gamma", loss.gamma, 0.0)
    if not 0.0 <= loss.smoothing < 1.0:
        found.append(f"loss.smoothing={loss.smoothing}: must be at least 0 and below 1, like 0.1")
    if data.multilabel and not loss.kind.several_labels:
        found.append(
            f"loss.kind={show(loss.kind)} has one class per picture, but data.multilabel=true: use "
            f"{LossKind.for_several_labels()}"
        )
    wrong = [name for name, value in loss.class_weight_values.items() if value < 0]
    if wrong:
        found.append(f"loss.class_weight_values: {', '.join(wrong)} must not be negative")
    return found


def _distill_problems(config: VitConfig) -> list[str]:
    distill, found = config.distill, []
    if distill.mode is Distill.none:
        if distill.teacher is not None:
            found.append("distill.teacher is given, but distill.mode=none: set distill.mode=hard or soft")
        return found
    if distill.teacher is None:
        found.append(f"distill.mode={show(distill.mode)} needs distill.teacher: a run, a checkpoint or timm:NAME")
    else:
        found += checkpoint_problems("distill.teacher", distill.teacher)
    found += existing("distill.class_map", distill.class_map)
    if not 0.0 <= distill.alpha <= 1.0:
        found.append(f"distill.alpha={distill.alpha}: a share, between 0 and 1")
    found += at_least("distill.temperature", distill.temperature, 0.0, exclusive=True)
    if config.data.multilabel:
        found.append("distill.mode works on one class per picture: set data.multilabel=false or distill.mode=none")
    return found
