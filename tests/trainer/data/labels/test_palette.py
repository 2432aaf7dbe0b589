"""The colours of the Cityscapes classes."""

import numpy as np

from trainer.data.labels.palette import CLASSES, OWN_PALETTE, PALETTE, colorize, seem_cityscapes


def test_palette() -> None:
    assert PALETTE.shape == (256, 3) and PALETTE.dtype == np.uint8
    assert PALETTE[7].tolist() == [128, 64, 128] and PALETTE[26].tolist() == [0, 0, 142]
    assert set(CLASSES) == set(range(34))
    labels = np.array([[[7, 23], [-1, 300]]])
    painted = colorize(labels)
    assert painted.shape == (1, 3, 2, 2)
    assert painted[0, :, 0, 1].tolist() == [70, 130, 180]
    assert not painted[0, :, 1].any()


def test_other_ids_have_colours_that_differ() -> None:
    """Cityscapes' first five classes are black; of other data only what has no class is."""
    labels = np.array([[0, 1, 2, 255]])
    assert not colorize(labels).any() and not seem_cityscapes(labels) and seem_cityscapes(np.array([0, 7]))
    painted = colorize(labels, cityscapes=False)[:, 0]
    assert painted.T.tolist() == [*OWN_PALETTE[:3].tolist(), [0, 0, 0]]
    assert len(np.unique(OWN_PALETTE, axis=0)) == 256 and OWN_PALETTE[:255].min() == 64
    near = np.abs(OWN_PALETTE[:21, None].astype(int) - OWN_PALETTE[None, :21]).sum(-1) + 999 * np.eye(21, dtype=int)
    assert near.min() > 20
