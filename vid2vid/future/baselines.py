"""What a prediction must beat: the last frame copied, and the last motion going on (constant flow).

Shapes: H x W pixels; flows are backward, in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid.config import DataConfig, FlowMethod
from vid2vid.flow.estimate import ESTIMATORS, compose_flow, estimate_pair
from vid2vid.future.moving import warp_ids
from vid2vid.model.warp import warp


class FlowExtrapolation:
    """The last frame warped ever again by the last flow, which stays where it is in the picture.

    The flows are composed and the frame is warped once, so that it is not blurred by being resampled again and again.

    Args:
        image: the last observed frame, (3, H, W) uint8.
        labels: its ids, (H, W).
        flow: (2, H, W), from it to the frame before.
    """

    def __init__(self, image: Tensor, labels: Tensor, flow: Tensor) -> None:
        self._image, self._labels = image, labels
        self._flow = flow.float()
        self._total = torch.zeros_like(self._flow)

    def step(self) -> tuple[Tensor, Tensor]:
        """The next frame (3, H, W) uint8 and its labels (H, W)."""
        self._total = compose_flow(self._flow, self._total)
        warped = warp(self._image[None].float(), self._total[None])[0]
        return warped.round().clamp(0, 255).to(torch.uint8), warp_ids(self._labels, self._total)


def last_flow(images: Tensor, data: DataConfig) -> Tensor:
    """Flow (2, H, W) between the last two of the observed frames, estimated as in training.

    Where training knows the exact flow (street) it is estimated too, by DIS: whoever predicts has pictures alone.

    Args:
        images: (T, 3, H, W) uint8, at least two.
        data: ``flow`` and ``flow_weights`` of the run.
    """
    method = data.flow if data.flow in ESTIMATORS else FlowMethod.dis
    current, previous = images[-1].cpu(), images[-2].cpu()
    return estimate_pair(current, previous, method, data.flow_weights)[0].float().to(images.device)
