"""What comes of the trainings: figures of each, the table, the contact sheet and the video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.files import write_text
from trainer.records.progress import Progress
from vid2vid.ablations.check import FIGURES, SEGMENTER, stored
from vid2vid.ablations.measure import matched_ratio, measure
from vid2vid.ablations.table import as_csv, as_markdown, differences, rows
from vid2vid.ablations.variants import Job, Table
from vid2vid.ablations.video import write_comparison
from vid2vid.config import SourceKind, Vid2VidConfig
from vid2vid.trained import load_generator


def segmenter_of(given: str | None, steps: int, run: Path, schemas: Schemas, say: Callable[[str], None]) -> Path | None:
    """The segmenter that all runs are measured with: given, or trained once beside them; None without label maps."""
    from vid2vid.segmenter import command

    config: Vid2VidConfig = load_run(run, schemas)
    if config.model.source is SourceKind.image:
        return None
    path = run.parent / SEGMENTER if given is None else Path(given)
    if given is None and not path.exists():
        command.run(command.Arguments(str(path), str(run), steps), schemas, say)
    return path


def write_outcome(
    table: Table,
    jobs: Sequence[Job],
    length: str,
    segmenter: Path | None,
    schemas: Schemas,
    out: Path,
    say: Callable[[str], None],
    *,
    frames: int,
    zoom: int,
    sheet: Sequence[int],
) -> None:
    """Measure what is trained, and write ``ablations.md``, ``.csv``, ``.png`` and ``.mp4``.

    Args:
        jobs: those that are trained.
        length: of each training, in words.
        segmenter: to measure with; None: data without label maps.
        out: folder.
        frames, zoom, sheet: of the video and the contact sheet.

    Raises:
        UserError: runs or data that cannot be used.
    """
    figures = _measured(table, jobs, segmenter, schemas)
    titles = {job.variant.title: job.variant.name for job in jobs}
    titled = {title: figures[name] for title, name in titles.items()}
    seeds = {title: [job.seed for job in jobs if job.variant.name == name] for title, name in titles.items()}
    told = f"mean ± half of the 95 % t-interval over seeds; {length} each, {len(jobs)} trainings"
    if "matched_ratio" in table.columns:
        told += "; equal sharpness: the sharper of both is blurred until it is"
    text = as_markdown(rows(titled, table.columns))
    reference = next((title for title, name in titles.items() if name == table.reference), "")
    if paired := differences(titled, seeds, reference, table.columns):
        told += (
            f"\n\nDifferences to {reference}, run by run of the same seed; bold: the 95 % interval is clear of zero\n\n"
        )
        told += as_markdown(paired)
    write_text(out / "ablations.md", f"{text}\n\n{told}\n")
    write_text(out / "ablations.csv", as_csv(titled, seeds))
    lowest = min(job.seed for job in jobs)
    shown = [job for job in jobs if job.seed == min(seeds[job.variant.title])]  # each row by its first seed
    others = {job.variant.title: f", seed {job.seed}" for job in shown if job.seed != lowest}
    runs = {job.variant.title + others.get(job.variant.title, ""): job.folder for job in shown}
    with Progress("run", len(runs), "video") as progress:
        video = write_comparison(runs, schemas, out, frames, zoom, sheet, progress.show)
    say(f"\n{text}\n\n{told}")
    say(f"written to {out / 'ablations.md'}, ablations.csv, {video.name} and {video.with_suffix('.png').name}")


def _measured(
    table: Table, jobs: Sequence[Job], segmenter: Path | None, schemas: Schemas
) -> dict[str, list[dict[str, float]]]:
    """Variant -> figures of its seeds, those relative to the reference of the same seed among them."""
    raw: dict[tuple[str, int], dict[str, Any]] = {}
    with Progress("run", len(jobs), "evaluation") as progress:
        for number, job in enumerate(jobs, 1):
            kept = job.folder / FIGURES
            if kept.is_file():
                raw[job.variant.name, job.seed] = stored(kept)
            else:
                loaded = load_generator(load_run(job.folder, schemas), job.folder)
                raw[job.variant.name, job.seed] = measure(loaded, segmenter, job.folder)
            progress.show(number)
    found: dict[str, list[dict[str, float]]] = {job.variant.name: [] for job in jobs}
    for (name, seed), one in raw.items():
        own = {key: float(value) for key, value in one.items() if isinstance(value, int | float)}
        reference = raw.get((table.reference, seed))
        if reference is not None:
            own["ratio"] = one["warp_error"] / reference["warp_error"]
            own["matched_ratio"] = matched_ratio(one["curve"], reference["curve"])
        if "miou" in one:
            own["miou_share"] = one["miou"] / one["miou_real"]
        found[name].append(own)
    return found
