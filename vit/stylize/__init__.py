"""Pictures and films in the style of others: statistics of features moved, by transforms that have a closed form.

Importing this loads no torch.
"""

from __future__ import annotations

from enum import Enum


class Transform(Enum):
    """How features are given another picture's statistics; the formulas are in ``vit.stylize.transforms``."""

    adain = "adain"  # mean and deviation of each channel (Huang and Belongie, 2017)
    wct = "wct"  # mean and covariance, by whitening and colouring (Li et al., 2017)
    ot = "ot"  # mean and covariance, by the map that moves features least (Lu et al., 2019)


class Statistics(Enum):
    """Of what a film's own statistics are taken."""

    film = "film"  # of all of it: one map for every frame
    window = "window"  # of the frames around each one
    frame = "frame"  # of each frame alone, which flickers
