"""Held-out clips generated freely, and measured against the real ones: in training, and of a run.

Shapes: B clips, T frames, H x W pixels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainer.device.clock import synchronize
from trainer.device.compute import Compute
from trainer.errors import DataError
from vid2vid.config import FirstFrame, FlowMethod
from vid2vid.encoding import SourceEncoder, float_to_images
from vid2vid.evaluate import metrics
from vid2vid.evaluate.clip_metrics import ClipMetric, Piece
from vid2vid.evaluate.drift import Drift
from vid2vid.evaluate.image_metrics import ImageMetric
from vid2vid.generate.clip import generate_segments
from vid2vid.model import Generator
from vid2vid.styles.pooling import Styling


def evaluate_clips(
    generator: Generator,
    encoder: SourceEncoder,
    loader: Iterable[dict[str, Any]],
    *,
    compute: Compute,
    first_frame: FirstFrame = FirstFrame.model,
    scales: int | None = None,
    styles: Styling | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    image_metrics: Sequence[ImageMetric] = (),
    clip_metrics: Sequence[ClipMetric] = (),
) -> dict[str, tuple[float, float]]:
    """Generate every clip of a loader and measure it.

    Args:
        loader: collated samples (see ``generate_segments``) with ``images`` and, where there is reference flow,
            ``flow`` and ``confidence``; see ``weights_of`` for which of them count.
        styles: gives a batch's clips their vectors (`vid2vid.styles`), for generators with a feature encoder.
        should_stop: polled between batches; True returns what was measured so far.
        image_metrics, clip_metrics: are fed every counted clip; the caller reads them.

    Returns:
        Metric -> (sum, weight) over this process's share; the value is sum / weight after adding over processes.
        ``psnr`` [dB], ``ssim``, ``l1`` (pixels in 0..1), ``sharpness`` at each clip's last frame and ``sharpness_all``
        over all frames (1: as sharp as real), ``sharpness_drift`` and ``colour_drift`` (`vid2vid.evaluate.drift`),
        ``period_2`` and ``period_2_real``, ``frames_per_s`` of generation on one process; ``mask_mean``, the share of
        hallucination, and ``sharpness_hallucination``, for generators with flow; ``warp_error`` and
        ``warp_error_real`` for data with reference flow. Frames that ``first_frame=real`` echoed are not measured.

    Raises:
        DataError: the data has no real images, or clips too short for ``first_frame=real``.
    """
    names = [*metrics.OF_FRAMES, "sharpness", "sharpness_all", "sharpness_drift", "colour_drift"]
    names += ["period_2", "period_2_real", "frames_per_s"]
    if encoder.model.flow and encoder.model.past_frames:
        names += ["mask_mean", "sharpness_hallucination"]
    if encoder.data.flow is not FlowMethod.none:
        names += ["warp_error", "warp_error_real"]
    device = compute.device
    zero = torch.zeros(2, dtype=torch.float64, device=device)
    totals = {name: zero.clone() for name in names}

    for host_batch in loader:
        if should_stop():
            break
        batch = {k: v.to(device, non_blocking=True) for k, v in host_batch.items() if isinstance(v, Tensor)}
        if "images" not in batch:
            raise DataError("evaluation compares with real images, but this data has none; give data with images")
        skip = encoder.model.past_frames if first_frame is FirstFrame.real else 0
        if batch["images"].shape[1] <= skip:
            raise DataError(
                f"first_frame=real needs clips of more than {skip} frames, these have {batch['images'].shape[1]}: "
                "raise data.val_frames, give longer sequences, or use first_frame=model"
            )
        weights = weights_of(host_batch)
        if not any(weights):
            continue
        clips = [
            _Measure(batch, i, skip, image_metrics, clip_metrics) if weight else None
            for i, weight in enumerate(weights)
        ]
        made = generate_segments(
            generator,
            encoder,
            batch,
            amp=compute.amp,
            first_frame=first_frame,
            scales=scales,
            styles=None if styles is None else styles(batch),
        )
        seconds = 0.0
        while True:
            begin = time.perf_counter()
            piece = next(made, None)
            synchronize(device)
            seconds += time.perf_counter() - begin
            if piece is None:
                break
            for i, clip in enumerate(clips):
                if clip is not None:
                    clip.add({name: value[i] for name, value in piece.items()})
            del piece  # not two segments at a time
        # Clips that only fill up were generated too: their frames belong to the time.
        generated = len(weights) * (batch["images"].shape[1] - skip)
        totals["frames_per_s"] += torch.tensor([generated, seconds], dtype=torch.float64, device=device)
        for clip, weight in zip(clips, weights, strict=True):
            for name, pair in clip.sums.items() if clip is not None else ():
                if name in totals:
                    totals[name] += weight * pair
    values = torch.stack(list(totals.values())).tolist()
    return {name: (total, weight) for name, (total, weight) in zip(totals, values, strict=True)}


def weights_of(batch: Mapping[str, Any]) -> list[float]:
    """1 for a clip that counts; 0 for one that fills up the last batch (``weight``) or a bad one's place
    (``readable``)."""
    weights = batch["weight"] if "weight" in batch else torch.ones(len(batch["images"]))
    return (weights * batch["readable"] if "readable" in batch else weights).tolist()


class Counted:
    """Counts the clips and frames of the batches that pass through, and clips that are skipped for a bad file."""

    def __init__(self, batches: Iterable[dict[str, Any]]) -> None:
        self._batches, self.clips, self.frames, self.skipped = batches, 0, 0, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._batches:
            if "images" in batch:
                real = sum(weight > 0 for weight in weights_of(batch))
                self.clips += real
                self.frames += real * batch["images"].shape[1]
                whole = sum(weight > 0 for weight in weights_of({**batch, "readable": torch.ones(())}))
                self.skipped += whole - real
            yield batch


class _Measure:
    """All metrics of one clip, which comes segment by segment.

    Args:
        batch: with ``images`` and, where there is reference flow, ``flow`` and ``confidence``.
        index: of the clip in the batch.
        skip: the first so many frames are real and only serve as history.
        image_metrics, clip_metrics: are fed with every frame that counts.

    Attributes:
        sums: metric -> (sum, weight), float64.
    """

    def __init__(
        self,
        batch: Mapping[str, Tensor],
        index: int,
        skip: int,
        image_metrics: Sequence[ImageMetric],
        clip_metrics: Sequence[ClipMetric],
    ) -> None:
        self._real = batch["images"][index]
        self._flow = (batch["flow"][index], batch["confidence"][index]) if "flow" in batch else None
        self._labels = batch["labels"][index] if "labels" in batch else None
        self._skip, self._image_metrics = skip, image_metrics
        self._watches, self._drift = [metric.clip() for metric in clip_metrics], Drift()
        self._done = 0  # frames so far
        self._before: Tensor | None = None  # the newest generated frame, (1, 3, H, W) in 0..1
        self.sums: dict[str, Tensor] = {}

    @torch.inference_mode()
    def add(self, made: Mapping[str, Tensor]) -> None:
        """The next frames of the clip, as ``generate_segments`` makes them."""
        start, stop = self._done, self._done + len(made["frames"])
        self._done = stop
        # Through bytes, as a viewer gets them; the real frames are bytes as well.
        shown = float_to_images(made["frames"])
        generated, real = shown.float() / 255, self._real[start:stop].float() / 255
        if start >= self._skip:
            for name, measure in metrics.OF_FRAMES.items():
                self._count(name, measure(generated, real))
            self._count("sharpness_all", self._drift.add(generated, real))
            for name, frames in (("period_2", generated), ("period_2_real", real)):
                self._count(name, metrics.period_2(frames))
            if "mask" in made:
                hallucination = float_to_images(made["hallucination"]).float() / 255
                self._count("sharpness_hallucination", metrics.sharpness(hallucination, real))
            for image_metric in self._image_metrics:
                image_metric.update(shown, self._real[start:stop])
            labels = None if self._labels is None else self._labels[start:stop]
            flow, confidence = (None, None) if self._flow is None else (x[start:stop] for x in self._flow)
            for watch in self._watches:
                watch.add(Piece(shown, self._real[start:stop], labels, flow, confidence))
        if stop == len(self._real):
            self._count("sharpness", metrics.sharpness(generated[-1:], real[-1:]))
            for name, pair in self._drift.pairs().items():
                self._count(name, pair)
            for watch in self._watches:
                watch.close()
        if "mask" in made:
            mask = made["mask"][1 if start == 0 else 0 :].double()  # the first frame of all is hallucination
            self._count("mask_mean", (mask.sum(), torch.full_like(mask.sum(), mask.numel())))
        if self._flow is not None and start >= self._skip:
            flow, confidence = (x[start:stop] for x in self._flow)
            self._count_warping(generated, real, flow, confidence)
            if self._before is not None:  # the pair across the border of two segments
                before = self._real[start - 1 : start].float() / 255
                pairs = [torch.cat([a, b[:1]]) for a, b in ((self._before, generated), (before, real))]
                self._count_warping(*pairs, *(x[:1].expand(2, -1, -1, -1) for x in (flow, confidence)))
        self._before = generated[-1:].clone()

    def _count_warping(self, generated: Tensor, real: Tensor, flow: Tensor, confidence: Tensor) -> None:
        self._count("warp_error", metrics.warping_error(generated, flow, confidence))
        self._count("warp_error_real", metrics.warping_error(real, flow, confidence))

    def _count(self, name: str, pair: metrics.Pair) -> None:
        self.sums[name] = self.sums.get(name, 0) + torch.stack(pair)
