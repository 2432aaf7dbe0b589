"""Settings of the feature encoder that cannot be, each with a remedy."""

import pytest

from tests.helpers.made_task import configured
from vid2vid.config import Vid2VidConfig
from vid2vid.validate import problems


def with_style(**model) -> Vid2VidConfig:
    config = configured("model.style_channels=3")
    for name, value in model.items():
        setattr(config.model, name, value)
    return config


def test_the_tiny_model_can_have_one() -> None:
    assert problems(with_style()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"style_channels": -1}, "model.style_channels=-1"),
        ({"nef": 0}, "model.nef=0"),
        ({"style_downsamplings": 5}, "because of model.downsamplings=2, model.style_downsamplings=5; nearest: 64"),
    ],
)
def test_a_size_that_cannot_be_is_named(changes: dict[str, int], told: str) -> None:
    assert any(told in line for line in problems(with_style(**changes)))


def test_it_needs_label_maps() -> None:
    config = configured("model.source=image", "data=video", "data.root=.", "model.style_channels=3")
    assert any("model.style_channels=3 needs label maps" in line for line in problems(config))
