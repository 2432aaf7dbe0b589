"""Each metric against its definition computed slowly in numpy, and its accumulation over clips."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vid2vid.evaluate import metrics


def value(pair: metrics.Pair) -> float:
    return (pair[0] / pair[1]).item()


@pytest.fixture
def frames() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    real = torch.rand(3, 3, 20, 26, generator=random)
    return (real + 0.1 * torch.randn(real.shape, generator=random)).clamp(0, 1), real


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """One channel, window by window, two-dimensional Gaussian."""
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return float(np.mean(values))


def test_ssim_is_the_windowed_definition(frames: tuple[torch.Tensor, torch.Tensor]):
    a, b = (x.double().numpy() for x in frames)
    expected = np.mean([[slow_ssim(a[t, c], b[t, c]) for c in range(3)] for t in range(3)])
    assert value(metrics.ssim(*frames)) == pytest.approx(expected, abs=1e-9)
    assert value(metrics.ssim(frames[1], frames[1])) == pytest.approx(1)


def test_ssim_inside_the_frame_is_that_of_torchmetrics(frames: tuple[torch.Tensor, torch.Tensor]):
    image = pytest.importorskip("torchmetrics.functional.image", reason="the extra [eval]")
    _, full = image.structural_similarity_index_measure(
        frames[0].double(), frames[1].double(), data_range=1.0, return_full_image=True
    )
    # torchmetrics also counts windows that hang over the border, on mirrored pixels
    assert value(metrics.ssim(*frames)) == pytest.approx(full[..., 5:-5, 5:-5].mean().item(), abs=1e-9)


def ssim_of_all_frames_at_once(generated: torch.Tensor, real: torch.Tensor) -> float:
    """By convolutions, as it was computed before it went frame by frame."""
    kernel = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()

    def blur(x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(0, 1).unsqueeze(1)
        conv = torch.nn.functional.conv2d
        return conv(conv(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))

    g, r = generated.double(), real.double()
    mg, mr = blur(g), blur(r)
    vg, vr, cov = blur(g * g) - mg**2, blur(r * r) - mr**2, blur(g * r) - mg * mr
    values = (2 * mg * mr + 1e-4) * (2 * cov + 9e-4) / ((mg**2 + mr**2 + 1e-4) * (vg + vr + 9e-4))
    return float(values.mean())


def test_ssim_frame_by_frame_is_that_of_all_at_once(frames: tuple[torch.Tensor, torch.Tensor]):
    assert value(metrics.ssim(*frames)) == pytest.approx(ssim_of_all_frames_at_once(*frames), abs=1e-12)


def test_ssim_of_frames_smaller_than_the_window():
    real = torch.rand(1, 3, 6, 9)
    assert value(metrics.ssim(real, real)) == pytest.approx(1)


def test_psnr_and_l1(frames: tuple[torch.Tensor, torch.Tensor]):
    generated, real = (x.double().numpy() for x in frames)
    expected = np.mean([10 * math.log10(1 / np.mean((generated[t] - real[t]) ** 2)) for t in range(3)])
    assert value(metrics.psnr(*frames)) == pytest.approx(expected, abs=1e-6)
    assert value(metrics.l1(*frames)) == pytest.approx(np.abs(generated - real).mean(), abs=1e-6)
    assert value(metrics.psnr(frames[1], frames[1])) == pytest.approx(100)


def test_warping_error_of_a_shifted_texture_is_zero_where_trusted():
    texture = torch.rand(3, 16, 40)
    frames = torch.stack([texture[:, :, 2 * t : 2 * t + 24] for t in range(4)])  # everything moves left by 2
    flow = torch.zeros(4, 2, 16, 24)
    flow[1:, 0] = 2.0  # x_t(x) = x_{t-1}(x + 2)
    confidence = torch.ones(4, 1, 16, 24, dtype=torch.uint8)
    confidence[..., -2:] = 0  # came into view
    total, weight = metrics.warping_error(frames, flow, confidence)
    assert weight.item() == 3 * 16 * 22 and (total / weight).item() < 1e-6
    wrong = metrics.warping_error(frames, -flow, confidence)
    assert value(wrong) > 0.2


def test_warping_error_is_the_mean_over_trusted_pixels_of_the_channel_mean():
    frames = torch.zeros(2, 3, 4, 4)
    frames[1, 0, 0, 0] = 0.9  # channel mean 0.3 in one trusted pixel of two
    frames[1, :, 3, 3] = 1.0  # not trusted
    confidence = torch.zeros(2, 1, 4, 4)
    confidence[1, 0, 0, :2] = 1
    total, weight = metrics.warping_error(frames, torch.zeros(2, 2, 4, 4), confidence)
    assert total.item() == pytest.approx(0.3) and weight.item() == 2


def test_sharpness_is_relative_gradient():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    ramp = (0.03 * x + 0.04 * y).expand(2, 3, 8, 8)
    assert metrics.gradient_magnitude(ramp).tolist() == pytest.approx([0.05, 0.05])
    assert value(metrics.sharpness(ramp * 0.5, ramp)) == pytest.approx(0.5)


def test_blur_lowers_the_warping_error_and_the_sharpness():
    frames = torch.rand(4, 3, 16, 16)
    blurred = torch.nn.functional.avg_pool2d(frames, 5, 1, 2)
    flow, confidence = torch.zeros(4, 2, 16, 16), torch.ones(4, 1, 16, 16)
    assert value(metrics.warping_error(blurred, flow, confidence)) < value(
        metrics.warping_error(frames, flow, confidence)
    )
    assert value(metrics.sharpness(blurred, frames)) < 0.5


def test_pairs_add_up_exactly(frames: tuple[torch.Tensor, torch.Tensor]):
    for metric in (metrics.psnr, metrics.ssim, metrics.l1, metrics.sharpness):
        whole = metric(*frames)
        parts = [metric(frames[0][t : t + 1], frames[1][t : t + 1]) for t in range(3)]
        for k in range(2):
            assert sum(part[k].item() for part in parts) == pytest.approx(whole[k].item(), rel=1e-12)


def test_energy_at_period_2() -> None:
    """Of white noise all frequencies have the same; columns that differ by turns have it all in the highest one."""
    noise = 0.5 + 0.1 * torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert value(metrics.period_2(noise)) == pytest.approx(1, abs=0.1)
    # Variance 0.01 at each of 64 frequencies, over 64 columns: 64 * 0.01. Turns of +-d add (64 d)^2 to the highest.
    turns = noise + 0.02 * (1 - 2 * (torch.arange(64) % 2))
    assert value(metrics.period_2(turns)) == pytest.approx(1 + (64 * 0.02) ** 2 / 0.64, rel=0.1)
    rows = noise + 0.02 * (1 - 2 * (torch.arange(64) % 2))[:, None]
    assert value(metrics.period_2(rows)) == pytest.approx(1, abs=0.1), "columns are looked at"
    odd = torch.cat([turns, turns[..., :1]], dim=-1)
    assert value(metrics.period_2(odd)) == pytest.approx(value(metrics.period_2(turns)))
    assert [x.item() for x in metrics.period_2(noise[..., :10])] == [0, 0], "too narrow"
