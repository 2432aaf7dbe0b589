"""Measures of generated video, each a pair (sum, weight) so that adding pairs over clips and processes is exact.

Frames are (T, 3, H, W) float in 0..1, at least one of them, and are looked at one by one: memory does not grow with T.
A metric's value is sum / weight. Sums are 0-dimensional float64 tensors on the frames' device, so that nothing waits
for it; `measure` reads them once, at the end. ``METRICS``, at the end, lists all figures of an evaluation.

No measure stands alone: the warping error falls when a video dissolves into blur, so it is read beside the real video's
own warping error and beside sharpness.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vid2vid.model.warp import warp

Pair = tuple[Tensor, Tensor]

PSNR_FLOOR = 1e-10  # mean squared error below which frames count as equal: 100 dB


def l1(generated: Tensor, real: Tensor) -> Pair:
    """Mean absolute difference of pixels; weight: frames."""
    return _total(torch.stack([(a - b).abs().mean() for a, b in zip(generated, real, strict=True)]))


def psnr(generated: Tensor, real: Tensor) -> Pair:
    """Peak signal-to-noise ratio in dB, averaged over frames (100 where frames are equal); weight: frames."""
    errors = [(a.double() - b.double()).square().mean() for a, b in zip(generated, real, strict=True)]
    return _total(-10.0 * torch.log10(torch.stack(errors).clamp(min=PSNR_FLOOR)))


def ssim(generated: Tensor, real: Tensor, window: int = 11, sigma: float = 1.5) -> Pair:
    """Structural similarity (Wang et al. 2004) averaged over channels, window positions and frames; weight: frames.

    The Gaussian window is 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, and only positions inside the frame count, as in
    the paper (some implementations also count windows over mirrored borders, which changes the third decimal). Frames
    smaller than the window are measured with the largest odd window that fits.

    In fp64, also on a GPU: the variances are differences of nearly equal numbers, which fp32 gets wrong in flat
    regions. Frame by frame, so the memory does not grow with their number.
    """
    size = min(window, *(side - 1 + side % 2 for side in real.shape[-2:]))
    offsets = [i - size // 2 for i in range(size)]
    weights = [math.exp(-(offset**2) / (2 * sigma**2)) for offset in offsets]
    kernel = [weight / sum(weights) for weight in weights]
    return _total(torch.stack([_ssim(a, b, kernel) for a, b in zip(generated, real, strict=True)]))


def _ssim(generated: Tensor, real: Tensor, kernel: list[float]) -> Tensor:
    """Mean over channels and positions of one frame, (3, H, W)."""
    generated, real = generated.double(), real.double()
    mean_g, mean_r = _blur(generated, kernel), _blur(real, kernel)
    var_g, var_r = _blur(generated * generated, kernel) - mean_g**2, _blur(real * real, kernel) - mean_r**2
    covariance = _blur(generated * real, kernel) - mean_g * mean_r
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_g * mean_r + c1) / (mean_g**2 + mean_r**2 + c1)
    structure = (2 * covariance + c2) / (var_g + var_r + c2)
    return (luminance * structure).mean()


def _blur(x: Tensor, kernel: list[float]) -> Tensor:
    """Separable convolution inside the frame, as a sum of shifted frames: 16 times as fast as ``conv2d`` in fp64."""
    for dimension in (-2, -1):
        length = x.shape[dimension] - len(kernel) + 1
        total = x.narrow(dimension, 0, length) * kernel[0]
        for offset, weight in enumerate(kernel[1:], 1):
            total.add_(x.narrow(dimension, offset, length), alpha=weight)
        x = total
    return x


def warping_error(frames: Tensor, flow: Tensor, confidence: Tensor) -> Pair:
    """Temporal warping error: mean of |x_t - warp(x_{t-1}, flow_t)| over the pixels whose flow is trusted.

    Args:
        frames: (T, 3, H, W) in 0..1.
        flow: (T, 2, H, W) backward flow in pixels, x_t -> x_{t-1}; entry 0 is not used.
        confidence: (T, 1, H, W), 1 where trusted; entry 0 is not used.

    Returns:
        Difference averaged over channels and summed over trusted pixels; weight: trusted pixels.
    """
    total = torch.zeros((), dtype=torch.float64, device=frames.device)
    weight = total.clone()
    for t in range(1, len(frames)):
        warped = warp(frames[t - 1 : t], flow[t : t + 1].to(frames.dtype))
        difference = (frames[t : t + 1] - warped).abs().mean(1, keepdim=True)
        trusted = (confidence[t : t + 1] > 0).double()
        total += (difference.double() * trusted).sum()
        weight += trusted.sum()
    return total, weight


def gradient_magnitude(frames: Tensor) -> Tensor:
    """Mean length of the image gradient (forward differences, per channel): (T, 3, H, W) -> (T,) float64."""
    return torch.stack([_gradient(frame.double()) for frame in frames])


def _gradient(frame: Tensor) -> Tensor:
    dx = frame[:, :-1, 1:] - frame[:, :-1, :-1]
    dy = frame[:, 1:, :-1] - frame[:, :-1, :-1]
    return (dx.square() + dy.square()).sqrt().mean()


def sharpness(generated: Tensor, real: Tensor) -> Pair:
    """Gradient magnitude of the generated frames relative to the real ones'.

    1 is as sharp as real, below is blur, above is noise. The pair is (sum over generated, sum over real), so that the
    value over several clips is the ratio of means.
    """
    return gradient_magnitude(generated).sum(), gradient_magnitude(real).sum()


NEIGHBOURS = 4  # frequencies below the highest one that `period_2` compares with


def period_2(frames: Tensor) -> Pair:
    """Energy along the rows at a period of 2 pixels, relative to the mean of the `NEIGHBOURS` frequencies below it.

    A transposed convolution leaves columns that differ by turns (Odena et al. 2016): 1 in white noise and about 1 in
    photographs and renderings, above where there is such a pattern. The pair is (sum over frames at period 2, the
    same of the neighbours' mean), so that the value over several clips is the ratio of means.

    Args:
        frames: (T, 3, H, W); of an odd width the last column is left out. Narrower than 2 * `NEIGHBOURS` + 4 pixels
            there is nothing to compare with: the pair is zeros.
    """
    width = frames.shape[-1] // 2 * 2
    zero = torch.zeros((), dtype=torch.float64, device=frames.device)
    if width < 2 * NEIGHBOURS + 4:
        return zero, zero
    top = [torch.fft.rfft(frame[..., :width].double())[..., -1 - NEIGHBOURS :] for frame in frames]
    energy = torch.stack([x.abs().square().mean((0, 1)) for x in top]).sum(0)
    return energy[-1], energy[:-1].mean()


def _total(per_frame: Tensor) -> Pair:
    return per_frame.double().sum(), torch.full((), float(len(per_frame)), dtype=torch.float64, device=per_frame.device)


@dataclass(frozen=True)
class Metric:
    """A figure of an evaluation.

    Attributes:
        title: in the table of figures.
        real: the real video's value: a number, the name of another figure, or None.
        of_frames: its pair from generated and real frames, (T, 3, H, W) in 0..1, where all frames are measured alike;
            None: `measure` or an image metric knows how.
        larger: whether larger is better, of figures that the best checkpoint can be chosen by.
    """

    title: str
    real: float | str | None = None
    of_frames: Callable[[Tensor, Tensor], Pair] | None = None
    larger: bool | None = None


# By name in eval.json, in the order of the table.
METRICS = {
    "psnr": Metric("PSNR [dB]", None, psnr, larger=True),
    "ssim": Metric("SSIM", 1.0, ssim, larger=True),
    "l1": Metric("L1 (pixels 0..1)", 0.0, l1, larger=False),
    "warp_error": Metric("temporal warping error", "warp_error_real", larger=False),
    "sharpness": Metric("sharpness, last frame", 1.0),
    "sharpness_all": Metric("sharpness, all frames", 1.0),
    "sharpness_hallucination": Metric("sharpness, hallucination", 1.0),
    "period_2": Metric("energy at period 2", "period_2_real"),
    "miou": Metric("label mIoU", "miou_real"),
    "pixel_accuracy": Metric("label pixel accuracy", "pixel_accuracy_real"),
    "sharpness_drift": Metric("sharpness drift", 1.0),
    "colour_drift": Metric("colour drift (0..1)", 0.0),
    "mask_mean": Metric("share of hallucination"),
    "fid": Metric("FID", 0.0),
    "kid": Metric("KID", 0.0),
    "lpips": Metric("LPIPS", 0.0),
    "tlp": Metric("tLP", 0.0),
    "tof": Metric("tOF [pixels]", 0.0),
    "frames_per_s": Metric("frames/s"),
}
OF_FRAMES = {name: metric.of_frames for name, metric in METRICS.items() if metric.of_frames is not None}
