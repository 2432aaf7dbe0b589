"""A student's losses of following a teacher: its frames, its flow, its mask and its features.

Pairs of generators are compressed like this for single images (Li et al. 2020, "GAN Compression", eq. 2: features
behind 1x1 convolutions); here the outputs of eq. 4, which say how a frame is made, are followed as well.

Shapes: B clips, T frames of a segment, H x W pixels, c and d channels of the student's and the teacher's features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vid2vid.config import ModelConfig
from vid2vid.losses import terms
from vid2vid.model import GeneratorOutput


class Projections(nn.Module):
    """1x1 convolutions from a student's features to its teacher's, (N, c, H, W) -> (N, d, H, W). No generator has them.

    Where both are as wide they begin as the identity.

    Args:
        student, teacher: c and d.
        flow: whether the features of flow and mask are followed too.
    """

    def __init__(self, student: int, teacher: int, flow: bool) -> None:
        super().__init__()
        self.image = _projection(student, teacher)
        self.flow = _projection(student, teacher) if flow else None

    def forward(self, image: Tensor, flow: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features of H, and of W and M where they are there; fp32."""
        with torch.autocast(image.device.type, enabled=False):
            projected = None if flow is None or self.flow is None else self.flow(flow.float())
            return self.image(image.float()), projected


def _projection(student: int, teacher: int) -> nn.Conv2d:
    conv = nn.Conv2d(student, teacher, 1)
    if student == teacher:
        nn.init.dirac_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def distillation(
    out: GeneratorOutput, teacher: GeneratorOutput, projections: Projections | None, model: ModelConfig, scales: int = 1
) -> dict[str, Tensor]:
    """Every term with its weight; all are zero where the student makes what the teacher makes.

    - ``teacher``: L1 between composed frames, and between hallucinations where there is flow, as for the image losses.
    - ``teacher_flow``: L1 between flows in pixels, where the teacher warps (1 - its mask), as eq. 8 scaled by size.
    - ``teacher_mask``: L1 between masks.
    - ``teacher_features``: L1 between the features that the heads read, the student's projected.

    Args:
        out: the student's, with features where ``projections`` are given.
        teacher: the teacher's of the same labels, each after its own past frames; no gradient reaches it.
        scales: generator scales in use; flows grow with the resolution.
    """
    frames = terms.l1(out.frames, teacher.frames)
    if out.flow is not None and out.mask is not None:
        frames = frames + terms.l1(out.hallucination, teacher.hallucination)
    total = {"teacher": model.lambda_teacher * frames}
    if out.flow is not None and out.mask is not None and teacher.flow is not None and teacher.mask is not None:
        warped = 1 - teacher.mask.float()
        total["teacher_flow"] = model.lambda_teacher_flow * terms.flow(out.flow, teacher.flow, warped, scales)
        total["teacher_mask"] = model.lambda_teacher_mask * terms.l1(out.mask, teacher.mask)
    if projections is not None:
        distances: list[Tensor] = []
        for (image, flow), (their_image, their_flow) in zip(out.features, teacher.features, strict=True):
            own_image, own_flow = projections(image, flow)
            distances.append(F.l1_loss(own_image, their_image.float()))
            if own_flow is not None and their_flow is not None:
                distances.append(F.l1_loss(own_flow, their_flow.float()))
        total["teacher_features"] = model.lambda_teacher_features * torch.stack(distances).sum() / len(out.features)
    return {name: value for name, value in total.items() if getattr(model, f"lambda_{name}") > 0}
