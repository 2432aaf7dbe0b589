"""The label predictor: the next label map from the last L ones, as F of eq. 3 makes frames, in class probabilities.

Wang et al. (2018), section 4, predict semantic labels with a generator of the same family and tell no more of it. Here
eq. 4 is read for class probabilities: P_t = M softmax(H) + (1 - M) warp(P_{t-1}, W), of one encoder of the past.

Shapes: B clips, T frames, L past frames, C classes, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vid2vid.future.config import PredictorConfig
from vid2vid.model.blocks import initialise
from vid2vid.model.subnets import Encoder, FlowMask, Head, Layers, Trunk
from vid2vid.model.warp import warp


@dataclass
class PredictedLabels:
    """T predicted label maps.

    Attributes:
        composed: (B, T, C, H, W) class probabilities; they sum to 1 where the past had a class everywhere.
        hallucinated: (B, T, C, H, W) log probabilities of the classes made anew.
        flow: (B, T, 2, H, W) backward flow in pixels, x_t -> x_{t-1}.
        mask: (B, T, 1, H, W), 1 where classes are made anew, 0 where the map before is warped.
        past: (B, L, C, H, W), the newest L maps, detached: what the next call begins with.
    """

    composed: Tensor
    hallucinated: Tensor
    flow: Tensor
    mask: Tensor
    past: Tensor


class LabelPredictor(nn.Module):
    """Past label maps to the coming ones, each from the predicted ones before it.

    Args:
        model: the configuration.
        classes: C.
    """

    def __init__(self, model: PredictorConfig, classes: int) -> None:
        super().__init__()
        self.past_frames, self.classes = model.past_frames, classes
        width, downs, kinds = model.ngf, model.downsamplings, Layers(model.norm)
        trunk_blocks = model.blocks // 2
        self.past = Encoder(classes * model.past_frames, width, downs, model.blocks - trunk_blocks, kinds)
        self.trunk = Trunk(width, downs, trunk_blocks, kinds)
        self.scores = Head(width, classes)
        self.flow = FlowMask(width, downs, trunk_blocks, kinds, model.flow_multiplier)
        initialise(self)
        with torch.no_grad():
            self.flow.flow.conv.weight.mul_(model.flow_init)
            assert self.flow.mask.conv.bias is not None
            self.flow.mask.conv.bias.fill_(model.mask_bias)

    def forward(self, past: Tensor, frames: int) -> PredictedLabels:
        """Predicts ``frames`` label maps one after the other. Gradients flow through all of them.

        Args:
            past: (B, L, C, H, W) class probabilities, one-hot where they were observed, newest last; a pixel of no
                class is zero everywhere.

        Raises:
            ValueError: a past of another length or of other classes.
        """
        if tuple(past.shape[1:3]) != (self.past_frames, self.classes):
            raise ValueError(f"past needs (B, {self.past_frames}, {self.classes}, H, W), got {tuple(past.shape)}")
        made: list[tuple[Tensor, ...]] = []
        for _ in range(frames):
            features = self.past(past.flatten(1, 2))
            hallucinated = self.scores(self.trunk(features)).float().log_softmax(dim=1)
            flow, mask, _ = self.flow(features)
            flow, mask = flow.float(), mask.float()
            composed = mask * hallucinated.exp() + (1 - mask) * warp(past[:, -1], flow)
            made.append((composed, hallucinated, flow, mask))
            past = torch.cat((past[:, 1:], composed[:, None]), dim=1)
        composed, hallucinated, flow, mask = (torch.stack(parts, dim=1) for parts in zip(*made, strict=True))
        return PredictedLabels(composed, hallucinated, flow, mask, past.detach())
