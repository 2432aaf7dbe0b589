"""Evaluation of a run from its directory: which clips, the table of figures, ``eval.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.records.evaluation import write_evaluation
from vid2vid.config import DataConfig, FirstFrame
from vid2vid.evaluate.clip_metrics import ClipMetric
from vid2vid.evaluate.image_metrics import ImageMetric
from vid2vid.evaluate.measure import Counted, evaluate_clips
from vid2vid.evaluate.measured_clips import measured_clips
from vid2vid.evaluate.metrics import METRICS, Metric
from vid2vid.evaluate.provenance import file_name
from vid2vid.evaluate.style_contrast import style_contrast
from vid2vid.evaluate.styling import Styled, styled
from vid2vid.trained import LoadedRun


@dataclass(frozen=True)
class Evaluation:
    """Figures of a run.

    Attributes:
        values: metric -> number; metrics that could not be measured are absent.
        clips, frames: how many clips, and frames in all, were generated.
        start: how the clips began, in words.
        scope: which footage it was, and how much of it was skipped, in words; empty for all of the run's own split.
        facts: what the figures are of, flat (`vid2vid.evaluate.provenance`).
        requested: what differs from the run's own evaluation.
        rows: of the table, beside `METRICS`: figures whose names depend on what they were measured with.
        remarks: lines below the table.
    """

    values: dict[str, float]
    clips: int
    frames: int
    start: str
    scope: str = ""
    facts: dict[str, str | int | float] = field(default_factory=dict)
    requested: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Metric] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def evaluate_run(
    run: LoadedRun,
    *,
    split: str = "val",
    clips: int | None = None,
    frames: int | None = None,
    first_frame: FirstFrame | None = None,
    own: DataConfig | None = None,
    image_metrics: Sequence[ImageMetric] = (),
    clip_metrics: Sequence[ClipMetric] = (),
    style: Styled | None = None,
    wrap: Callable[[Any], Iterable[dict[str, Any]]] = lambda loader: loader,
) -> Evaluation:
    """Generate a split's clips and measure them.

    Args:
        run: see ``load_generator``.
        split: ``val``, ``test`` or ``train``.
        clips: at most so many; None: all.
        frames: length of the clips; None: ``data.val_frames``.
        first_frame: None: the run's own ``model.first_frame``.
        own: the data that the run was trained on: other footage is measured as a whole, none of it was seen. None: the
            data are the run's own.
        image_metrics: FID, KID, LPIPS (`vid2vid.evaluate.image_metrics`).
        clip_metrics: what looks at clips in order (`vid2vid.evaluate.chosen`).
        style: whose vectors instances have; None: E's of the real frames, for a run with a feature encoder.
        wrap: around the loader, to show progress.

    Raises:
        ConfigError, DataError: arguments or data that cannot be used.
    """
    chosen = measured_clips(run, split, frames, clips, first_frame, own)
    style = styled(run) if style is None else style
    start = chosen.config.model.first_frame
    counted = Counted(wrap(chosen.loader))
    pairs = evaluate_clips(
        run.generator,
        run.encoder,
        counted,
        compute=run.compute,
        first_frame=start,
        scales=run.scales,
        styles=style.styling,
        image_metrics=image_metrics,
        clip_metrics=clip_metrics,
    )
    values = {name: total / weight for name, (total, weight) in pairs.items() if weight}
    of_images = {metric.name: metric.compute() for metric in image_metrics}
    values |= {name: value for name, value in of_images.items() if not math.isnan(value)}
    rows = {name: row for metric in clip_metrics for name, row in metric.rows.items()}
    for clip_metric in clip_metrics:
        values |= clip_metric.compute()
    if style.pair is not None:
        contrast = style_contrast(
            run.generator,
            run.encoder,
            wrap(chosen.loader),
            style.pair,
            compute=run.compute,
            first_frame=start,
            scales=run.scales,
        )
        values, rows = values | contrast.values(), rows | contrast.rows()
    words = {
        FirstFrame.model: "generated freely from no real frame",
        FirstFrame.zeros: "generated freely from mid-grey frames",
        FirstFrame.real: f"generated after {chosen.config.model.past_frames} real frames",
        FirstFrame.image: "generated from another real frame of the sequence as picture",
    }
    of = chosen.facts(counted) | ({"style": style.fact} if style.fact else {})
    for clip_metric in clip_metrics:
        of |= clip_metric.facts()
    remarks = [
        f"{METRICS[name].title} is not measured: it needs at least 2 frames: give more clips, or frames=2"
        for name, value in of_images.items()
        if math.isnan(value)
    ]
    remarks += [line for metric in clip_metrics for line in metric.lines()]
    begun = words[start] + (f", style={style.fact}" if style.fact else "")
    requested = chosen.requested | style.requested
    scope = chosen.scope(counted)
    return Evaluation(values, counted.clips, counted.frames, begun, scope, of, requested, rows, remarks)


def format_table(result: Evaluation) -> str:
    """Figures as text, the generated and the real video side by side."""
    lines = [
        f"{result.clips} clips, {result.frames} frames{f' ({result.scope})' if result.scope else ''}, {result.start}",
        f"{'':<26}{'generated':>12}{'real':>12}",
    ]
    for name, metric in (METRICS | result.rows).items():
        if name not in result.values:
            continue
        other = result.values.get(metric.real) if isinstance(metric.real, str) else metric.real
        real = "" if other is None else _number(other)
        lines.append(f"{metric.title:<26}{_number(result.values[name]):>12}{real:>12}")
    return "\n".join([*lines, *result.remarks])


def write_eval(run_dir: Path, result: Evaluation, run: LoadedRun) -> Path:
    """Write ``eval.json``: metric -> number, with ``step``, ``samples_seen`` and what the figures are of.

    An evaluation of anything but the run's own validation clips, as it was trained to generate them, goes to a file of
    its own beside it (`vid2vid.evaluate.provenance`). Whole or not at all.
    """
    facts = {"step": run.step, "samples_seen": run.samples_seen, "checkpoint": str(run.checkpoint), **result.facts}
    if result.requested:
        facts["asked"] = " ".join(f"{key}={value}" for key, value in result.requested.items())
    path = run_dir / file_name(result.requested)
    write_evaluation(path, result.values, facts)
    return path


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
