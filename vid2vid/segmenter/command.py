"""``scripts/train_segmenter.py``: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer.cli import compose, load_run
from trainer.config.schema import Schemas
from trainer.config.short_forms import shown_override
from trainer.errors import ConfigError, refuse
from trainer.files import check_place
from trainer.records.progress import Progress
from vid2vid.config import Vid2VidConfig
from vid2vid.data.settings import reading_problems
from vid2vid.validate.data import data_problems
from vid2vid.validate.model import label_problems

SUFFIX = ".safetensors"


@dataclass
class Arguments:
    """a video model"""

    out: str  # the segmenter to write, such as runs/street.safetensors
    run: str | None = None  # on the data of this run, at its resolution; null: data=NAME says which
    steps: int = 1000  # updates
    batch_size: int = 8  # frames of an update
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Train a segmenter on real frames and write it with how good it is; the same command goes on where it stopped.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments or data that cannot be used.
    """
    out = Path(arguments.out)
    if out.suffix != SUFFIX:
        raise ConfigError(f"out={out}: a segmenter is written as {SUFFIX}; give out={out.with_suffix(SUFFIX)}")
    config: Vid2VidConfig
    if arguments.run is not None:
        config = load_run(arguments.run, schemas, arguments.overrides)
    else:
        chosen = any(word.startswith("model=") for word in arguments.overrides)
        config = compose([*([] if chosen else ["model=vid2vid"]), *arguments.overrides], schemas)
        if not isinstance(config, Vid2VidConfig):
            raise ConfigError(
                "model=... is a classifier's: a segmenter is trained on the frames of a video model's data"
            )
    model, data = config.model, config.data  # what a generator needs beside them is not asked for
    refuse([*label_problems(model), *data_problems(data), *reading_problems(data, model)])
    if out.exists():
        raise ConfigError(f"out={out}: is there already; remove it, or give another name")
    check_place("out", out, out, out.with_suffix(".png"))

    from trainer.device.compute import choose_compute
    from vid2vid.segmenter.file import save_segmenter
    from vid2vid.segmenter.picture import write_readings
    from vid2vid.segmenter.training import SegmenterTraining

    training = SegmenterTraining(
        config,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        out=out,
        device=choose_compute(config.trainer).device,
    )
    count = sum(parameter.numel() for parameter in training.network.parameters())
    say(f"segmenter of {len(training.classes)} classes, {count:,} parameters")
    if training.done:
        say(f"goes on at step {training.done} of {training.steps}")
    training.check_held_out()
    with Progress("step", training.steps, "segmenter", to_the_end=True) as progress:
        training.run(progress)
    try:
        facts = training.measure()
    except BaseException:
        training.keep()
        raise
    save_segmenter(out, training.network, facts)
    training.forget()
    picture = out.with_suffix(".png")
    write_readings(picture, training.readings, training.classes)
    for name, iou in zip(facts.names, facts.ious, strict=True):
        if iou is not None:
            say(f"  {name:<20} IoU {iou:.3f}")
    say(f"{facts.frames} held-out real frames: mIoU {facts.mean_iou:.3f}, pixel accuracy {facts.accuracy:.3f}")
    say(f"what it reads in them: {picture}")
    say(f"written to {out}; python scripts/evaluate.py run=... {shown_override('segmenter', out)}")
