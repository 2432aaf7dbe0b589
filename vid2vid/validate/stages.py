"""Checks of the curriculum (`curriculum.stages.*`): lengths of clips, and sizes of pictures. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm

from trainer.config.schema import show
from vid2vid.config import FirstFrame, ImageDiscriminator, ModelConfig, Vid2VidConfig, Vid2VidStage
from vid2vid.validate.multiples import nearest_multiples


def stage_problems(config: Vid2VidConfig) -> list[str]:
    """One line for each problem of the curriculum's rows with the model's scales and windows, and with the sizes."""
    model = config.model
    named: Mapping[str, Vid2VidStage] = config.curriculum.stages
    stages = named or {"": Vid2VidStage()}
    keyed = {f"curriculum.stages.{name}." if named else "the default stage's ": row for name, row in stages.items()}
    found = _size_problems(keyed, config)
    if model.image_discriminator == ImageDiscriminator.segmenting.name:
        found += _segmenting_problems(keyed, config)
    for key, stage in keyed.items():
        found += _clip_problems(key, stage, model)
        for column, available in (("scales", model.scales), ("discriminator_scales", model.discriminator_scales)):
            value = getattr(stage, column)
            if value is not None and not 1 <= value <= available:
                found.append(f"{key}{column}={value}: must lie between 1 and model.{column}={available}")
    inherited = [stage for stage in stages.values() if stage.backprop_frames is None]
    segments = sorted({stage.segment_frames for stage in inherited if stage.segment_frames >= 1})
    indivisible = [n for n in segments if model.backprop_frames >= 1 and n % model.backprop_frames]
    if indivisible:
        common = [n for n in range(1, segments[0] + 1) if all(segment % n == 0 for segment in segments)]
        found.append(
            f"model.backprop_frames={model.backprop_frames} must divide segment_frames={indivisible[0]} of the "
            f"curriculum; possible: {', '.join(map(str, common))}"
        )
    k = model.video_discriminator_frames
    context = model.past_frames if model.first_frame is FirstFrame.real else 0  # real frames that D_V sees as well
    if model.video_discriminator and all(context + stage.frames < k for stage in stages.values()):
        found.append(
            f"no stage has clips of model.video_discriminator_frames={k} frames, so the video discriminator would "
            "never train: lengthen a stage, or set model.video_discriminator=false"
        )
    return found


def _clip_problems(key: str, stage: Vid2VidStage, model: ModelConfig) -> list[str]:
    segment = stage.segment_frames
    if segment < 1:
        return [f"{key}segment_frames={segment}: must be at least 1"]
    found = []
    if stage.frames >= 1 and stage.frames % segment:
        found.append(
            f"{key}frames={stage.frames} must be a multiple of segment_frames={segment}; "
            f"nearest: {nearest_multiples(stage.frames, segment)}"
            + (f", or {key}segment_frames={stage.frames}" if stage.frames < segment else "")
        )
    whole = lcm(2, segment)
    if stage.palindrome and (stage.frames < 4 or stage.frames % 2):
        found.append(
            f"{key}frames={stage.frames}: with palindrome=true half of them go forth and half back, so their number "
            f"must be even and at least 4; nearest: {nearest_multiples(stage.frames, whole, -(-4 // whole))}"
        )
    reach = stage.backprop_frames
    if reach is not None and (reach < 1 or segment % reach):
        divisors = ", ".join(str(n) for n in range(1, segment + 1) if segment % n == 0)
        found.append(f"{key}backprop_frames={reach} must divide its segment_frames={segment}; possible: {divisors}")
    return found


def _size_problems(stages: Mapping[str, Vid2VidStage], config: Vid2VidConfig) -> list[str]:
    """Height and width against the downsamplings of the scales in use; the run's resolution by its strictest stage."""
    model = config.model
    strictest: dict[str, tuple[list[int], int, int, int]] = {}  # key: size, step, downscale, scales
    for key, stage in stages.items():
        scales = model.scales if stage.scales is None else min(stage.scales, model.scales)
        size, source = (stage.resolution, f"{key}resolution") if stage.resolution else (config.resolution, "resolution")
        downscale = 1 if stage.resolution else stage.downscale
        if len(size) != 2 or min(size) < 1 or model.downsamplings < 0 or scales < 1 or downscale < 1:
            continue  # said by others
        step = 2 ** max(model.downsamplings + scales - 1, _style_halvings(model)) * downscale
        if source not in strictest or step > strictest[source][1]:
            strictest[source] = (size, step, downscale, scales)
    found = []
    for source, (size, step, downscale, scales) in strictest.items():
        for side, word in zip(size, ("height", "width"), strict=True):
            if side % step == 0 and side >= 2 * step:
                continue
            reasons = [f"model.downsamplings={model.downsamplings}"]
            reasons += [f"{scales} generator scales"] if scales > 1 else []
            reasons += [f"model.style_downsamplings={model.style_downsamplings}"] if _style_halvings(model) else []
            reasons += [f"a stage with downscale={downscale}"] if downscale > 1 else []
            found.append(
                f"{source}={show(size)}: {word} {side} must be a multiple of {step} and at least {2 * step}, "
                f"because of {', '.join(reasons)}; nearest: {nearest_multiples(side, step, 2)}"
            )
    return found


def _segmenting_problems(stages: Mapping[str, Vid2VidStage], config: Vid2VidConfig) -> list[str]:
    """Frames that are too small for a D_I that segments: those of the stage with the smallest ones."""
    model = config.model
    least = 2 ** (model.discriminator_layers + model.discriminator_scales)  # as of ``model.segmenting.halvings``
    sizes = {
        key: stage.resolution or [side // max(stage.downscale, 1) for side in config.resolution]
        for key, stage in stages.items()
    }
    key, size = min(sizes.items(), key=lambda pair: min(pair[1], default=least))
    if len(size) != 2 or not 1 <= min(size) < least:
        return []
    return [
        f"model.image_discriminator=segmenting halves a frame model.discriminator_layers={model.discriminator_layers} "
        f"+ model.discriminator_scales={model.discriminator_scales} - 1 times, so it must be at least {least} high and "
        f"wide, but {key}resolution is {show(size)}: lower one of these, enlarge the frames, or "
        "set model.image_discriminator=patch"
    ]


def _style_halvings(model: ModelConfig) -> int:
    """How often E halves the picture; 0 without E."""
    return model.style_downsamplings if model.style_channels > 0 else 0
