"""Mixtures of Gaussians over the vectors of each class (section 3 of the paper), and ``styles.json``, which holds them.

After training they stand for E: a vector drawn from the mixture of its class is a look that the generator knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.short_forms import shown_override
from trainer.errors import DataError
from trainer.files import write_json
from trainer.text import few
from trainer.untrusted import plain_json
from vid2vid.styles.whose import Encoder, check_encoder

FILE = "styles.json"  # in a run's folder
VERSION = 1


@dataclass(frozen=True)
class Component:
    """One Gaussian of a mixture.

    Attributes:
        weight: its share, 0..1.
        count: vectors that are most likely its own.
        mean: (d,).
        covariance: (d, d).
    """

    weight: float
    count: int
    mean: list[float]
    covariance: list[list[float]]


@dataclass(frozen=True)
class ClassStyles:
    """The looks of a class.

    Attributes:
        id: of the label maps.
        name: where it is known, else empty.
        things: its instances are told apart; else the class has one vector for a whole video.
        count: vectors that the mixture was fitted to.
        mean: of all of them, (d,).
        components: the mixture.
        bic: the Bayesian information criterion of every number of components that was tried, the least being best.
    """

    id: int
    name: str
    things: bool
    count: int
    mean: list[float]
    components: list[Component]
    bic: dict[str, float] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A vector of the mixture, (d,) float32 in [-1, 1], where E's features lie."""
        weights = np.array([component.weight for component in self.components])
        chosen = self.components[rng.choice(len(weights), p=weights / weights.sum())]
        values, axes = np.linalg.eigh(np.array(chosen.covariance))  # of a matrix that rounding may have made indefinite
        spread = axes * np.sqrt(values.clip(min=0))
        drawn = np.array(chosen.mean) + spread @ rng.standard_normal(len(values))
        return drawn.clip(-1, 1).astype(np.float32)


@dataclass(frozen=True)
class Styles:
    """What ``styles.json`` holds.

    Attributes:
        channels: d.
        classes: by id.
        facts: what they were fitted to: run, checkpoint, encoder, encoder_run, step, clips, frames,
            resolution, min_area.
    """

    channels: int
    classes: Mapping[int, ClassStyles]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def things(self) -> frozenset[int]:
        """Ids of classes whose instances are told apart."""
        return frozenset(label for label, found in self.classes.items() if found.things)

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        classes = [asdict(each) for each in self.classes.values()]
        write_json(path, {"version": VERSION, "channels": self.channels, **self.facts, "classes": classes})


def read_styles(path: Path) -> Styles:
    """The mixtures of a file.

    Raises:
        DataError: it is missing, or is no such file; names the command that writes one.
    """
    command = f"python scripts/fit_styles.py {shown_override('run', path.parent)} writes it"
    if not path.is_file():
        raise DataError(f"{path} does not exist: {command}")
    try:
        data = plain_json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise DataError(f"{path} is of version {data['version']}, this program reads {VERSION}: {command}")
        classes = [
            ClassStyles(**{**each, "components": [Component(**part) for part in each["components"]]})
            for each in data["classes"]
        ]
        facts = {name: value for name, value in data.items() if name not in ("version", "channels", "classes")}
        found = Styles(int(data["channels"]), {each.id: each for each in classes}, facts)
        shapes = {len(each.mean) for each in classes}
        shapes |= {len(part.mean) for each in classes for part in each.components}
        shapes |= {len(row) for each in classes for part in each.components for row in part.covariance}
    except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read as mixtures of styles ({type(error).__name__}: {error}): {command}") \
            from error  # fmt: skip
    if shapes - {found.channels}:
        raise DataError(f"{path}: vectors of {few(sorted(shapes))} numbers, but channels={found.channels}: {command}")
    return found


def check_styles(styles: Styles, path: Path, ids: Sequence[int], channels: int, encoder: Encoder) -> str:
    """Whether a run can use them.

    Args:
        path: where they were read.
        ids: classes of the run.
        channels: d of its E.
        encoder: E itself.

    Returns:
        A warning, where E has learnt on since they were fitted, or they do not tell whose they are; else empty.

    Raises:
        DataError: they are of other classes, of another number of channels, or of another run's E.
    """
    again = f"python scripts/fit_styles.py {shown_override('run', path.parent)} fits this run's own"
    foreign = sorted(set(styles.classes) - set(ids))
    if foreign:
        raise DataError(
            f"{path} has styles of the classes {few(sorted(styles.classes), 40)}, but this run's are "
            f"{few(sorted(ids), 40)}: {few(foreign)} it does not know. These are of another run: {again}"
        )
    if styles.channels != channels:
        raise DataError(
            f"{path} has vectors of {styles.channels} numbers, this run has model.style_channels={channels}: {again}"
        )
    return check_encoder(styles.facts, encoder, str(path), again)
