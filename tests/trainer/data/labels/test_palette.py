"""The colours of the Cityscapes classes."""

import numpy as np

from trainer.data.labels.palette import CLASSES, PALETTE, colorize


def test_palette() -> None:
    assert PALETTE.shape == (256, 3) and PALETTE.dtype == np.uint8
    assert PALETTE[7].tolist() == [128, 64, 128] and PALETTE[26].tolist() == [0, 0, 142]
    assert set(CLASSES) == set(range(34))
    labels = np.array([[[7, 23], [-1, 300]]])
    painted = colorize(labels)
    assert painted.shape == (1, 3, 2, 2)
    assert painted[0, :, 0, 1].tolist() == [70, 130, 180]
    assert not painted[0, :, 1].any()
