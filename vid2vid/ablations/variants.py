"""What is trained: the tables, their rows, and what each row changes. Loads no torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.errors import ConfigError
from trainer.parallel.trainings import has_ended

FOOTAGE = "vid2vid/footage_64"  # of a film whose condition is drawn from landmarks
ON_CPU = ("trainer.device=cpu", "trainer.threads=1")  # where CPU time is what all rows have alike


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: of its runs' folders.
        title: in the table, and above its video.
        changes: to the base's configuration.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()

    @property
    def needs_classes(self) -> bool:
        """Whether it can be trained on label maps only."""
        return "model.image_discriminator=segmenting" in self.changes


@dataclass(frozen=True)
class Table:
    """Rows that are compared.

    Attributes:
        reference: name of the row that others are divided by.
        base: changes to the experiment, for all rows.
        variants: its rows.
        columns: figure -> heading.
        budget: time of each training where none is given, such as 4m; None: ``cpu_s``.
        cpu_s: CPU seconds of each training.
        experiment: what is trained.
        free: keys that a row changes and that may yet have another value in all others.
    """

    reference: str
    base: tuple[str, ...]
    variants: tuple[Variant, ...]
    columns: Mapping[str, str]
    budget: str | None = None
    cpu_s: float | None = None
    experiment: str = "vid2vid/demo"
    free: tuple[str, ...] = ()

    def own_keys(self, in_cpu_time: bool) -> dict[str, str]:
        """What the rows differ in, and what each training is given: another value for all would undo it. Key -> why."""
        changes = (change for variant in self.variants for change in (*self.base, *variant.changes))
        keys = {change.partition("=")[0] for change in changes}.difference(self.free)
        return {
            **dict.fromkeys(keys, "the rows of the table differ in it"),
            "model": "the rows of the table stand on the design of 2018",
            "experiment": f"all rows are trained as {self.experiment}; film=PATH chooses other footage",
            **given_keys(in_cpu_time),
        }


def given_keys(in_cpu_time: bool) -> dict[str, str]:
    """What each training of a table is given, so that neither all rows nor one of them can set it. Key -> why."""
    why = "with budget_cpu_s all are trained on one thread of the CPU; give budget=TIME or steps=N in its place"
    return {
        **({word.partition("=")[0]: why for word in ON_CPU} if in_cpu_time else {}),
        "seed": "each seed is trained; seeds=N or seeds=[0,2] says which",
        "name": "runs are named after their rows",
        "hydra.run.dir": "out=FOLDER says where runs lie",
        "trainer.budget": "give budget=TIME",
        "trainer.max_samples": "give steps=N, budget=TIME or budget_cpu_s=S",
        "trainer.max_steps": "give steps=N",
    }


PAPER = Table(
    reference="full",
    # The demo has no foreground network; here it is one of the parts in question. People and cars, as in the paper.
    base=("model=vid2vid_2018", "model.foreground=override", "model.foreground_labels=[24,26]"),
    variants=(
        Variant("full", "full"),
        Variant("no_video_discriminator", "no D_V", ("model.video_discriminator=false",)),
        Variant("no_flow", "no flow", ("model.flow=false",)),
        Variant("no_foreground", "no foreground prior", ("model.foreground=off",)),
        Variant(
            "frame_by_frame",
            "frame by frame",
            (
                "model.past_frames=0",
                "model.flow=false",
                "model.video_discriminator=false",
                "model.foreground=off",
            ),
        ),
    ),
    columns={
        "warp_error": "warping error",
        "sharpness_all": "sharpness",
        "psnr": "PSNR [dB]",
        "miou": "mIoU",
        "miou_share": "mIoU / real",
        "ratio": "warping error / full's",
        "matched_ratio": "the same at equal sharpness",
        "step": "updates",
    },
    budget="4m",
)

_NEAREST = ("model.upsample=nearest",)
_RELATIVISTIC = (*_NEAREST, "model.gan=relativistic", "model.penalty_every=13")
_SEGMENTING = ("model.image_discriminator=segmenting", "model.segmenting_feature_matching=true")
# R1 and R2 of D_V's size blur what a D_I that segments teaches.
_BOTH = (*_RELATIVISTIC, *_SEGMENTING, "model.segmenting_gamma=0")


def _gammas(value: float) -> tuple[str, str]:
    return f"model.r1_gamma={value}", f"model.r2_gamma={value}"


MODERN = Table(
    reference="2018",
    base=("model=vid2vid_2018",),
    variants=(
        Variant("2018", "2018"),
        Variant("nearest", "nearest", _NEAREST),
        Variant("relativistic", "relativistic", (*_RELATIVISTIC, *_gammas(0.005))),  # model=vid2vid
        Variant("segmenting", "segmenting D_I", (*_NEAREST, *_SEGMENTING)),
        Variant("both", "segmenting D_I, relativistic D_V", (*_BOTH, *_gammas(0.005))),  # on label maps
        Variant("wide3", "3 halvings, ngf 24", (*_NEAREST, "model.downsamplings=3", "model.ngf=24")),
    ),
    columns={
        "psnr": "PSNR [dB]",
        "ssim": "SSIM",
        "warp_error": "warping error",
        "tof": "tOF",
        "sharpness_all": "sharpness",
        "sharpness_hallucination": "sharpness, hallucination",
        "miou": "mIoU",
        "iou_24": "people",
        "iou_26": "cars",
        "fd_4": "FD 1/4",
        "fd_8": "FD 1/8",
        "sharpness_drift": "sharpness drift",
        "colour_drift": "colour drift",
        "period_2": "period 2",
        "step": "updates",
    },
    cpu_s=420.0,
    free=("model.lambda_mask", "model.downsamplings", "model.ngf"),
)
TABLES = {"paper": PAPER, "modern": MODERN}


def chosen(table: Table, names: list[str], added: Mapping[str, str], classes: bool = True) -> list[Variant]:
    """The rows that are asked for, in the table's order, then those that were added.

    Args:
        names: of rows; none: all that the data can train.
        added: name -> words that change the base's configuration.
        classes: whether the data has label maps.

    Raises:
        ConfigError: names that are no rows, or that are taken.
    """
    known = {variant.name: variant for variant in table.variants if names or classes or not variant.needs_classes}
    taken = [name for name in added if name in known]
    if taken:
        raise ConfigError(f"variant.{taken[0]}: the table has a row of this name; give another")
    known |= {name: Variant(name, name, _words(name, text)) for name, text in added.items()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"variants={unknown[0]}: no such row; there are {', '.join(known)}; "
            f'variant.{unknown[0]}="KEY=VALUE ..." adds one'
        )
    rows = [variant for name, variant in known.items() if not names or name in names or name in added]
    if not any(variant.name == table.reference for variant in rows):
        raise ConfigError(f"variants={names}: {table.reference} is what the others are compared with; add it")
    return rows


def _words(name: str, text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"variant.{name}={text}: {error}; give KEY=VALUE words with spaces between them") from error
    wrong = [word for word in words if not re.fullmatch(r"[+~]?[A-Za-z_][\w./]*=.*", word)]
    if wrong or not words:
        raise ConfigError(f"variant.{name}={text}: needs KEY=VALUE words with spaces between them")
    return words


def footage(film: str | None, table: Table) -> tuple[str, ...]:
    """Words for the data: none for the street; a folder of frames with label maps or landmarks beside them.

    Raises:
        ConfigError: the folder has neither.
    """
    if film is None:
        return (f"experiment={table.experiment}",)
    folder = Path(film).resolve()
    place = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    data = (f"data.root='{place}'",)
    if (folder / "labels").is_dir():
        return (f"experiment={table.experiment}", "data=folders", "model.label_ids=null", *data)
    if (folder / "landmarks").is_dir():
        return (f"experiment={FOOTAGE}", *data)
    raise ConfigError(
        f"film={film}: has neither labels/ nor landmarks/; make such a folder: "
        "python scripts/prepare.py labels source=FILM out=PATH, or people in place of labels"
    )


def of_film(table: Table) -> Table:
    """The same for other footage than the street: ids are not the street's people and cars there."""
    titles = {name: f"IoU of id {name.removeprefix('iou_')}" for name in table.columns if name.startswith("iou_")}
    return replace(table, columns={**table.columns, **titles})


