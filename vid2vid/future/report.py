"""A future evaluation as a table, as CSV and JSON, and as curves over the distance."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from trainer.files import replace_file, write_json
from vid2vid.evaluate.provenance import OWN, file_name
from vid2vid.future.evaluate import METHODS, SCORES, FutureEvaluation

COLOURS = {"predicted": "#b5179e", "last_frame": "#555555", "flow": "#2a6fdb", "true_labels": "#2a9d5c"}


def format_future(result: FutureEvaluation) -> str:
    """Figures as text: a block for each score, a row for each distance, a column for each method."""
    lines = [f"{result.clips} clips, {result.observed} frames observed, {result.predict} predicted"]
    for score, title in SCORES.items():
        columns = result.scores.get(score)
        if columns is None:
            continue
        lines.append(f"{title:<12}" + "".join(f"{METHODS[method]:>24}" for method in METHODS if method in columns))
        for k in range(result.predict):
            cells = "".join(f"{columns[method][k]:>24.4g}" for method in METHODS if method in columns)
            lines.append(f"  {f't+{k + 1}':<10}{cells}")
    better = result.beaten()
    where = "nowhere" if not better else "at " + ", ".join(f"t+{k}" for k in better)
    lines.append(f"more PSNR than the last frame copied: {where}")
    return "\n".join(lines)


def write_future(
    run_dir: Path, predictor: str, result: FutureEvaluation, facts: Mapping[str, str | int | float]
) -> Path:
    """``future-PREDICTOR-N.csv`` with ``.json`` and ``.png`` beside it, whole or not at all; returns the first.

    Other clips than the run's own validation clips give other files, as `vid2vid.evaluate.provenance` names them.

    Args:
        run_dir: the renderer's.
        predictor: the predictor's run directory.
        facts: further ones, for the JSON.
    """
    name = f"future-{Path(predictor).resolve().name}-{result.predict}"
    extra = file_name(result.requested)
    stem = name if extra == OWN else name + extra.removeprefix("eval").removesuffix(".json")
    table = run_dir / f"{stem}.csv"
    scores = [score for score in SCORES if score in result.scores]

    def write_table(place: Path) -> None:
        with place.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["frame", "method", *scores])
            for k in range(result.predict):
                for method in METHODS:
                    cells = [result.scores[score].get(method) for score in scores]
                    writer.writerow([f"t+{k + 1}", method, *("" if x is None else f"{x[k]:.6g}" for x in cells)])

    replace_file(table, write_table)
    write_json(run_dir / f"{stem}.json", {"scores": result.scores, **facts, **result.facts})
    _draw(result, run_dir / f"{stem}.png")
    return table


def _draw(result: FutureEvaluation, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scores = [score for score in SCORES if score in result.scores]
    figure, axes = pyplot.subplots(
        1, len(scores), figsize=(4.2 * len(scores), 3.6), layout="constrained", squeeze=False
    )
    ahead = range(1, result.predict + 1)
    for axis, score in zip(axes.flat, scores, strict=True):
        for method, values in result.scores[score].items():
            style = "--" if method == "true_labels" else "-"
            axis.plot(ahead, values, style, color=COLOURS[method], label=METHODS[method], marker=".", lw=1.4)
        axis.set(title=SCORES[score], xlabel="frames ahead")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    replace_file(path, lambda place: figure.savefig(place, dpi=110, format="png"))
    pyplot.close(figure)
