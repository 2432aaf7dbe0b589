"""Types of values, and keys that do not exist."""

from __future__ import annotations

import pytest

from trainer.config.fields import OnNonFinite
from trainer.config.schema import find_problems, to_dataclass
from trainer.errors import ConfigError
from vid2vid.config import Vid2VidConfig


def test_to_dataclass_types() -> None:
    config = to_dataclass(Vid2VidConfig, {"seed": 3.0, "name": 2024, "trainer": {"on_nonfinite": "skip", "ema": None}})
    assert config.seed == 3 and config.name == "2024" and config.trainer.ema is None
    assert config.trainer.on_nonfinite is OnNonFinite.skip
    with pytest.raises(ConfigError, match="data=3: data holds further keys"):
        to_dataclass(Vid2VidConfig, {"data": 3})
    assert find_problems(Vid2VidConfig, {"optim": {"g": {"lrr": 1}}}) == [
        "unknown key 'optim.g.lrr'; did you mean 'optim.g.lr'?"
    ]
    assert find_problems(Vid2VidConfig, {"optim": {"g": {"lr": "x"}}}) == ["optim.g.lr=x: must be a number"]
    assert find_problems(Vid2VidConfig, {"optim": {"g": 1}}) == ["optim.g=1: optim.g holds further keys, not one value"]
