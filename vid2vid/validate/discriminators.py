"""Checks of what the discriminators are and see (`model.*`). Loads no torch."""

from __future__ import annotations

from trainer.config.schema import show
from trainer.config.suggestions import did_you_mean
from trainer.schedule.ramp import ramp_problems
from trainer.validate import at_least
from vid2vid.config import (
    FlowMethod,
    ImageDiscriminator,
    ModelConfig,
    SourceKind,
    Vid2VidConfig,
    VideoInput,
    penalised,
)


def image_discriminator_problems(model: ModelConfig) -> list[str]:
    """One line for each setting of D_I that cannot be: key, value, remedy."""
    value, names = model.image_discriminator, [*(kind.name for kind in ImageDiscriminator), "auto"]
    if not isinstance(value, bool) and value not in names:
        near = did_you_mean(show(value), names)
        return [f"model.image_discriminator={show(value)}: give patch, segmenting, auto, or false for none{near}"]
    if value != ImageDiscriminator.segmenting.name:
        defaults = ModelConfig()
        idle = {"label_mix": defaults.label_mix, "segmenting_gamma": 0.0}
        return [
            f"model.{name}={show(getattr(model, name))} is read with model.image_discriminator=segmenting only: set "
            f"that, or {show(getattr(defaults, name))}"
            for name, nothing in idle.items()
            if getattr(model, name) not in (nothing, getattr(defaults, name))
        ]
    found = []
    if model.source is SourceKind.image:
        found.append(
            "model.image_discriminator=segmenting tells the classes of label maps apart, but model.source=image has "
            "none: use patch"
        )
    return found


def penalty_problems(model: ModelConfig) -> list[str]:
    """The same of the schedule of R1 and R2."""
    if model.gamma_ramp is not None and not penalised(model):
        return [
            f"model.gamma_ramp={show(model.gamma_ramp)} is a factor of model.r1_gamma and model.r2_gamma, and both are "
            "0: set one, or model.gamma_ramp=null"
        ]
    found = [] if model.segmenting_gamma is None else at_least("model.segmenting_gamma", model.segmenting_gamma, 0.0)
    return found + ramp_problems("model.gamma_ramp", model.gamma_ramp)


def video_discriminator_problems(config: Vid2VidConfig) -> list[str]:
    """The same of what D_V sees of a window."""
    model, sees = config.model, config.model.video_discriminator_input
    key, usual = f"model.video_discriminator_input={show(sees)}", VideoInput.frames_and_flow
    if not model.video_discriminator:
        off = f"{key} is of the video discriminator, but model.video_discriminator=false: set {show(usual)}"
        return [off] if sees is not usual else []
    if sees is not VideoInput.flow:
        return []
    if not model.flow:
        return [f"{key} shows the generator's flow, but model.flow=false has none: set {show(usual)} or frames"]
    found = []
    if config.data.flow is FlowMethod.precomputed and any(row.palindrome for row in config.curriculum.stages.values()):
        found.append(
            f"{key} compares the generator's flow with the reference, but data.flow=precomputed has none of clips that "
            f"are played backwards (palindrome=true): set {show(usual)} or frames, or data.flow=dis"
        )
    return found
