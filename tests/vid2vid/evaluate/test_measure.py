"""What counts in an evaluation of clips."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.made_run import street_config
from trainer.data.loader import make_eval_loader
from trainer.device.compute import CPU
from vid2vid.data import build_dataset
from vid2vid.encoding import SourceEncoder
from vid2vid.evaluate.measure import Counted, evaluate_clips
from vid2vid.model import Generator


def test_what_fills_the_place_of_a_clip_with_a_bad_file_counts_nowhere() -> None:
    config = street_config()
    torch.manual_seed(0)
    encoder = SourceEncoder(config.model, config.data)
    generator = Generator(config.model, encoder.channels).eval()
    dataset = build_dataset(config, "val", (32, 64), config.data.val_frames)
    (batch,) = make_eval_loader(dataset, batch_size=2, limit=2)

    def measured(given: list[dict[str, Any]]) -> tuple[Counted, dict[str, tuple[float, float]]]:
        counted = Counted(given)
        return counted, evaluate_clips(generator, encoder, counted, compute=CPU)

    counted, found = measured([batch | {"readable": torch.tensor([1, 0])}])
    assert (counted.clips, counted.frames, counted.skipped) == (1, config.data.val_frames, 1)
    padded, _ = measured([batch | {"readable": torch.tensor([1, 0]), "weight": torch.tensor([1.0, 0.0])}])
    assert (padded.clips, padded.skipped) == (1, 0)
    _, expected = measured([{key: value[:1] for key, value in batch.items()}])
    for name in found.keys() - {"frames_per_s"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-5)
