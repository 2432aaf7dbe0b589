"""Held-out clips generated freely, and measured against the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from trainer.errors import DataError
from vid2vid import metrics
from vid2vid.config import FirstFrame, FlowMethod
from vid2vid.encoding import SourceEncoder, float_to_images, images_to_float
from vid2vid.networks import Generator

SEGMENT = 8  # frames per call of the generator: bounds the memory of long clips, changes no result


class ImageMetric(Protocol):
    """A measure over all frames at once (FID, LPIPS): fed clip by clip, read at the end."""

    name: str

    def update(self, generated: Tensor, real: Tensor) -> None:
        """Add frames, both (T, 3, H, W) uint8."""
        ...

    def compute(self) -> float: ...


@torch.inference_mode()
def generate_clip(
    generator: Generator,
    encoder: SourceEncoder,
    batch: dict[str, Tensor],
    *,
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext,
    first_frame: FirstFrame = FirstFrame.model,
    scales: int | None = None,
    segment: int = SEGMENT,
) -> dict[str, Tensor]:
    """Generate whole clips, ``segment`` frames per call of the generator.

    Args:
        batch: as a data set's samples, collated, on the generator's device: ``labels`` (B, T, H, W) or ``source``
            (B, T, C, H, W), optionally ``instances``; ``images`` (B, T, 3, H, W) uint8 unless ``first_frame=model``.
        first_frame: ``real`` takes the first L frames from the images; ``image`` takes the first one for the picture
            that a user would give, as training does; ``zeros`` starts from mid-grey; ``model`` from nothing.

    Returns:
        ``frames`` and ``hallucination`` (B, T, 3, H, W) in [-1, 1]; ``flow`` (B, T, 2, H, W) and ``mask``
        (B, T, 1, H, W) where the generator has them. With ``first_frame=real`` the first L entries of ``frames`` are
        the real ones and the others begin after them.
    """
    condition = {k: batch[k] for k in ("labels", "instances", "source") if k in batch}
    length = next(iter(condition.values())).shape[1]
    context = encoder.model.past_frames
    pieces: dict[str, list[Tensor]] = {"frames": [], "hallucination": [], "flow": [], "mask": []}
    past, begin = None, 0
    if context and first_frame is FirstFrame.real:
        real = images_to_float(batch["images"][:, :context])
        pieces["frames"].append(real)
        begin = context
        if length > context:
            past = generator.past_from_images(real, scales=scales)
    elif context and first_frame is not FirstFrame.model:
        image = images_to_float(batch["images"][:, :1])
        image = torch.zeros_like(image) if first_frame is FirstFrame.zeros else image
        past = generator.past_from_images(image.expand(-1, context, -1, -1, -1), scales=scales)
    for start in range(begin, length, segment):
        stop = min(start + segment, length)
        # The first label map stands in for those before the clip.
        window = torch.arange(start - context, stop, device=next(iter(condition.values())).device).clamp(min=0)
        part = {k: v[:, window] for k, v in condition.items()}
        with amp():
            output = generator(
                encoder.encode(part),
                past=past,
                foreground=encoder.foreground_mask({k: v[:, start:stop] for k, v in condition.items()}),
                scales=scales,
                first=start == 0 and first_frame is not FirstFrame.image,
            )
        past = output.past if context else None
        for name, values in pieces.items():
            value = getattr(output, name)
            if value is not None:
                values.append(value.float())
    return {name: torch.cat(values, dim=1) for name, values in pieces.items() if values}


def evaluate_clips(
    generator: Generator,
    encoder: SourceEncoder,
    loader: Iterable[dict[str, Any]],
    *,
    device: torch.device,
    amp: Callable[[], AbstractContextManager[Any]] = nullcontext,
    first_frame: FirstFrame = FirstFrame.model,
    scales: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    image_metrics: Sequence[ImageMetric] = (),
) -> dict[str, tuple[float, float]]:
    """Generate every clip of a loader and measure it.

    Args:
        loader: collated samples (see `generate_clip`) with ``images`` and, where there is reference flow, ``flow`` and
            ``confidence``; ``weight`` (B,), if present, is 0 for clips that only fill up the last batch.
        should_stop: polled between batches; True returns what was measured so far.
        image_metrics: are fed every counted clip; the caller reads them.

    Returns:
        Metric -> (sum, weight) over this process's share; the value is sum / weight after adding over processes.
        ``psnr`` [dB], ``ssim``, ``l1`` (pixels in 0..1), ``sharpness`` at each clip's last frame and ``sharpness_all``
        over all frames (1: as sharp as real), ``frames_per_s`` of generation on one process; ``mask_mean``, the share
        of hallucination, for generators with flow; ``warp_error`` and ``warp_error_real`` for data with reference
        flow. Frames that ``first_frame=real`` echoed are not measured.

    Raises:
        DataError: the data has no real images, or clips too short for ``first_frame=real``.
    """
    names = ["psnr", "ssim", "l1", "sharpness", "sharpness_all", "frames_per_s"]
    if encoder.model.flow and encoder.model.past_frames:
        names.append("mask_mean")
    if encoder.data.flow is not FlowMethod.none:
        names += ["warp_error", "warp_error_real"]
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
            raise DataError(f"first_frame=real needs clips of more than {skip} frames; raise data.val_frames")
        weights = host_batch["weight"].tolist() if "weight" in host_batch else [1.0] * len(batch["images"])
        if not any(weights):
            continue
        _synchronize(device)
        begin = time.perf_counter()
        made = generate_clip(generator, encoder, batch, amp=amp, first_frame=first_frame, scales=scales)
        _synchronize(device)
        seconds = time.perf_counter() - begin
        # Clips that only fill up were generated too: their frames belong to the time.
        generated = made["frames"][:, skip:].shape[0] * made["frames"][:, skip:].shape[1]
        totals["frames_per_s"] += torch.tensor([generated, seconds], dtype=torch.float64, device=device)
        for i, weight in enumerate(weights):
            if not weight:
                continue
            clip = {name: value[i] for name, value in made.items()} | {"real": batch["images"][i]}
            if "flow" in batch:
                clip["reference"], clip["confidence"] = batch["flow"][i], batch["confidence"][i]
            for name, pair in _measure(clip, skip).items():
                if name in totals:
                    totals[name] += weight * torch.stack(pair)
            for metric in image_metrics:
                metric.update(float_to_images(clip["frames"][skip:]), clip["real"][skip:])
    values = torch.stack(list(totals.values())).tolist()
    return {name: (total, weight) for name, (total, weight) in zip(totals, values, strict=True)}


@torch.inference_mode()
def _measure(clip: dict[str, Tensor], skip: int) -> dict[str, metrics.Pair]:
    """All metrics of one clip; the first ``skip`` frames are real and only serve as history."""
    # Through bytes, as a viewer gets them; the real frames are bytes as well.
    generated = float_to_images(clip["frames"]).float() / 255
    real = clip["real"].float() / 255
    pairs = {
        "psnr": metrics.psnr(generated[skip:], real[skip:]),
        "ssim": metrics.ssim(generated[skip:], real[skip:]),
        "l1": metrics.l1(generated[skip:], real[skip:]),
        "sharpness": metrics.sharpness(generated[-1:], real[-1:]),
        "sharpness_all": metrics.sharpness(generated[skip:], real[skip:]),
    }
    if "mask" in clip:
        mask = clip["mask"][0 if skip else 1 :].double()  # the first frame of all is hallucination, whatever the mask
        pairs["mask_mean"] = mask.sum(), torch.full_like(mask.sum(), mask.numel())
    if "reference" in clip:
        confidence = clip["confidence"].clone()
        confidence[:skip] = 0
        pairs["warp_error"] = metrics.warping_error(generated, clip["reference"], confidence)
        pairs["warp_error_real"] = metrics.warping_error(real, clip["reference"], confidence)
    return pairs


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
