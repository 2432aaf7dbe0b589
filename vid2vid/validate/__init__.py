"""Checks of a vid2vid configuration across its fields, before anything is built. Loads no torch.

`model`, `data` and `stages` check their own parts, this file what must fit between them. `notes` and `untrained` tell
what a user should know of a configuration that is right.
"""

from __future__ import annotations

from trainer.validate import run_problems
from vid2vid.config import PHASES, DataKind, FirstFrame, FlowMethod, ModelConfig, Vid2VidConfig, VideoInput
from vid2vid.data.settings import reading_problems
from vid2vid.validate.data import data_problems
from vid2vid.validate.discriminators import video_discriminator_problems
from vid2vid.validate.model import label_problems, model_problems
from vid2vid.validate.sources import source_problems
from vid2vid.validate.stages import stage_problems


def problems(config: Vid2VidConfig) -> list[str]:
    """Every problem of a configuration, one line each: key, value, remedy."""
    # Without regions their optimiser may stand there, as in the tables of `configs/optim`, and need not.
    needed = [name for name in PHASES if name != "d_region" or config.model.regions or name in config.optim]
    found = run_problems(config, needed)
    found += model_problems(config.model)
    found += label_problems(config.model)
    found += data_problems(config.data)
    found += reading_problems(config.data, config.model)
    found += agreement_problems(config)
    found += stage_problems(config)
    return found


def agreement_problems(config: Vid2VidConfig) -> list[str]:
    """Where model and data must fit each other."""
    model, data = config.model, config.data
    found = []
    found += source_problems(config)
    if model.first_frame is FirstFrame.real and 1 <= data.val_frames <= model.past_frames:
        found.append(
            f"data.val_frames={data.val_frames}: with model.first_frame=real the first model.past_frames="
            f"{model.past_frames} of them are real: give at least {model.past_frames + 1}"
        )
    if data.flow is FlowMethod.none:
        users = [
            f"model.{name}" for name in ("lambda_flow", "lambda_flow_warp") if model.flow and getattr(model, name) > 0
        ]
        users += [f"model.{name}" for name in ("lambda_output_warp", "lambda_mask") if getattr(model, name) > 0]
        users += _seen_flow(model)
        if users and model.flow:
            found.append(
                f"data.flow=none, but {', '.join(users)} need reference flow: set data.flow="
                f"{'exact' if data.kind is DataKind.street else 'dis'}, or these to 0 (false)"
            )
        elif _seen_flow(model):
            found.append(
                "data.flow=none, but model.video_discriminator sees flow: set it to false, or "
                "model.video_discriminator_input=frames, or data.flow=dis"
            )
    return found + video_discriminator_problems(config)


def _seen_flow(model: ModelConfig) -> list[str]:
    """What needs reference flow because D_V sees it."""
    if not model.video_discriminator or model.video_discriminator_input is VideoInput.frames:
        return []
    return ["model.video_discriminator (model.video_discriminator_input=frames does not)"]
