"""How fast an exported step is: all engines make the same frames, and the table names all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.made_run import street_config
from train import SCHEMAS
from vid2vid.benchmark import exported


def test_all_engines_make_the_same_frames(tmp_path: Path) -> None:
    made = {name: run() for name, run in exported.engines(street_config((16, 32)), tmp_path, 3).items()}
    assert list(made) == list(exported.ENGINES)
    frames = np.stack(list(made.values())).astype(int)
    assert frames.shape == (3, 3, 16, 32) and frames.std() > 3 and np.abs(frames - frames[1]).max() <= 1


@pytest.mark.slow
def test_the_table_names_every_engine() -> None:
    lines = list(exported.suite(SCHEMAS, 1, "typed", ["`vid2vid_tiny`"], 2))
    assert lines[0].startswith("`typed`: ") and "1 rounds of 2 frames" in lines[0]
    assert [line.split(" | ")[1] for line in lines[3:]] == list(exported.ENGINES)
    assert "| 1.00 (1.00 to 1.00) |" in lines[4]
