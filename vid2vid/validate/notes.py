"""Notes on a configuration that is right but may surprise: in the log at a run's start, and in the dry run."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from vid2vid.config import FlowMethod, Gan, ModelConfig, PerceptualKind, Vid2VidConfig
from vid2vid.losses.terms import l1_weight
from vid2vid.validate.untrained_parts import stages_of, unfed


def notes(config: Vid2VidConfig, networks: Mapping[str, nn.Module], has_perceptual: bool) -> list[str]:
    """One line each.

    Args:
        config: the run's.
        networks: the task's, by name.
        has_perceptual: whether the perceptual loss has its network.
    """
    found = []
    model, data = config.model, config.data
    wanted = model.lambda_perceptual > 0 and model.loss_perceptual is not PerceptualKind.none
    if wanted and not has_perceptual:
        found.append(
            "perceptual loss off: no VGG-19 weights (model.perceptual_weights=FILE or torchvision; "
            f"model.lambda_perceptual=0 says that none is wanted); {_instead(model)}"
        )
    if model.gan is Gan.relativistic and (model.r1_gamma == 0 or model.r2_gamma == 0):
        found.append(
            f"model.gan=relativistic with model.r1_gamma={model.r1_gamma:g} and model.r2_gamma={model.r2_gamma:g}: "
            "without both penalties it need not converge (Huang et al. 2024); 0.005 each is a start"
        )
    if model.gan is not Gan.relativistic and (model.r1_gamma > 0 or model.r2_gamma > 0):
        found.append(
            f"model.gan={model.gan.value} under gradient penalties, model.r1_gamma={model.r1_gamma:g} and "
            f"model.r2_gamma={model.r2_gamma:g}: 0 each is without (model=vid2vid_2018 sets both)"
        )
    for part in unfed(config):
        network, _, rest = part.part.partition(".")
        count = sum(p.numel() for p in networks[network].get_submodule(rest).parameters())
        found.append(f"never trained, as no stage feeds it: {part.part} ({count:,} parameters); {part.why}")
    if data.flow is FlowMethod.raft and data.frame_step > 1:
        found.append(
            f"data.flow=raft with data.frame_step={data.frame_step}: the flow over more than one frame is computed by "
            "the data workers, on the CPU, when a pair is first drawn (check_data flow=true fills the cache for "
            "neighbouring frames only); data.frame_step=1 or data.flow=dis is faster"
        )
    if data.flow is FlowMethod.precomputed and any(stage.palindrome for stage in stages_of(config).values()):
        found.append(
            "data.flow=precomputed holds flow of one direction: where clips are played backwards "
            "(palindrome=true) there are no losses on flow; data.flow=dis estimates both"
        )
    return found


def _instead(model: ModelConfig) -> str:
    if model.lambda_l1 is None:
        return f"L1 with weight {l1_weight(model):g} takes its place (model.lambda_l1 sets another, 0 none)"
    if model.lambda_l1 > 0:
        return f"L1 has the weight model.lambda_l1={model.lambda_l1:g}"
    return "model.lambda_l1=0, so that only the discriminators compare pictures"
