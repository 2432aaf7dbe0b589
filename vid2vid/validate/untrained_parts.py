"""Parts of the networks that no stage of a curriculum trains: without input they keep their initial weights.

Names are those of the weights: ``d_video.2`` sees frames K^2 apart, ``d_image.scale0`` the coarsest pictures,
``generator.scale1`` is the first local enhancer. Letters as in the paper: L past frames, K frames of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vid2vid.config import FirstFrame, ImageDiscriminator, ModelConfig, Vid2VidConfig, Vid2VidStage, image_discriminator
from vid2vid.model.windows import window_frames


@dataclass(frozen=True)
class Unfed:
    """A part that gets no input in any stage.

    Attributes:
        part: the name of its weights.
        why: what it would need and what there is, and the remedy.
    """

    part: str
    why: str


def clip_frames(model: ModelConfig, stage: Vid2VidStage) -> int:
    """Frames of a stage's clips that D_V sees, real ones before the first generated one included."""
    return stage.frames + (model.past_frames if model.first_frame is FirstFrame.real else 0)


def stages_of(config: Vid2VidConfig) -> Mapping[str, Vid2VidStage]:
    """The curriculum; without a table one stage of defaults."""
    return config.curriculum.stages or {"all": Vid2VidStage()}


def temporal_scales(model: ModelConfig, stage: Vid2VidStage) -> int:
    """How many temporal scales of D_V have a window in clips of a stage."""
    clip = clip_frames(model, stage)
    return sum(window_frames(model.video_discriminator_frames, scale) <= clip for scale in range(model.temporal_scales))


def unfed(config: Vid2VidConfig) -> list[Unfed]:
    """Every part that no stage feeds, coarse before fine."""
    model, stages = config.model, list(stages_of(config).values())
    found = _generator(model, stages)
    used = _discriminator_scales(model, stages)
    if image_discriminator(model) is ImageDiscriminator.patch:
        found += [Unfed(f"d_image.scale{i}", _few(model, used)) for i in range(used, model.discriminator_scales)]
    for scale in range(model.temporal_scales if model.video_discriminator else 0):
        found += _video(model, stages, scale)
    return found


def _video(model: ModelConfig, stages: list[Vid2VidStage], scale: int) -> list[Unfed]:
    """One temporal scale of D_V: all of it, or the spatial scales that no stage with clips long enough has."""
    needed = window_frames(model.video_discriminator_frames, scale)
    fitting = [stage for stage in stages if clip_frames(model, stage) >= needed]
    if not fitting:
        longest = max(clip_frames(model, stage) for stage in stages)
        fed = max(temporal_scales(model, stage) for stage in stages)
        remedy = f"set model.temporal_scales={fed}" if fed else "set model.video_discriminator=false"
        why = f"its windows span {needed} frames, the longest clips have {longest}: lengthen a stage, or {remedy}"
        return [Unfed(f"d_video.{scale}", why)]
    anywhere, used = _discriminator_scales(model, stages), _discriminator_scales(model, fitting)
    short = (
        f"its windows span {needed} frames, and no stage with such clips uses more than {used} discriminator_scales: "
        "lengthen the clips of one that does"
    )
    return [
        Unfed(f"d_video.{scale}.scale{i}", _few(model, anywhere) if i >= anywhere else short)
        for i in range(used, model.discriminator_scales)
    ]


def _few(model: ModelConfig, used: int) -> str:
    return (
        f"no stage uses more than {used} of model.discriminator_scales={model.discriminator_scales}: raise a stage's "
        f"discriminator_scales, or set model.discriminator_scales={used}"
    )


def _discriminator_scales(model: ModelConfig, stages: list[Vid2VidStage]) -> int:
    return max(_scales(stage.discriminator_scales, model.discriminator_scales) for stage in stages)


def fed_table(config: Vid2VidConfig) -> list[list[str]]:
    """What each stage feeds, as text: heading and one row a stage."""
    model = config.model
    rows = [["stage", "generator scales", "discriminator scales", "frame spacings of d_video"]]
    rows[0] += ["regions of d_region"] if model.regions else []
    for name, stage in stages_of(config).items():
        count = temporal_scales(model, stage) if model.video_discriminator else 0
        spacings = [str(model.video_discriminator_frames**scale) for scale in range(count)]
        scales = [_scales(stage.scales, model.scales), _scales(stage.discriminator_scales, model.discriminator_scales)]
        regions = [" ".join(kind.value for kind in model.regions)] if model.regions else []
        rows.append([name, *map(str, scales), " ".join(spacings) or "none", *regions])
    return rows


def _generator(model: ModelConfig, stages: list[Vid2VidStage]) -> list[Unfed]:
    scales = max(_scales(stage.scales, model.scales) for stage in stages)
    found = []
    alone = max(stage.frames for stage in stages) == 1
    for index in range(scales if alone and model.past_frames else 0):
        single = "it needs a frame before, and all clips have one frame: lengthen a stage"
        if model.first_frame is FirstFrame.model:
            found.append(
                Unfed(f"generator.scale{index}.past", f"{single}, or set model.past_frames=0 model.flow=false")
            )
        if model.flow and model.first_frame in (FirstFrame.model, FirstFrame.zeros):
            found.append(Unfed(f"generator.scale{index}.flow", f"{single}, or set model.flow=false"))
    few = f"no stage uses more than {scales} of model.scales={model.scales}: raise a stage's scales, or set"
    found += [Unfed(f"generator.scale{i}", f"{few} model.scales={scales}") for i in range(scales, model.scales)]
    return found


def _scales(requested: int | None, available: int) -> int:
    return available if requested is None else min(requested, available)
