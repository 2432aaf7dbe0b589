"""Colours of the 34 Cityscapes classes (Cordts et al., CVPR 2016; public definition in cityscapesScripts' labels)."""

from __future__ import annotations

import numpy as np

# id: (name, red, green, blue); ids 0..3 are black apart from 'dynamic' and 'ground'
CLASSES: dict[int, tuple[str, int, int, int]] = {
    0: ("unlabeled", 0, 0, 0),
    1: ("ego vehicle", 0, 0, 0),
    2: ("rectification border", 0, 0, 0),
    3: ("out of roi", 0, 0, 0),
    4: ("static", 0, 0, 0),
    5: ("dynamic", 111, 74, 0),
    6: ("ground", 81, 0, 81),
    7: ("road", 128, 64, 128),
    8: ("sidewalk", 244, 35, 232),
    9: ("parking", 250, 170, 160),
    10: ("rail track", 230, 150, 140),
    11: ("building", 70, 70, 70),
    12: ("wall", 102, 102, 156),
    13: ("fence", 190, 153, 153),
    14: ("guard rail", 180, 165, 180),
    15: ("bridge", 150, 100, 100),
    16: ("tunnel", 150, 120, 90),
    17: ("pole", 153, 153, 153),
    18: ("polegroup", 153, 153, 153),
    19: ("traffic light", 250, 170, 30),
    20: ("traffic sign", 220, 220, 0),
    21: ("vegetation", 107, 142, 35),
    22: ("terrain", 152, 251, 152),
    23: ("sky", 70, 130, 180),
    24: ("person", 220, 20, 60),
    25: ("rider", 255, 0, 0),
    26: ("car", 0, 0, 142),
    27: ("truck", 0, 0, 70),
    28: ("bus", 0, 60, 100),
    29: ("caravan", 0, 0, 90),
    30: ("trailer", 0, 0, 110),
    31: ("train", 0, 80, 100),
    32: ("motorcycle", 0, 0, 230),
    33: ("bicycle", 119, 11, 32),
}


def _palette() -> np.ndarray:
    """(256, 3) uint8: the classes' colours; other ids get distinct colours from a fixed hue walk, 255 is black."""
    ids = np.arange(256)
    bits = (ids[:, None] * np.array([97, 151, 211])) % 256
    table = (64 + bits * 3 // 4).astype(np.uint8)
    for index, (_, *rgb) in CLASSES.items():
        table[index] = rgb
    table[255] = 0
    return table


PALETTE = _palette()


def colorize(labels: np.ndarray) -> np.ndarray:
    """Paint class ids with the Cityscapes colours.

    Args:
        labels: (..., H, W) integer ids; ids outside 0..255 (ignore values) become black.

    Returns:
        (..., 3, H, W) uint8 RGB.
    """
    ids = np.asarray(labels)
    ids = np.where((ids < 0) | (ids > 255), 255, ids).astype(np.uint8)
    return np.moveaxis(PALETTE[ids], -1, -3)
