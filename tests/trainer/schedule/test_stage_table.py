"""Sizes of stages."""

from tests.helpers.toys import toy_config
from trainer.config.fields import StageConfig
from trainer.schedule.stage_table import sizes


def test_sizes_of_stages() -> None:
    stages = {
        "a": StageConfig(downscale=4),
        "b": StageConfig(start=0.5, resolution=[6, 10], downscale=2),  # its own size goes first
        "c": StageConfig(start=0.7),
    }
    config = toy_config(stages=stages)
    config.resolution = [16, 32]
    assert sizes(config) == {"a": (4, 8), "b": (6, 10), "c": (16, 32)}
