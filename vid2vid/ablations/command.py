"""``scripts/ablations.py``: its arguments, and what it says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from trainer.cli import compose
from trainer.config.schema import Schemas
from trainer.errors import ConfigError, refuse
from trainer.files import check_folder
from trainer.parallel.sweep import last_record
from trainer.parallel.trainings import train_all
from trainer.records.console_lines import format_time
from trainer.records.progress import Progress
from vid2vid.ablations.check import (
    check_counts,
    check_segmenter,
    given_keys_of_rows,
    measured_alike,
    not_comparable,
    own_keys,
    same_as_before,
    same_rows,
    styled_alike,
)
from vid2vid.ablations.variants import (
    TABLES,
    Job,
    Length,
    Table,
    Variant,
    chosen,
    footage,
    has_classes,
    jobs_of,
    of_film,
)
from vid2vid.config import Vid2VidConfig
from vid2vid.validate import problems

ADDED = "variant."  # before the name of a row that the command line adds


class TableName(Enum):
    paper = "paper"  # what each part of the paper's design is worth
    modern = "modern"  # parts that came after it, in equal CPU time


@dataclass
class Arguments:
    """a table of variants of a video model"""

    table: TableName = TableName.paper
    variants: list[str] = field(default_factory=list)  # only these rows; none: all; variant.NAME="KEY=VALUE ..." adds
    budget: str | None = None  # time of each training: cheaper variants make more updates in it; table=paper: 4m
    budget_cpu_s: float | None = None  # CPU seconds of each, of one thread, in place of a time; table=modern: 420
    pace: str | None = None  # pace.json of a table timed elsewhere: as many clips as it says, on any device
    steps: int | None = None  # updates of each training, in place of a time, to the end of a clip: as many for all
    seeds: Any = 3  # of each variant: so many, or which: [0,2]
    film: str | None = None  # a folder that scripts/prepare.py made; null: the built-in street
    out: str = "runs/ablations"  # folder of the runs, the table and the video; again: goes on
    jobs: int = 1  # trainings side by side; on one machine they share its cores, and the time counts for each
    segmenter: str | None = None  # file of train_segmenter.py to measure with; null: one is trained in the folder
    segmenter_steps: int = 1000  # updates of the segmenter that measures mIoU
    table_only: bool = False  # train nothing: the table and the video of what is trained so far
    frames: int = 48  # of the video; of a film it has data.val_frames
    sheet: list[int] = field(default_factory=list)  # frames of the contact sheet, such as [0,11,23]; none: four
    zoom: int = 2  # enlargement of the video
    overrides: list[str] = field(default_factory=list)


def arguments(words: Sequence[str]) -> type:
    """The arguments where ``variant.NAME=...`` is among the words: with those rows' names besides.

    Raises:
        ConfigError: a name that cannot be a folder's.
    """
    found = [word.partition("=")[0] for word in words if word.startswith(ADDED)]
    names = list(dict.fromkeys(key.removeprefix(ADDED) for key in found))
    wrong = [name for name in names if not re.fullmatch(r"[A-Za-z]\w*", name)]
    if wrong:
        raise ConfigError(f"{ADDED}{wrong[0]}: a row's name has letters, digits and _ only, and begins with a letter")
    if not names:
        return Arguments
    rows = make_dataclass("Rows", [(name, str, "") for name in names])
    more = [("variant", rows, field(default_factory=rows))]
    return make_dataclass("MoreRows", more, bases=(Arguments,), namespace={"__doc__": Arguments.__doc__})


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        table: that the rows are of.
        jobs: all trainings, seed by seed.
        data: words for the data.
        length: of each training.
        overrides: for all of them.
    """

    table: Table
    variants: tuple[Variant, ...]
    jobs: tuple[Job, ...]
    data: tuple[str, ...]
    length: Length
    overrides: tuple[str, ...]

    def words(self, job: Job) -> list[str]:
        """What a training is started with."""
        return job.words(self.data, self.table, self.length, list(self.overrides))


def plan_of(arguments: Arguments, out: Path) -> Plan:
    """What ``arguments`` ask for, the length in CPU time not laid out yet.

    Raises:
        ConfigError: several lengths, rows that are none, seeds that are none.
    """
    table = TABLES[arguments.table.value]
    given = {name: getattr(arguments, name) for name in ("budget", "budget_cpu_s", "steps")}
    asked = [f"{name}={value}" for name, value in given.items() if value is not None]
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)}: give one of them, the length of each training")
    length = Length(arguments.budget, arguments.steps, arguments.budget_cpu_s)
    if not asked:
        length = Length(table.budget, None, table.cpu_s)
    if arguments.pace is not None:
        if length.cpu_s is None:
            raise ConfigError(f"pace={arguments.pace}: says how many clips fit into CPU time; give budget_cpu_s=S too")
        length = replace(length, elsewhere=True)
    added = getattr(arguments, "variant", None)
    rows = {item.name: getattr(added, item.name) for item in fields(added)} if added is not None else {}
    data = footage(arguments.film, table)
    table = table if arguments.film is None else of_film(table)
    variants = tuple(chosen(table, arguments.variants, rows, has_classes(data)))
    jobs = tuple(jobs_of(out, variants, _seeds(arguments.seeds)))
    return Plan(table, variants, jobs, data, length, tuple(arguments.overrides))


