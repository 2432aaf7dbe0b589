"""Words of the trainings: they compose, say what the experiment says, and may not undo it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.made_classifier import SCHEMAS
from trainer.cli import compose
from trainer.errors import ConfigError
from vit.analysis.features.scratch import network_of, trainings
from vit.validate import problems


def made(recipe: list[str], data: list[str]) -> list:
    networks = [network_of("vit=model=vit_ti16 model.patch=8"), network_of("cnn=model=timm model.name=resnet18")]
    return trainings(networks, [5, 20], 2, recipe, data, (64, 64), 10, 700, Path("/runs"))


def test_every_training_composes() -> None:
    jobs = made(["experiment=vit/shapes", "optim.main.lr=1e-3"], ["data=digits", "data.channels=3"])
    assert [(job.network.label, job.per_class, job.seed) for job in jobs][:5] == [
        ("vit", 5, 0), ("cnn", 5, 0), ("vit", 20, 0), ("cnn", 20, 0), ("vit", 5, 1)]  # fmt: skip
    assert len({job.folder for job in jobs}) == len({job.words for job in jobs}) == 8
    config = compose(jobs[-1].words, SCHEMAS)
    assert problems(config) == []
    assert (config.data.train_samples, config.data.train_seed, config.seed) == (200, 1, 1)
    assert config.model.name == "resnet18" and config.data.kind.value == "digits" and config.data.channels == 3
    assert config.resolution == [64, 64] and config.trainer.max_samples == 700
    assert compose(jobs[0].words, SCHEMAS).model.patch == 8


def test_other_words_are_other_runs_and_the_datas_own_limit_does_not_count() -> None:
    one, two = (made(["experiment=vit/shapes", f"optim.main.lr={lr}"], ["data=shapes"])[0] for lr in (1e-3, 2e-3))
    assert one.folder != two.folder and one.folder.name.startswith("vit-5-seed0-")
    limited = made([], ["data=shapes", "data.train_samples=7", "resolution=[32,32]"])[0]
    assert compose(limited.words, SCHEMAS).data.train_samples == 50
    assert compose(made(["resolution=32"], ["data=shapes"])[0].words, SCHEMAS).resolution == [32, 32]


@pytest.mark.parametrize("text", ["vit", "vit=", "=model=vit_ti16", "model=vit_ti16"])
def test_networks_without_label_or_words(text: str) -> None:
    with pytest.raises(ConfigError, match=r"scratch: .* is none; give LABEL=words"):
        network_of(text)


def test_words_that_the_experiment_sets() -> None:
    with pytest.raises(ConfigError, match=r"scratch: seed=3: the experiment sets seed itself"):
        network_of("vit=model=vit_ti16 seed=3")
