"""Any classifier of timm as a network of this package: built, and filled with weights.

timm is imported where it is used, for it takes a second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trainer.config.suggestions import did_you_mean
from trainer.errors import CheckpointError, ConfigError
from vit.config import ModelConfig
from vit.model.timm_model import TimmClassifier
from vit.preprocessing import Preprocessing, numbers
from vit.weights.load import LoadReport, grouped
from vit.weights.preprocessors import from_timm
from vit.weights.timm_models.files import TIMM, read_state, rows
from vit.weights.timm_models.filling import filled
from vit.weights.timm_models.hub import pretrained, settings

Size = tuple[int, int]


def build_timm(
    config: ModelConfig, num_classes: int, in_channels: int, image_size: Size, sizes: Sequence[Size] = ()
) -> tuple[TimmClassifier, LoadReport | None]:
    """A timm classifier, with ``config.weights`` in it where given, built as these say and ``name_options``.

    Args:
        config: ``name``, ``name_options``, ``weights``, ``head``, ``channel_adapt`` and ``channel_map`` are read.
        num_classes, in_channels: of the data.
        image_size: (height, width) in pixels; handed to models that fix it.
        sizes: further sizes that it must take.

    Raises:
        ConfigError: timm has no such model, or it takes neither the options nor the sizes.
        CheckpointError: the weights cannot be had or do not fit.
    """
    name = str(config.name)
    given = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in config.name_options.items()}
    _check_name(name)
    generator = torch.get_rng_state()
    file = None if config.weights is None else read_state(config.weights, name, given)
    options = {**(file.options if file else {}), **given}
    create = _creator(name, options, num_classes, in_channels, image_size)
    torch.set_rng_state(generator)  # whatever reading drew
    net, report = create(), None
    if file is not None:
        fresh = {key: value.clone() for key, value in net.state_dict().items()}
        torch.set_rng_state(generator)  # the same initial values again: what still has them was not loaded
        net, report = filled(create, fresh, net, file, config, num_classes, in_channels)
    for size in {image_size, *sizes}:
        _try(net, name, (1, in_channels, *size))
    return TimmClassifier(net, options), report


def _check_name(name: str) -> None:
    import timm

    if not timm.is_model(name):
        names = timm.list_models()
        hint = did_you_mean(name.split(".")[0], names) or "; timm.list_models() names them"
        raise ConfigError(f"model.name={name}: timm {timm.__version__} has no such model{hint}")


def _creator(
    name: str, options: Mapping[str, Any], num_classes: int, in_channels: int, image_size: Size
) -> Callable[..., nn.Module]:
    """``create(**more)`` makes the model."""
    import timm

    def create(**more: Any) -> nn.Module:
        common = {"num_classes": num_classes, "in_chans": in_channels, **options, **more}
        try:
            with suppress(_NoImageSize):
                return _sized(timm.create_model, name, image_size, common)
            return timm.create_model(name, **common)
        except TypeError as error:
            raise ConfigError(
                f"model.name_options={dict(options)}: {name} does not take them ({error}); see timm.create_model"
            ) from error
        except (AssertionError, ValueError) as error:
            raise ConfigError(
                f"model.name={name} cannot be built for {in_channels} channels of {image_size[0]}x{image_size[1]} "
                f"pixels: {error}"
            ) from error

    return create


class _NoImageSize(Exception):
    """The model takes pictures of any size."""


def _sized(make: Any, name: str, image_size: Size, common: Mapping[str, Any]) -> nn.Module:
    try:
        return make(name, img_size=image_size, **common)
    except TypeError as error:
        if "img_size" in str(error):
            raise _NoImageSize from None
        raise


def _try(net: nn.Module, name: str, shape: Sequence[int]) -> None:
    """One forward pass of shapes alone, so that a size that does not fit is found before the data are read."""
    from timm.layers.patch_embed import PatchEmbed
    from torch._subclasses.fake_tensor import FakeTensorMode

    embed = getattr(net, "patch_embed", None)
    if isinstance(embed, PatchEmbed) and not embed.dynamic_img_pad:  # built for it, it would cut the rest off unsaid
        patch = int(embed.patch_size[0])
        if any(side % patch for side in shape[2:]):
            near = [max(patch, round(side / patch) * patch) for side in shape[2:]]
            raise ConfigError(
                f"resolution=[{shape[2]},{shape[3]}]: model.name={name} has patches of {patch} pixels, which do not "
                f"divide it; nearest: [{near[0]},{near[1]}]"
            )

    # A copy with the same tensors: what a model keeps of its first pass (ConViT: positions) has no numbers here.
    same: dict[int, Any] = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    trial = copy.deepcopy(net, same).eval()
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
            trial(torch.empty(tuple(shape)))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        native = getattr(net, "pretrained_cfg", {}).get("input_size", ("?", "?", "?"))
        raise ConfigError(
            f"resolution=[{shape[2]},{shape[3]}]: model.name={name} cannot take pictures of this size ({reason}); its "
            f"own is [{native[1]},{native[2]}]"
        ) from error


def load_timm(source: str, name: str | None, size: Size | None = None) -> tuple[TimmClassifier, dict[str, Any]]:
    """A classifier of timm as it was trained: published (``timm:NAME``), or a file with the weights of ``name``.

    Args:
        size: (height, width) of the pictures that it will see, where they are of another size; positions are resampled.

    Returns:
        The model, and what ``vit.trained.load_weights_model`` says of it.

    Raises:
        ConfigError: timm has no model ``name``, or none for that size. CheckpointError: the weights cannot be had or do
            not fit.
    """
    if source.startswith(TIMM):
        from vit.weights.timm_models.hub import class_names

        net = pretrained(source.removeprefix(TIMM))
        cfg = settings(net)
        channels, *native = cfg["input_size"]
        _see(net, source.removeprefix(TIMM), channels, size)
        named = class_names(cfg.get("label_names"), cfg.get("num_classes"))
        found = from_timm(cfg)
        return TimmClassifier(net), {**told(found, channels, (native[0], native[1]), named), "notes": list(found.notes)}
    config = ModelConfig(name=name, weights=source)
    file = read_state(source, str(name))
    channels, *native = file.cfg.get("input_size") or (3, 224, 224)
    classes = rows(file.state, file.cfg.get("classifier"), 0) or 0
    channels = rows(file.state, file.cfg.get("first_conv"), 1) or channels
    model, report = build_timm(config, classes, channels, size or (native[0], native[1]))
    if report is None or report.new:
        raise CheckpointError(f"{source} lacks {', '.join(grouped(report.new if report else []))}")
    found = replace(report.preprocessing, mean=numbers(report.mean), std=numbers(report.std))
    return model, {**told(found, channels, (native[0], native[1]), report.classes), "notes": report.lines()}


def _see(net: Any, name: str, channels: int, size: Size | None) -> None:
    """Makes a network whose pictures have a fixed size take those of another; others take any."""
    if size is None or not hasattr(net, "set_input_size"):
        return
    try:
        net.set_input_size(img_size=size)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"resolution=[{size[0]},{size[1]}]: model.name={name} cannot take pictures of this size ({error})"
        ) from error
    _try(net, name, (1, channels, *size))


def told(found: Preprocessing, channels: int, size: Size, classes: Sequence[str] | None) -> dict[str, Any]:
    """``Preprocessing.plain``, its normalisation 0.5 where nothing tells it; besides ``classes`` and ``resolution``."""
    half = (0.5,) * channels
    whole = replace(found, size=size, mean=found.mean or half, std=found.std or half)
    return {**whole.plain(), "classes": None if classes is None else list(classes), "resolution": list(size)}
