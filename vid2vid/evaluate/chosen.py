"""Which measures an evaluation makes beside the cheap ones: what was asked for and has what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from trainer.errors import ConfigError
from vid2vid.config import FlowMethod, Vid2VidConfig
from vid2vid.evaluate.clip_metrics import ClipMetric
from vid2vid.evaluate.image_metrics import ImageMetric, PerceptualSimilarity
from vid2vid.evaluate.other_segmenter import KINDS, OtherSegmenter
from vid2vid.evaluate.segmentation import LabelAgreement, Reader
from vid2vid.evaluate.segmenter_distance import SegmenterDistance
from vid2vid.evaluate.temporal import flow_difference, perceptual_difference
from vid2vid.evaluate.video_distance import VideoDistance
from vid2vid.evaluate.video_features import load_video_network
from vid2vid.flow.estimate import ESTIMATORS
from vid2vid.segmenter.classes import classes_of
from vid2vid.segmenter.file import Segmenter, load_segmenter


def build_clip_metrics(
    *,
    tof: str = "off",
    segmenter: str | None = None,
    segmenter_classes: str | None = None,
    video_features: str | None = None,
    config: Vid2VidConfig,
    image_metrics: Sequence[ImageMetric] = (),
    device: torch.device,
) -> list[ClipMetric]:
    """The measures that look at clips in order.

    Args:
        tof: off, run (the run's own estimator of flow; DIS where its flow is not estimated), dis, farneback or raft.
        segmenter: file of one (`scripts/train_segmenter.py`), or torchvision:FILE, transformers:FOLDER; for mIoU, the
            former for Fréchet distances of its features too.
        segmenter_classes: which classes of the latter are which labels (`vid2vid.evaluate.other_segmenter`).
        video_features: networks for video distances, KIND:PATH,... (`vid2vid.evaluate.video_features`).
        config: of the run.
        image_metrics: LPIPS among them brings tLP.
        device: where to compute.

    Raises:
        ConfigError: a network that is not known. CheckpointError: a file that was named is missing or wrong.
    """
    found: list[ClipMetric] = []
    if segmenter is not None:
        reader = _reader(segmenter, segmenter_classes, config, device)
        found.append(LabelAgreement(reader, device))
        if isinstance(reader, Segmenter):
            found.append(SegmenterDistance(reader.network))
    elif segmenter_classes is not None:
        raise ConfigError(
            "segmenter_classes=... is for segmenter=torchvision:FILE or transformers:FOLDER, which is missing"
        )
    if tof != "off":
        data = config.data
        own = data.flow if data.flow in ESTIMATORS else FlowMethod.dis
        found.append(flow_difference(own if tof == "run" else FlowMethod[tof], data.flow_weights, device))
    found += [perceptual_difference(m.distance) for m in image_metrics if isinstance(m, PerceptualSimilarity)]
    return [*found, *_video_distances(video_features or "", device)]


def _video_distances(video_features: str, device: torch.device) -> list[ClipMetric]:
    """A measure for each network, whose figures are called after it."""
    found: dict[str, tuple[str, ClipMetric]] = {}  # name of a figure: network as it was given, measure
    for given in filter(None, video_features.split(",")):
        metric = VideoDistance(load_video_network(given, device))
        name = next(iter(metric.rows))
        if name in found:
            raise ConfigError(
                f"video_features={found[name][0]} and {given} would both be {name}: rename one (figures of torchscript "
                "are called after the file), or measure them one after the other"
            )
        found[name] = given, metric
    return [metric for _, metric in found.values()]


def _reader(segmenter: str, pairs: str | None, config: Vid2VidConfig, device: torch.device) -> Reader:
    if segmenter.partition(":")[0] in KINDS:
        return OtherSegmenter(segmenter, pairs, classes_of(config), device)
    if pairs is not None:
        raise ConfigError(f"segmenter_classes={pairs}: {segmenter} tells the data's own classes apart; leave it out")
    return load_segmenter(Path(segmenter), device)
