"""The picture of what is to be expected of many GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

from trainer.benchmark.scaling import PAYS, STRATEGIES, Job, Network, efficiency

COUNTS = [2**power for power in range(0, 11)]


def draw(path: Path, jobs: Mapping[str, Job], network: Network) -> None:
    """A diagram for each job: efficiency over the number of GPUs, a line for each strategy.

    Args:
        path: .png or .svg; its folder is made.
    """
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(1, len(jobs), figsize=(4.2 * len(jobs), 3.6), sharey=True, squeeze=False)
    for axes, (name, job) in zip(all_axes[0], jobs.items(), strict=True):
        for strategy, style in zip(STRATEGIES, ("-", "--", "-.", ":"), strict=True):
            shares = [100 * efficiency(job, network, strategy, count) for count in COUNTS]
            axes.plot(COUNTS, shares, style, label=strategy, linewidth=2)
        axes.axhline(100 * PAYS, color="gray", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"])
        axes.set_ylim(0, 103)
        axes.set_xlabel("GPUs")
        axes.set_title(f"{name}: {job.parameters / 1e6:.0f} M, {job.step_s * 1e3:.0f} ms", fontsize=10)
        axes.grid(alpha=0.3)
    all_axes[0][0].set_ylabel("share of the time that is computing [%]")
    all_axes[0][0].legend(loc="lower left")
    figure.suptitle(network.name, fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
