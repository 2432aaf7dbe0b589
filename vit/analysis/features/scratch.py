"""Trainings from scratch on few pictures, for an experiment: what train.py is called with, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.schema import show
from trainer.errors import ConfigError
from trainer.parallel.trainings import has_ended

# of every training here: nothing that nobody looks at
_QUIET = ("trainer.eval_every=0", "trainer.visuals_every=0", "trainer.keep=1", "logger.tensorboard=false",
          "logger.curves=false")  # fmt: skip
_OWN = ("seed", "name", "data.train_samples", "data.train_seed", "trainer.max_samples", "hydra.run.dir")


@dataclass(frozen=True)
class Network:
    """What is trained from scratch.

    Attributes:
        label: in tables and charts. words: of the command line, its own.
    """

    label: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Scratch:
    """One training.

    Attributes:
        per_class: pictures of each class. seed: of the weights, and of which pictures these are.
        words: what train.py is called with. folder: of the run.
    """

    network: Network
    per_class: int
    seed: int
    words: tuple[str, ...]
    folder: Path

    @property
    def trained(self) -> bool:
        """Whether it has come to its end."""
        return has_ended(self.folder)


def network_of(text: str) -> Network:
    """``LABEL=words``, words apart by spaces, as a network.

    Raises:
        ConfigError: it has no label, no words, or words that the experiment sets.
    """
    label, _, rest = text.partition("=")
    words = tuple(rest.split())
    if not label.strip() or not all("=" in word for word in words) or not words:
        raise ConfigError(
            f"scratch: '{text}' is none; give LABEL=words of train.py, like 'vit=model=vit_ti16 model.patch=8'"
        )
    check_words("scratch", words)
    return Network(label.strip(), words)


def check_words(key: str, words: Sequence[str]) -> None:
    """Raises ConfigError for words that are no ``key=value``, or that the experiment sets itself."""
    for word in words:
        name, equals, _ = word.partition("=")
        if not equals:
            raise ConfigError(f"{key}: '{word}' is not of the form key=value")
        if name.lstrip("+~") in _OWN:
            raise ConfigError(f"{key}: {word}: the experiment sets {name.lstrip('+~')} itself; leave it out")


def trainings(
    networks: Sequence[Network],
    per_class: Sequence[int],
    seeds: int,
    recipe: Sequence[str],
    data: Sequence[str],
    resolution: tuple[int, int],
    classes: int,
    pictures: int,
    folder: Path,
) -> list[Scratch]:
    """All trainings, seed by seed, so that what is there after an interruption can be compared.

    Args:
        recipe: words of all. data: words of the data. resolution: (height, width), which the recipe may change.
        classes: of the data. pictures: that each training sees, the same ones again and again.
        folder: of the runs: those of other words have other names.
    """
    found = []
    for seed in range(seeds):
        for count in per_class:
            for network in networks:
                experiment = [word for word in recipe if word.startswith("experiment=")]
                rest = [word for word in recipe if not word.startswith("experiment=")]
                words = (
                    *experiment, *(word for word in data if word.partition("=")[0] not in _OWN),
                    f"resolution={show(list(resolution))}", *network.words, *rest,
                    f"data.train_samples={count * classes}", f"data.train_seed={seed}", f"seed={seed}",
                    f"trainer.max_samples={pictures}", *_QUIET,
                )  # fmt: skip
                name = f"{network.label}-{count}-seed{seed}"
                digest = hashlib.sha256(repr(words).encode()).hexdigest()[:8]
                found.append(Scratch(network, count, seed, (*words, f"name={name}"), folder / f"{name}-{digest}"))
    return found
