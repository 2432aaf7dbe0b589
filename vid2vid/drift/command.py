"""``scripts/drift.py``: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.errors import refuse
from trainer.files import check_place
from trainer.records.progress import Progress
from vid2vid.config import FirstFrame, Vid2VidConfig


@dataclass
class Arguments:
    """a video model"""

    run: str  # run directory, such as runs/demo
    frames: int = 1000  # of each clip
    clips: int = 4  # so many sequences of the source, the first ones that are long enough
    source: str = "street"  # held-out streets, which have no end; or folders, films, as for generate.py
    reference: int = 100  # the frame that the last one is compared with, counted from 1
    window: int = 51  # frames that are averaged around both
    first_frame: FirstFrame | None = None  # what stands before the first frame; null: as the run was trained
    seed: int | None = None  # another world with source=street (data.world_seed); null: the run's
    out: str | None = None  # folder for drift.csv, drift.png, drift.json; null: the run's
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Write the drift curve that ``arguments`` ask for: a table, a picture, and ``drift.json``.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or sources that cannot be used.
    """
    refuse(problems(arguments))
    config: Vid2VidConfig = load_run(arguments.run, schemas, arguments.overrides)

    from trainer.records.evaluation import write_evaluation
    from vid2vid.drift.curves import measure_run
    from vid2vid.drift.report import draw, write_table
    from vid2vid.drift.summary import summarise
    from vid2vid.trained import load_asked

    folder = Path(arguments.run if arguments.out is None else arguments.out)
    check_place("out", folder, *(folder / f"drift.{kind}" for kind in ("csv", "png", "json")))
    loaded = load_asked(config, arguments.run, arguments.checkpoint, arguments.overrides, say)
    if arguments.seed is not None:
        loaded.config.data.world_seed = arguments.seed
    with Progress("frame", arguments.frames * arguments.clips) as progress:
        measured = measure_run(
            loaded,
            Path(arguments.run),
            arguments.source,
            clips=arguments.clips,
            frames=arguments.frames,
            first_frame=arguments.first_frame,
            progress=progress.show,
        )
    for line in measured.left_out:
        say(line)
    found = summarise(measured.values, arguments.reference, arguments.window)
    facts = {**measured.facts, "reference": arguments.reference, "window": arguments.window}
    write_table(folder / "drift.csv", measured.values)
    title = f"{arguments.run}: {measured.facts['clips']} clips of {arguments.frames} frames, {arguments.source}"
    draw(folder / "drift.png", measured.values, arguments.window, title)
    write_evaluation(folder / "drift.json", found.values, facts)
    for line in lines(found.values, arguments.reference, arguments.frames, found.relative):
        say(line)
    say(f"written to {folder / 'drift.json'}, drift.csv and drift.png")


def problems(arguments: Arguments) -> list[str]:
    """One line for each argument that cannot be, or does not go with another."""
    found = [
        f"{name}={value}: must be at least {least}"
        for name, value, least in (
            ("frames", arguments.frames, 2),
            ("clips", arguments.clips, 1),
            ("window", arguments.window, 1),
            ("reference", arguments.reference, 1),
        )
        if value < least
    ]
    if not found and arguments.reference >= arguments.frames:
        found.append(
            f"reference={arguments.reference} is compared with the last frame, but frames={arguments.frames}: "
            f"give more frames, or reference={max(1, arguments.frames // 10)}"
        )
    elif not found and (longest := _longest_window(arguments.reference, arguments.frames)) < arguments.window:
        found.append(
            f"window={arguments.window}: the frames around {arguments.reference} and the last of {arguments.frames} "
            f"would overlap; use window={longest} or less"
        )
    if arguments.seed is not None and arguments.seed < 0:
        found.append(f"seed={arguments.seed}: must be at least 0")
    elif arguments.seed is not None and arguments.source != Arguments.source:
        found.append(f"seed={arguments.seed} draws the world of source=street: leave it out with another source")
    return found


def _longest_window(reference: int, frames: int) -> int:
    """So many frames around the one, as `summarise` takes them, and at the end have none in common."""
    fitting = (w for w in range(frames, 0, -1) if max(0, reference - 1 - w // 2) + w <= frames - w)
    return next(fitting, 1)


def lines(values: dict[str, float], reference: int, last: int, relative: bool) -> list[str]:
    """What a person wants to read of the figures."""
    beside = "relative to the real video" if relative else "of the generated frames alone (the source has no pictures)"
    found = [f"{'':<28}{f'frame {reference}':>12}{f'frame {last}':>12}{'change':>10}"]
    for name, title in (("sharpness", "sharpness"), ("red", "red"), ("green", "green"), ("blue", "blue")):
        first, second = (values[f"{name}_at_{frame}"] for frame in (reference, last))
        found.append(f"{title:<28}{first:>12.4f}{second:>12.4f}{values[f'{name}_change']:>+10.1%}")
    for name, title in (("warp_error", "warping error"), ("warp_error_real", "warping error, real")):
        if f"{name}_at_{last}" in values:
            first, second = (values[f"{name}_at_{frame}"] for frame in (reference, last))
            found.append(f"{title:<28}{first:>12.4f}{second:>12.4f}")
    sharpness, colour = (abs(values[f"{name}_change"]) for name in ("sharpness", "colour"))
    found.append(
        f"frame {last} is within {sharpness:.1%} of frame {reference} in sharpness and {colour:.1%} in mean colour, "
        f"{beside}"
    )
    if relative:
        alone = (f"{values[f'{name}_change_plain']:+.1%} {name}" for name in ("sharpness", "colour"))
        found.append(f"the generated frames alone, whatever became of the scene: {', '.join(alone)}")
    return found
