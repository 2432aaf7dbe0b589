"""``scripts/ablations.py``: its arguments, and what it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.cli import compose, load_run
from trainer.config.schema import Schemas, show
from trainer.errors import ConfigError, refuse
from trainer.files import write_json, write_text
from trainer.parallel.trainings import train_all
from trainer.records.console_lines import format_time
from trainer.records.progress import Progress
from trainer.untrusted import plain_json
from vid2vid.ablations.variants import FULL, OWN_KEYS, VARIANTS, Job, jobs_of
from vid2vid.config import DataKind, FirstFrame, FlowMethod, Vid2VidConfig
from vid2vid.validate import problems

SEGMENTER, ASKED = "segmenter.safetensors", "ablations.json"


@dataclass
class Arguments:
    """the paper's ablations on the built-in street"""

    budget: str = "4m"  # time of each training: cheaper variants make more updates in it
    steps: int | None = None  # updates of each training, in place of a time: as many for every variant
    seeds: int = 3  # of each variant
    out: str = "runs/ablations"  # folder of the runs, the table and the video; again: goes on
    jobs: int = 1  # trainings side by side; on one machine they share its cores, and the time counts for each
    frames: int = 48  # of the video
    zoom: int = 2  # enlargement of the video
    segmenter_steps: int = 1000  # updates of the segmenter that measures mIoU
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Train, measure and show all variants; what is there already is not done again.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments that cannot be used; a training that failed.
    """
    for name, least in (("seeds", 1), ("jobs", 1), ("frames", 2), ("zoom", 1), ("segmenter_steps", 1), ("steps", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value}: must be at least {least}")
    out = Path(arguments.out).resolve()
    jobs = jobs_of(out, arguments.seeds)

    def words(job: Job) -> list[str]:
        return job.words(arguments.budget, arguments.steps, arguments.overrides)

    refuse(_own_keys(arguments.overrides))
    for job in jobs[: len(VARIANTS)]:
        config = compose(words(job), schemas)
        refuse([*problems(config), *_not_comparable(config)])
    trained = sum(job.trained for job in jobs)
    _same_as_before(arguments, out)
    length = arguments.budget if arguments.steps is None else f"{arguments.steps} updates"
    say(f"{len(jobs)} trainings of {length}, {trained} of them done, {arguments.jobs} at once, into {out}")
    began, done = time.monotonic(), [0]

    def ended(job: Job) -> None:
        done[0] += 1
        left = len(jobs) - trained - done[0]
        eta = (time.monotonic() - began) / done[0] * left
        say(f"{job.folder.name} is trained; {left} to go{f', ETA {format_time(eta)}' if left else ''}")

    train_all(
        jobs, lambda job: job.words(arguments.budget, arguments.steps, arguments.overrides), arguments.jobs, ended
    )
    segmenter = _segmenter(arguments, jobs[0], schemas, say)
    figures = _measured(jobs, segmenter, schemas)

    from vid2vid.ablations.table import as_csv, as_markdown, rows
    from vid2vid.ablations.video import write_comparison

    titled = {variant.title: figures[variant.name] for variant in VARIANTS}
    table = as_markdown(rows(titled))
    write_text(out / "ablations.md", table + "\n")
    write_text(out / "ablations.csv", as_csv(titled))
    first = {job.variant.title: job.folder for job in jobs if job.seed == 0}
    with Progress("frame", arguments.frames * len(first), "video") as progress:
        video = write_comparison(first, schemas, out, arguments.frames, arguments.zoom, progress.show)
    say(f"\n{table}\n")
    say("mean ± half of the 95 % t-interval over seeds; equal sharpness: the sharper of both is blurred until it is")
    say(f"written to {out / 'ablations.md'}, ablations.csv, {video.name} and {video.with_suffix('.png').name}")


def _own_keys(overrides: list[str]) -> list[str]:
    """A line for each setting that is not the user's here."""
    keys = {word: word.partition("=")[0].lstrip("+~") for word in overrides}
    return [f"{word}: {OWN_KEYS[key]}; leave it out" for word, key in keys.items() if key in OWN_KEYS]


def _not_comparable(config: Vid2VidConfig) -> list[str]:
    """A line for each setting with which the trainings would end in runs that this table cannot measure."""
    data, model = config.data, config.model
    checks = {
        f"data.kind={data.kind.value}: the table is of the built-in street; leave data out": (
            data.kind is not DataKind.street
        ),
        "data.flow=none: the warping error needs flow; leave it out": data.flow is FlowMethod.none,
        f"model.style_channels={model.style_channels}: styles are none of the ablations; leave it out": (
            model.style_channels > 0
        ),
        f"model.first_frame={model.first_frame.value}: all rows are generated from labels alone; leave it out": (
            model.first_frame in (FirstFrame.real, FirstFrame.image)
        ),
    }
    return [line for line, wrong in checks.items() if wrong]


def _same_as_before(arguments: Arguments, out: Path) -> None:
    """Runs of one table are trained and measured alike: what was asked for first stands in the folder.

    Raises:
        ConfigError: something else is asked for now.
    """
    asked = {name: getattr(arguments, name) for name in ("budget", "steps", "segmenter_steps", "overrides")}
    path = out / ASKED
    before = plain_json.loads(path.read_text(encoding="utf-8")) if path.is_file() else asked
    changed = [f"{name}={show(value)}" for name, value in asked.items() if before.get(name) != value]
    if changed:
        earlier = ", ".join(f"{name}={show(before[name])}" for name in asked if before.get(name) != asked[name])
        raise ConfigError(
            f"{', '.join(changed)}: the runs of {out} were made with {earlier}; give the same, or another out=FOLDER"
        )
    write_json(path, asked)


def _segmenter(arguments: Arguments, job: Job, schemas: Schemas, say: Callable[[str], None]) -> Path:
    """The segmenter that all runs are measured with, trained once."""
    from vid2vid.segmenter import command

    path = job.folder.parent / SEGMENTER
    if not path.exists():
        command.run(command.Arguments(str(path), str(job.folder), arguments.segmenter_steps), schemas, say)
    return path


def _measured(jobs: list[Job], segmenter: Path, schemas: Schemas) -> dict[str, list[dict[str, float]]]:
    """Variant -> figures of its seeds, those relative to the full model of the same seed among them."""
    from vid2vid.ablations.measure import FILE, matched_ratio, measure
    from vid2vid.trained import load_generator

    raw: dict[tuple[str, int], dict[str, Any]] = {}
    with Progress("run", len(jobs), "evaluation") as progress:
        for number, job in enumerate(jobs, 1):
            kept = job.folder / FILE
            if kept.is_file():
                raw[job.variant.name, job.seed] = plain_json.loads(kept.read_text())
            else:
                loaded = load_generator(load_run(job.folder, schemas), job.folder)
                raw[job.variant.name, job.seed] = measure(loaded, segmenter, job.folder)
            progress.show(number)
    found: dict[str, list[dict[str, float]]] = {variant.name: [] for variant in VARIANTS}
    for (name, seed), one in raw.items():
        full = raw[FULL, seed]
        own = {key: float(value) for key, value in one.items() if isinstance(value, int | float)}
        own["ratio"] = one["warp_error"] / full["warp_error"]
        own["matched_ratio"] = matched_ratio(one["curve"], full["curve"])
        own["miou_share"] = one["miou"] / one["miou_real"]
        found[name].append(own)
    return found