def has_classes(data: Iterable[str]) -> bool:
    """Whether data with these words (`footage`) are label maps."""
    return f"experiment={FOOTAGE}" not in data


@dataclass(frozen=True)
class Length:
    """How long each training is: one of these.

    Attributes:
        budget: time, such as 4m.
        steps: updates.
        cpu_s: CPU seconds, which ``samples`` say in samples by variant.
        elsewhere: the seconds are those of another machine; each training takes what time it takes.
    """

    budget: str | None = None
    steps: int | None = None
    cpu_s: float | None = None
    samples: Mapping[str, int] | None = None
    elsewhere: bool = False

    @property
    def on_cpu(self) -> bool:
        """Whether each is trained on one thread of the CPU, which its time is of."""
        return self.cpu_s is not None and not self.elsewhere

    def words(self, variant: Variant) -> list[str]:
        """For ``train.py``."""
        if self.steps is not None:
            return ["trainer.max_samples=null", f"trainer.max_steps={self.steps}"]
        if self.budget is not None:
            return [f"trainer.budget={self.budget}"]
        samples = (self.samples or {}).get(variant.name)
        return [*(ON_CPU if self.on_cpu else ()), *([] if samples is None else [f"trainer.max_samples={samples}"])]

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.steps} updates"
        if self.budget is not None:
            return self.budget
        return f"{self.cpu_s:g} s of CPU time" + (", as timed elsewhere" if self.elsewhere else "")


@dataclass(frozen=True)
class Job:
    """One training: a variant with a seed, in a folder of its own."""

    variant: Variant
    seed: int
    folder: Path

    @property
    def trained(self) -> bool:
        """Whether it has come to its end."""
        return has_ended(self.folder)

    def words(self, data: Iterable[str], table: Table, length: Length, overrides: list[str]) -> list[str]:
        """What ``train.py`` is called with.

        Args:
            data: of `footage`.
        """
        own = [f"seed={self.seed}", f"name={self.folder.name}"]
        return [*data, *table.base, *overrides, *self.variant.changes, *own, *length.words(self.variant)]


def jobs_of(out: Path, variants: Iterable[Variant], seeds: Iterable[int]) -> list[Job]:
    """All trainings, seed by seed, so that what is there after an interruption can be compared."""
    rows = list(variants)
    return [Job(v, seed, out / f"{v.name}-seed{seed}") for seed in seeds for v in rows]
