"""Measures of generated video, each a pair (sum, weight) so that adding pairs over clips and processes is exact.

Frames are (T, 3, H, W) float in 0..1. A metric's value is sum / weight. Sums are 0-dimensional float64 tensors on the
frames' device, so that nothing waits for it; `evaluation` reads them once, at the end.

No measure stands alone: the warping error falls when a video dissolves into blur, so it is read beside the real video's
own warping error and beside sharpness.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid.networks.warp import warp

Pair = tuple[Tensor, Tensor]

PSNR_FLOOR = 1e-10  # mean squared error below which frames count as equal: 100 dB


def l1(generated: Tensor, real: Tensor) -> Pair:
    """Mean absolute difference of pixels; weight: frames."""
    return _total((generated - real).abs().flatten(1).mean(1))


def psnr(generated: Tensor, real: Tensor) -> Pair:
    """Peak signal-to-noise ratio in dB, averaged over frames (100 where frames are equal); weight: frames."""
    error = (generated.double() - real.double()).square().flatten(1).mean(1)
    return _total(-10.0 * torch.log10(error.clamp(min=PSNR_FLOOR)))


def ssim(generated: Tensor, real: Tensor, window: int = 11, sigma: float = 1.5) -> Pair:
    """Structural similarity (Wang et al. 2004) averaged over channels, window positions and frames; weight: frames.

    The Gaussian window is 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, and only positions inside the frame count, as in
    the paper (some implementations also count windows over mirrored borders, which changes the third decimal). Frames
    smaller than the window are measured with the largest odd window that fits.
    """
    generated, real = generated.double(), real.double()
    size = min(window, *(side - 1 + side % 2 for side in real.shape[-2:]))
    offsets = torch.arange(size, dtype=torch.float64, device=real.device) - size // 2
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = kernel / kernel.sum()

    def blur(x: Tensor) -> Tensor:
        x = x.flatten(0, 1).unsqueeze(1)  # channels are independent
        return F.conv2d(F.conv2d(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1)).view(*real.shape[:2], -1)

    mean_g, mean_r = blur(generated), blur(real)
    var_g, var_r = blur(generated * generated) - mean_g**2, blur(real * real) - mean_r**2
    covariance = blur(generated * real) - mean_g * mean_r
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_g * mean_r + c1) / (mean_g**2 + mean_r**2 + c1)
    structure = (2 * covariance + c2) / (var_g + var_r + c2)
    return _total((luminance * structure).flatten(1).mean(1))


def warping_error(frames: Tensor, flow: Tensor, confidence: Tensor) -> Pair:
    """Temporal warping error: mean of |x_t - warp(x_{t-1}, flow_t)| over the pixels whose flow is trusted.

    Args:
        frames: (T, 3, H, W) in 0..1.
        flow: (T, 2, H, W) backward flow in pixels, x_t -> x_{t-1}; entry 0 is not used.
        confidence: (T, 1, H, W), 1 where trusted; entry 0 is not used.

    Returns:
        Difference averaged over channels and summed over trusted pixels; weight: trusted pixels.
    """
    if len(frames) < 2:
        zero = torch.zeros((), dtype=torch.float64, device=frames.device)
        return zero, zero.clone()
    difference = (frames[1:] - warp(frames[:-1], flow[1:].to(frames.dtype))).abs().mean(1, keepdim=True)
    trusted = (confidence[1:] > 0).double()
    return (difference.double() * trusted).sum(), trusted.sum()


def gradient_magnitude(frames: Tensor) -> Tensor:
    """Mean length of the image gradient (forward differences, per channel): (T, 3, H, W) -> (T,) float64."""
    frames = frames.double()
    dx = frames[..., :-1, 1:] - frames[..., :-1, :-1]
    dy = frames[..., 1:, :-1] - frames[..., :-1, :-1]
    return (dx.square() + dy.square()).sqrt().flatten(1).mean(1)


def sharpness(generated: Tensor, real: Tensor) -> Pair:
    """Gradient magnitude of the generated frames relative to the real ones'.

    1 is as sharp as real, below is blur, above is noise. The pair is (sum over generated, sum over real), so that the
    value over several clips is the ratio of means.
    """
    return gradient_magnitude(generated).sum(), gradient_magnitude(real).sum()


def _total(per_frame: Tensor) -> Pair:
    return per_frame.double().sum(), torch.full((), float(len(per_frame)), dtype=torch.float64, device=per_frame.device)