def _seeds(given: Any) -> list[int]:
    found: list[Any] = given if isinstance(given, list) else list(range(given)) if isinstance(given, int) else []
    whole = all(type(seed) is int and seed >= 0 for seed in found) and not isinstance(given, bool)
    if not whole or not found or len(set(found)) < len(found):
        raise ConfigError(f"seeds={given}: must be at least 1, how many, or a list of different ones, such as [0,2]")
    return found


def run(
    arguments: Arguments,
    schemas: Schemas,
    say: Callable[[str], None],
    build: Callable[[Vid2VidConfig], Any] | None = None,
) -> None:
    """Train, measure and show all variants; what is there already is not done again.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.
        build: makes the task of a configuration as ``train.py`` does; None: one that reads no other tasks' runs.

    Raises:
        UserError: arguments that cannot be used; a training that failed.
    """
    check_counts(arguments)
    out = Path(arguments.out).resolve()
    check_folder("out", arguments.out, out)
    plan = plan_of(arguments, out)
    left = [row.name for row in plan.table.variants if row not in plan.variants and not arguments.variants]
    if left:
        say(f"film={arguments.film} has no label maps: without {', '.join(left)}, which tell their classes apart")
    refuse(own_keys(plan.table, plan.length.on_cpu, arguments.overrides))
    refuse(given_keys_of_rows(plan.length.on_cpu, plan.variants))
    configs: dict[str, Vid2VidConfig] = {}
    for job in plan.jobs[: len(plan.variants)]:
        configs[job.variant.name] = config = compose(plan.words(job), schemas)
        refuse([*problems(config), *not_comparable(config)])
    refuse([*styled_alike(configs), *measured_alike(configs, plan.table.reference)])
    check_segmenter(arguments.segmenter, next(iter(configs.values())))
    if arguments.pace is not None:
        same_rows(Path(arguments.pace), plan.variants)
    same_as_before(arguments, str(plan.length), plan.variants, out)
    if not arguments.table_only:
        _train(arguments, plan, configs, out, say, {} if build is None else {"build": build})

    from vid2vid.ablations.outcome import segmenter_of, write_outcome

    trained = [job for job in plan.jobs if job.trained]
    if not trained:
        raise ConfigError(f"table_only=true: no training in {out} has come to its end; leave it out to train")
    segmenter = segmenter_of(arguments.segmenter, arguments.segmenter_steps, trained[0].folder, schemas, say)
    shown = {"frames": arguments.frames, "zoom": arguments.zoom, "sheet": arguments.sheet}
    write_outcome(plan.table, trained, str(plan.length), segmenter, schemas, out, say, **shown)


def _train(
    arguments: Arguments,
    plan: Plan,
    configs: Mapping[str, Vid2VidConfig],
    out: Path,
    say: Callable[[str], None],
    built: Mapping[str, Any],
) -> None:
    """All trainings that are left, with the length in CPU time laid out before the first of them."""
    trained = sum(job.trained for job in plan.jobs)
    say(f"{len(plan.jobs)} trainings of {plan.length}, {trained} of them done, {arguments.jobs} at once, into {out}")
    if plan.length.cpu_s is not None and trained < len(plan.jobs):
        from vid2vid.ablations.pace import laid_out, read_pace, timed

        if arguments.pace is not None:
            paces = read_pace(Path(arguments.pace), configs)
        else:
            paces = timed(configs, plan.table.reference, out, say, **built)
        plan = replace(plan, length=replace(plan.length, samples=laid_out(plan.length.cpu_s, configs, paces, say)))
    began, done, left = time.monotonic(), [0], len(plan.jobs) - trained

    def ended(job: Job) -> None:
        done[0] += 1
        rest = left - done[0]
        eta = (time.monotonic() - began) / done[0] * rest
        say(f"{job.folder.name} is trained; {rest} to go{f', ETA {format_time(eta)}' if rest else ''}")

    with Progress("training", left, "trainings") as progress:

        def watch(running: Sequence[Job]) -> None:
            shares = [last_record(job.folder).get("progress", 0.0) for job in running]
            at = ", ".join(f"{job.folder.name} {share:.0%}" for job, share in zip(running, shares, strict=True))
            whole = done[0] + sum(shares)
            rate = whole / max(time.monotonic() - began, 1e-9)
            progress.show(done[0], rate=rate or None, note=at)

        train_all(plan.jobs, plan.words, arguments.jobs, ended, watch)
