"""What an experiment is given, and what it must be: one module of ``vit.analysis.experiments``, found by its name.

Such a module has a docstring whose first line says what is asked, ``Settings``, a dataclass whose fields are its own
arguments on the command line (with a comment each), and ``run(study, settings)``, which returns an ``Outcome``.
Where it cannot look at every classifier, ``fits(subject)`` raises a ``UserError`` that says why: a report shows it the
others. ``FEATURES = True`` in it says that it looks at features, whatever classes heads are of. ``judged(label,
loaded)`` in it says how a classifier is judged by its data, where that is not by the classes that both have
(``vit.analysis.subjects.own_classes``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from trainer.config.resolve import plain
from trainer.device.compute import Compute
from vit.analysis.kept_answers import Answers
from vit.analysis.outcome import Outcome
from vit.analysis.passes import Condition, Pass, Respond
from vit.analysis.subjects import Judged, Subject, any_classes, own_classes
from vit.evaluate.run import own_batch


@dataclass
class Study:
    """Classifiers, data and a place for the results.

    Attributes:
        subjects: the classifiers, the one asked about first.
        split, samples: which pictures; ``samples`` None: all of them.
        batch: pictures at a time; None: what the device takes.
        seed: of all chance.
        folder: for results and for what is kept to go on from.
        say: takes a line for the user.
    """

    subjects: list[Subject]
    split: str
    samples: int | None
    batch: int | None
    seed: int
    folder: Path
    say: Callable[[str], None]

    @property
    def first(self) -> Subject:
        """The classifier that is asked about."""
        return self.subjects[0]

    @property
    def compute(self) -> Compute:
        """Where and in which precision all of them compute."""
        return self.first.loaded.compute

    @property
    def classes(self) -> list[str]:
        """Names of the data's classes."""
        return self.first.loaded.info.classes

    @cached_property
    def pictures(self) -> Pass:
        """The pictures of the split, for passes over them."""
        batch = self.batch or min(own_batch(subject.loaded) for subject in self.subjects)
        return Pass(self.subjects, self.split, self.samples, batch, self.folder / "answers")

    def on(self, moved: Callable[[Subject], Subject]) -> Study:
        """The same classifiers on other data: each as ``moved`` has it (``vit.analysis.other_data.on``)."""
        return replace(self, subjects=[moved(subject) for subject in self.subjects])

    def answers(
        self,
        conditions: Sequence[Condition] | Mapping[str, Sequence[Condition]],
        respond: Respond,
        what: str,
        settings: str = "",
    ) -> dict[str, dict[str, Answers]]:
        """``Pass.answers`` to the same conditions for all subjects, or to each one's own; the seed belongs to them."""
        if not isinstance(conditions, Mapping):
            conditions = {subject.label: list(conditions) for subject in self.subjects}
        return self.pictures.answers(conditions, respond, what, f"seed={self.seed} {settings}")

    def facts(self, settings: Any) -> dict[str, Any]:
        """What was asked of whom, as plain data, for ``analysis.json``.

        Args:
            settings: of the experiment, a dataclass.
        """
        return {
            "settings": plain(settings) | {"analysis_seed": self.seed},
            "models": [
                {"label": each.label, "weights": each.loaded.weights_line, "prepared": each.loaded.transform_line}
                for each in self.subjects
            ],
            "split": self.split,
            "samples": self.samples,
        }


def judged_by(chosen: Experiment) -> Judged:
    """How an experiment has classifiers judged by their data."""
    features = bool(getattr(chosen, "FEATURES", False))
    return getattr(chosen, "judged", any_classes if features else own_classes)


class Experiment(Protocol):
    """A module of ``vit.analysis.experiments``."""

    __name__: str
    Settings: type

    def run(self, study: Study, settings: Any) -> Outcome: ...
