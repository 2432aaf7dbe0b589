"""Weights of pictures in a network of clips, and of clips in another one (ViViT, section 3.4; I3D for the mean).

Kernels of patches become those of tubelets; what acts through time keeps its initial values, which are zero where it
ends, so that the network begins as that of pictures. Steps in time are resampled as places are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.config import Inflation
from vit.weights.fit import PATCH, Adaptation

_THROUGH_TIME = ("attn_time.", "norm_time.")
_FACTS = ("frames", "tubelet", "space_time", "temporal_depth")


def inflate(kernels: Tensor, tubelet: int, how: Inflation) -> Tensor:
    """Kernels of patches (D, C, p, p) as those of tubelets (D, C, t, p, p): a still clip is embedded as its picture.

    ``central``: frame t // 2 has them, the others zeros. ``mean``: every frame has 1 / t of them.
    """
    if how is Inflation.mean:
        return (kernels / tubelet).unsqueeze(2).repeat(1, 1, tubelet, 1, 1)
    found = torch.zeros(*kernels.shape[:2], tubelet, *kernels.shape[2:], dtype=kernels.dtype)
    found[:, :, tubelet // 2] = kernels
    return found


def fit_time(adaptation: Adaptation) -> None:
    """Tubelets and steps.

    Raises:
        CheckpointError: the file is of clips and the model of pictures, of other tubelets, or attends otherwise.
    """
    state, arch = adaptation.state, adaptation.arch
    of_clips = int(adaptation.facts.get("frames") or 1) > 1
    if of_clips:
        _check(adaptation)
    elif arch.frames > 1:
        if arch.tubelet > 1:
            adaptation.replace(PATCH, inflate(state[PATCH], arch.tubelet, adaptation.config.inflation))
        adaptation.may_be_new.update(("time_embed", "time_blocks."))
        adaptation.may_be_new.update(f"blocks.{index}.{part}" for index in range(arch.depth) for part in _THROUGH_TIME)
        adaptation.notes.append(
            f"weights of pictures in a network of clips of {arch.frames} frames ({arch.space_time.value}): a still "
            "clip is answered as its picture at first"
        )
    if "time_embed" in state and state["time_embed"].shape[1] != arch.steps:
        steps = F.interpolate(state["time_embed"].float().mT, arch.steps, mode="linear").mT
        adaptation.replace("time_embed", steps.to(state["time_embed"].dtype))


def _check(adaptation: Adaptation) -> None:
    """A file of clips goes into a network of clips that attends as its own does."""
    facts = {name: getattr(value := adaptation.facts[name], "value", value) for name in _FACTS}
    ours = {name: getattr(value := getattr(adaptation.arch, name), "value", value) for name in _FACTS}
    free = () if ours["frames"] == 1 else ("frames",)  # positions in time are resampled
    if facts["space_time"] != "factorised_encoder":
        free += ("temporal_depth",)
    differing = [name for name in _FACTS if name not in free and facts[name] != ours[name]]
    if differing:
        raise adaptation.error(
            f"it is a network of clips: {' '.join(f'model.{name}={facts[name]}' for name in differing)}"
        )
