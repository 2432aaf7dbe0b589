"""Figures of all heads over the depth of networks, as in Figure 7 (right) of the ViT paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from vit.evaluate.plots import drawn, new_figure

NAMES = {
    "distance": "mean attention distance [pixels]",
    "entropy": "entropy of attention [nats]",
    "to_prefix": "share to class token and registers",
}


def heads_picture(panels: Mapping[str, Mapping[str, np.ndarray]]) -> Tensor:
    """A panel for each figure; in it a dot for each head, and for each network the line of the heads' mean.

    Args:
        panels: by the figure's name (of ``NAMES``) and the network's, (blocks, heads).

    Returns:
        (H, W, 3) uint8.
    """
    width = 4.0 * len(panels)
    figure = new_figure(width, 3.6)
    for number, (name, networks) in enumerate(panels.items()):
        axes = figure.add_axes((number / len(panels) + 0.55 / width, 0.14, 1 / len(panels) - 0.7 / width, 0.76))
        dots(axes, networks)
        axes.set_title(NAMES[name], fontsize=10)
        if number == 0:
            axes.legend(fontsize=8)
    return drawn(figure)


def dots(axes: Any, networks: Mapping[str, np.ndarray]) -> None:
    """The dots of heads (blocks, heads) over the block, and the line of their mean."""
    for number, (label, values) in enumerate(networks.items()):
        depth, heads = values.shape
        blocks = np.arange(1, depth + 1)
        shift = 0.12 * (number - (len(networks) - 1) / 2)  # of several networks, side by side
        axes.scatter(np.repeat(blocks, heads) + shift, values.ravel(), s=9, alpha=0.6, color=f"C{number}", linewidths=0)
        axes.plot(blocks, values.mean(axis=1), color=f"C{number}", linewidth=1.2, label=label)
    axes.set_xlabel("block", fontsize=9)
    axes.set_ylim(0, 1.06 * max(float(values.max()) for values in networks.values()) or 1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
