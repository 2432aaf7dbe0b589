"""Which measures an evaluation makes beside the cheap ones: what was asked for and has what it needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vid2vid.config import DataConfig, FlowMethod
from vid2vid.evaluate.clip_metrics import ClipMetric
from vid2vid.evaluate.image_metrics import ImageMetric, PerceptualSimilarity
from vid2vid.evaluate.temporal import flow_difference, perceptual_difference
from vid2vid.flow.estimate import ESTIMATORS


def build_clip_metrics(
    *, tof: str, data: DataConfig, image_metrics: Sequence[ImageMetric], device: torch.device
) -> list[ClipMetric]:
    """The measures that look at clips in order.

    Args:
        tof: off, run (the run's own estimator of flow; DIS where its flow is not estimated), dis, farneback or raft.
        data: of the run.
        image_metrics: LPIPS among them brings tLP.
        device: where to compute.
    """
    found: list[ClipMetric] = []
    if tof != "off":
        own = data.flow if data.flow in ESTIMATORS else FlowMethod.dis
        found.append(flow_difference(own if tof == "run" else FlowMethod[tof], data.flow_weights, device))
    found += [perceptual_difference(m.distance) for m in image_metrics if isinstance(m, PerceptualSimilarity)]
    return found
