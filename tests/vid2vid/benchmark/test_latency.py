"""Latency of generated frames: what is timed is a whole video, and its parts are its frames'."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_films import plainly
from tests.helpers.made_run import street_config
from train import SCHEMAS
from trainer.device.compute import CPU
from trainer.records.media import write_video
from vid2vid.benchmark import latency
from vid2vid.data import open_source
from vid2vid.generate.rollout import Rollout


def test_videos_are_those_of_the_generator(tmp_path: Path) -> None:
    config = street_config()
    found = latency.measure(config, tmp_path, videos=2, frames=4)
    assert all(len(seconds) == 2 * 3 for seconds in found.parts.values()) and len(found.closing) == 2
    assert min(map(min, found.parts.values())) > 0 and found.first > 0
    assert found.whole[0] == sum(seconds[0] for seconds in found.parts.values())
    rollout = Rollout(*latency.generator_of(config, CPU), CPU)
    sequence = next(iter(open_source("street", config, 4)))
    made = [rollout.step(frame)[0].permute(1, 2, 0) for frame in sequence]
    write_video(tmp_path / "expected.mp4", torch.stack(made), sequence.fps)
    expected = np.stack(plainly(tmp_path / "expected.mp4"))
    assert expected.shape == (4, 3, 32, 64) and expected[0].std() > 3 and (expected[0] != expected[1]).any()
    for name in ("0.mp4", "1.mp4"):
        assert (np.stack(plainly(tmp_path / name)) == expected).all()


def test_all_but_one_in_a_hundred() -> None:
    assert latency.late([float(n) for n in range(101)]) == 99
    assert latency.late([1.0, 2.0]) == pytest.approx(1.99)


def test_the_table_has_a_row_for_each_setting() -> None:
    tiny = {"small": ["model=vid2vid_tiny", "trainer.device=cpu"]}
    lines = list(latency.suite(SCHEMAS, 2, "typed", tiny, 3))
    assert lines[0].startswith("`typed`: ") and lines[0].endswith("4 frames of 2 videos, after the first of each.")
    heading, row = lines[2], lines[4]
    assert heading.count("|") == row.count("|") == lines[3].count("|") and row.startswith("| small | ")
    first, median, most, *parts = re.findall(r"\d+\.\d", row)
    assert float(first) > 0 and float(median) <= float(most) and len(parts) == 2 * 3 + 2
