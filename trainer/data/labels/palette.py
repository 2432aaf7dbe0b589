"""Colours of classes: of Cityscapes' 34 (Cordts et al., CVPR 2016; public definition in cityscapesScripts' labels), and
others."""

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


COLOURED = 7  # first id whose colour tells it from the others
_NO_CLASS = 255  # black in every palette


def _walk(first: int) -> np.ndarray:
    """(256, 3) uint8: distinct colours from a fixed hue walk that begins at ``first``."""
    bits = ((np.arange(256)[:, None] + first) * np.array([97, 151, 211])) % 256
    return (64 + bits * 3 // 4).astype(np.uint8)


def _palette(cityscapes: bool) -> np.ndarray:
    """(256, 3) uint8: colours of the hue walk, the classes' own where ids are Cityscapes'; 255 is black."""
    table = _walk(0 if cityscapes else 100)
    for index, (_, *rgb) in CLASSES.items() if cityscapes else ():
        table[index] = rgb
    table[_NO_CLASS] = 0
    return table


PALETTE = _palette(True)
OWN_PALETTE = _palette(False)  # of other ids, whose first ones would all be black


def seem_cityscapes(labels: np.ndarray) -> bool:
    """Whether ids may be Cityscapes': one of them at least is of a class that has a colour there."""
    ids = np.asarray(labels)
    return bool(((ids >= COLOURED) & (ids < _NO_CLASS)).any())


def colorize(labels: np.ndarray, cityscapes: bool = True) -> np.ndarray:
    """Paint class ids.

    Args:
        labels: (..., H, W) integer ids; ids outside 0..255 (ignore values) become black.
        cityscapes: with Cityscapes' colours; False: with others, none of which is black.

    Returns:
        (..., 3, H, W) uint8 RGB.
    """
    ids = np.asarray(labels)
    ids = np.where((ids < 0) | (ids > 255), _NO_CLASS, ids).astype(np.uint8)
    return np.moveaxis((PALETTE if cityscapes else OWN_PALETTE)[ids], -1, -3)
