"""The chart of shape biases: a row for each class, a point for each classifier, and its mean as a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vit.analysis.shape.shape_counts import ShapeCounts
from vit.evaluate.plots import drawn, new_figure

_MARKS = "osD^vP*X"


@dataclass(frozen=True)
class Biased:
    """A classifier's name in the legend and its answers."""

    name: str
    counts: ShapeCounts


def bias_chart(classes: Sequence[str], found: Sequence[Biased]) -> Tensor:
    """As Figure 4 of Geirhos et al. (2019): who decides by texture is on the left, who does by shape on the right.

    Args:
        classes: names, by number.
        found: at least one.

    Returns:
        (H, W, 3) uint8.
    """
    shown = [k for k in range(len(classes)) if any(one.counts.decided(k) for one in found)]
    high = 1.3 + 0.26 * len(shown) + 0.22 * len(found)
    figure = new_figure(7.2, high)
    bottom = (0.85 + 0.22 * len(found)) / high
    axes = figure.add_axes((0.19, bottom, 0.77, 1 - bottom - 0.4 / high))
    for number, one in enumerate(found):
        colour, mark = f"C{number % 10}", _MARKS[number % len(_MARKS)]
        rows = [row for row, k in enumerate(shown) if one.counts.decided(k)]
        offset = 0.5 * ((number + 0.5) / len(found) - 0.5)  # side by side where they agree
        axes.plot(
            [one.counts.bias(shown[row]) for row in rows], [row + offset for row in rows], mark, color=colour,
            markersize=5, alpha=0.85, linestyle="none",
        )  # fmt: skip
        mean, low, high_end = one.counts.mean_bias()
        axes.axvspan(low, high_end, color=colour, alpha=0.13, linewidth=0)
        axes.axvline(mean, color=colour, linewidth=1.6)
        told = f"{one.name}: {mean:.2f} [{low:.2f}, {high_end:.2f}]"
        axes.plot([], [], f"{mark}-", color=colour, markersize=5, linewidth=1.6, label=told)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(shown) - 0.4, -0.6))
    axes.set_yticks(range(len(shown)), [classes[k] for k in shown], fontsize=8)
    axes.set_xlabel("shape bias: shape answers / (shape or texture answers)", fontsize=9)
    axes.grid(alpha=0.25)
    figure.text(0.19, 1 - 0.22 / high, "← decides by texture", fontsize=9, va="center")
    figure.text(0.96, 1 - 0.22 / high, "decides by shape →", fontsize=9, va="center", ha="right")
    figure.legend(loc="lower left", bbox_to_anchor=(0.17, 0.0), fontsize=8, frameon=False,
                  title="class mean with 95 % interval", title_fontsize=8, alignment="left")  # fmt: skip
    return drawn(figure)
