"""The segmenter's U-Net."""

from __future__ import annotations

import pytest
import torch

from vid2vid.segmenter.network import UNet


def test_half_a_million_parameters_by_hand() -> None:
    """Two 3x3 convolutions and two normalisations (2 w each) a level, the second half after joining; a 1x1 head."""
    levels = [(3, 16), (16, 32), (32, 64), (64, 128), (128 + 64, 64), (64 + 32, 32), (32 + 16, 16)]
    expected = sum(9 * before * width + 9 * width * width + 4 * width for before, width in levels) + 16 * 7 + 7
    found = sum(parameter.numel() for parameter in UNet(7).parameters())
    assert found == expected and 400_000 < found < 600_000


@pytest.mark.parametrize("size", [(32, 64), (35, 61), (5, 3)])
def test_any_size_and_each_frame_by_itself(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = UNet(3, (8, 16)).eval()
    frames = torch.rand(2, 3, *size) * 2 - 1
    with torch.inference_mode():
        together, alone = network(frames), network(frames[1:])
    assert together.shape == (2, 3, *size)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)
