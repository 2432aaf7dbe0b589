"""Which measures an evaluation makes beside the cheap ones: what was asked for and has what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vid2vid.config import DataConfig, FlowMethod
from vid2vid.evaluate.clip_metrics import ClipMetric
from vid2vid.evaluate.image_metrics import ImageMetric, PerceptualSimilarity
from vid2vid.evaluate.segmentation import LabelAgreement
from vid2vid.evaluate.temporal import flow_difference, perceptual_difference
from vid2vid.evaluate.video_distance import VideoDistance
from vid2vid.evaluate.video_features import load_video_network
from vid2vid.flow.estimate import ESTIMATORS
from vid2vid.segmenter.file import load_segmenter


def build_clip_metrics(
    *,
    tof: str = "off",
    segmenter: str | None = None,
    video_features: str | None = None,
    data: DataConfig,
    image_metrics: Sequence[ImageMetric] = (),
    device: torch.device,
) -> list[ClipMetric]:
    """The measures that look at clips in order.

    Args:
        tof: off, run (the run's own estimator of flow; DIS where its flow is not estimated), dis, farneback or raft.
        segmenter: file of one (`scripts/train_segmenter.py`), for mIoU.
        video_features: networks for video distances, KIND:PATH,... (`vid2vid.evaluate.video_features`).
        data: of the run.
        image_metrics: LPIPS among them brings tLP.
        device: where to compute.

    Raises:
        ConfigError: a network that is not known. CheckpointError: a file that was named is missing or wrong.
    """
    found: list[ClipMetric] = []
    if segmenter is not None:
        found.append(LabelAgreement(load_segmenter(Path(segmenter), device), device))
    if tof != "off":
        own = data.flow if data.flow in ESTIMATORS else FlowMethod.dis
        found.append(flow_difference(own if tof == "run" else FlowMethod[tof], data.flow_weights, device))
    found += [perceptual_difference(m.distance) for m in image_metrics if isinstance(m, PerceptualSimilarity)]
    for given in (video_features or "").split(","):
        if given:
            found.append(VideoDistance(load_video_network(given, device)))
    return found
