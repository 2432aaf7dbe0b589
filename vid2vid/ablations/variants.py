"""What is trained: the full model of the demo's size, and what each ablation takes away. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.parallel.trainings import has_ended

FULL = "full"
EXPERIMENT = "vid2vid/demo"
# The demo has no foreground network; here it is one of the parts in question. People and cars, as in the paper.
BASE = ("model.foreground=override", "model.foreground_labels=[24,26]")


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: of its runs' folders.
        title: in the table, and above its video.
        changes: to the full model's configuration.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()


VARIANTS = (
    Variant(FULL, "full"),
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
)


# What the rows differ in, and what each training is given: another value for all of them would undo it.
OWN_KEYS = {
    **{change.partition("=")[0]: "the rows of the table differ in it" for v in VARIANTS for change in v.changes},
    "seed": "each seed is trained; seeds=N says how many",
    "name": "runs are named after their rows",
    "experiment": f"all rows are trained as {EXPERIMENT}",
    "hydra.run.dir": "out=FOLDER says where runs lie",
    "trainer.budget": "give budget=TIME",
    "trainer.max_steps": "give steps=N",
}


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

    def words(self, budget: str, steps: int | None, overrides: list[str]) -> list[str]:
        """What ``train.py`` is called with.

        Args:
            budget: time of the training, such as 4m.
            steps: updates, in place of it; None: as many as fit into the time.
        """
        own = [f"seed={self.seed}", f"name={self.folder.name}"]
        updates = ["trainer.max_samples=null", f"trainer.max_steps={steps}"]
        length = [f"trainer.budget={budget}"] if steps is None else updates
        return [f"experiment={EXPERIMENT}", *BASE, *self.variant.changes, *own, *length, *overrides]


def jobs_of(out: Path, seeds: int) -> list[Job]:
    """All trainings, seed by seed, so that what is there after an interruption can be compared."""
    return [Job(v, seed, out / f"{v.name}-seed{seed}") for seed in range(seeds) for v in VARIANTS]
