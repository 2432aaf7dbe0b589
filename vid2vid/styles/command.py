"""``scripts/fit_styles.py``: its arguments, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.errors import DataError, refuse
from trainer.files import check_place
from trainer.records.progress import followed
from trainer.text import by
from trainer.validate import at_least
from vid2vid.config import Vid2VidConfig
from vid2vid.styles.request import require_encoder

if TYPE_CHECKING:
    from vid2vid.styles.gather import Gathered
    from vid2vid.styles.mixtures import Styles


@dataclass
class Arguments:
    """a video model"""

    run: str  # run directory, such as runs/styles, of a model with a feature encoder (model.style_channels)
    clips: int | None = None  # look at so many training clips; null: all
    components: int = 10  # at most so many Gaussians for a class
    min_count: int = 20  # instances that each of them needs at least
    min_area: float = 0.002  # instances count from this share of a frame on, where they are largest
    seed: int = 0  # of where the fits begin
    checkpoint: str | None = None  # best, or the name of another checkpoint of the run, or a path; null: the newest
    overrides: list[str] = field(default_factory=list)


def run(arguments: Arguments, schemas: Schemas, say: Callable[[str], None]) -> None:
    """Fit a mixture of Gaussians for each class; writes ``styles.json`` and ``styles.png`` into the run's folder.

    Args:
        schemas: of all tasks.
        say: takes a line for the user.

    Raises:
        UserError: arguments, weights or data that cannot be used, or scikit-learn is missing.
    """
    problems = [] if arguments.clips is None else at_least("clips", arguments.clips, 1)
    problems += at_least("components", arguments.components, 1) + at_least("min_count", arguments.min_count, 1)
    problems += at_least("seed", arguments.seed, 0)
    if not 0 <= arguments.min_area < 1:
        problems.append(f"min_area={arguments.min_area}: a share of the frame, from 0 to below 1")
    refuse(problems)
    config: Vid2VidConfig = load_run(arguments.run, schemas, arguments.overrides)
    require_encoder(config.model, f"run={arguments.run}")

    from vid2vid.styles.fit import fit_class, require_sklearn

    require_sklearn()

    from trainer.data.loader import make_eval_loader
    from vid2vid.data import build_evaluation
    from vid2vid.styles.class_names import class_names
    from vid2vid.styles.gather import gather
    from vid2vid.styles.mixtures import FILE, Styles
    from vid2vid.styles.picture import draw_styles
    from vid2vid.styles.whose import encoder_of
    from vid2vid.trained import load_asked

    folder = Path(arguments.run)
    check_place("run", folder, folder / FILE, folder / "styles.png")
    loaded = load_asked(config, arguments.run, arguments.checkpoint, arguments.overrides, say)
    config = loaded.config
    assert loaded.style is not None
    height, width = config.resolution
    dataset = build_evaluation(config, "train", (height, width))
    loader = make_eval_loader(
        dataset,
        batch_size=1,  # clips of footage may differ in length
        workers=config.data.workers,
        seed=config.seed,
        limit=arguments.clips,
        device=loaded.compute.device,
    )
    found, clips, frames = gather(loaded, followed(loader, unit="clip"))
    if not found:
        raise DataError(f"run={folder}: its training data show no pixel of a class, so there is nothing to fit")
    names = class_names(config, dataset)
    classes = {
        label: fit_class(
            label,
            gathered.large(arguments.min_area),
            name=names.get(label, ""),
            things=gathered.things,
            most=arguments.components,
            least=arguments.min_count,
            seed=arguments.seed,
        )
        for label, gathered in sorted(found.items())
    }
    facts = {
        "run": str(folder),
        "checkpoint": str(loaded.checkpoint),
        **encoder_of(loaded.style, folder, loaded.step).facts(),
        "clips": clips,
        "frames": frames,
        "resolution": by(config.resolution),
        "min_area": arguments.min_area,
    }
    styles = Styles(config.model.style_channels, classes, facts)
    styles.write(folder / FILE)
    picture = draw_styles(loaded, styles, found, folder / "styles.png")
    say(format_styles(styles, found))
    say(f"written to {folder / FILE}; {picture} shows them")


def format_styles(styles: Styles, found: Mapping[int, Gathered]) -> str:
    """A line for each class: how many vectors, how many components, how far the vectors spread.

    Args:
        found: all vectors, small instances too.
    """
    from math import sqrt

    lines = [
        f"{styles.facts['clips']} clips, {styles.facts['frames']} frames",
        f"{'class':<22}{'told apart':>11}{'vectors':>9}{'small':>7}{'components':>12}{'spread':>8}",
    ]
    for label, each in styles.classes.items():
        spread = sqrt(sum(_variance(each.components, i) for i in range(styles.channels)) / styles.channels)
        small = len(found[label].vectors) - each.count
        lines.append(
            f"{f'{label} {each.name}'.strip():<22}{'yes' if each.things else 'no':>11}{each.count:>9}{small:>7}"
            f"{len(each.components):>12}{spread:>8.3f}"
        )
    return "\n".join(lines)


def _variance(components: list, index: int) -> float:
    """Of one coordinate over the whole mixture: within its components and between their means."""
    mean = sum(part.weight * part.mean[index] for part in components)
    return sum(part.weight * (part.covariance[index][index] + (part.mean[index] - mean) ** 2) for part in components)
