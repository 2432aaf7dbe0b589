"""The keys that a user types: each can be given, and none is new or gone unless that is meant."""

from __future__ import annotations

import pytest

from tests.helpers.composed import REFERENCE
from train import SCHEMAS
from trainer.cli import compose
from trainer.config.fields import Precision
from trainer.config.resolve import config_diff, flatten, plain
from trainer.config.schema import schema_keys
from vid2vid.config import Foreground, Vid2VidConfig
from vit.config import VitConfig


def value_of(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace(" ", "").replace("'", "")


@pytest.mark.parametrize("model", REFERENCE.values())
def test_every_key_of_the_schema_is_reachable(model: str) -> None:
    """Given on the command line with its own value, each key is accepted and arrives."""
    config = compose([f"model={model}"], SCHEMAS)
    values = {key: value for key, value in flatten(plain(config)).items() if value not in ("", {})}
    assert len(values) > 100
    again = compose([f"model={model}", *(f"{key}={value_of(value)}" for key, value in values.items())], SCHEMAS)
    assert config_diff(config, again) == []


FROZEN = {
    "": ["name", "seed", "resolution"],
    "data.": ["root", "workers"],
    "trainer.": ["max_steps", "max_samples", "log_every", "eval_every", "checkpoint_every", "keep", "precision"],
    "trainer. ": ["device", "compile", "strategy", "deterministic", "dry_run"],
    "model.": ["ngf", "ndf", "downsamplings", "blocks", "scales", "norm", "foreground", "num_labels", "past_frames"],
    "model. ": ["flow", "video_discriminator"],
}


FROZEN_VIT = {
    "": ["name", "seed", "resolution"],
    "data.": ["root", "workers", "cache"],
    "model.": ["variant", "patch", "num_classes", "pool", "pos_embed", "weights", "name", "head", "fit"],
    "trainer.": ["max_steps", "max_samples", "micro_batch"],
}


@pytest.mark.parametrize("key", [group.strip() + name for group, names in FROZEN.items() for name in names])
def test_public_key_stays(key: str) -> None:
    assert key in set(schema_keys(Vid2VidConfig))


@pytest.mark.parametrize("key", [group + name for group, names in FROZEN_VIT.items() for name in names])
def test_public_key_of_vit_stays(key: str) -> None:
    assert key in set(schema_keys(VitConfig))


def test_public_choices_stay() -> None:
    assert {item.name for item in Precision} >= {"auto", "bf16", "fp16", "fp32"}
    assert {item.name for item in Foreground} >= {"off", "override", "paper"}
