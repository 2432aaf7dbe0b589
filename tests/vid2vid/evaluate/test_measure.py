"""What counts in an evaluation of clips."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers.made_run import street_config
from trainer.data.loader import make_eval_loader
from trainer.device.compute import CPU
from vid2vid.config import FirstFrame
from vid2vid.data import build_dataset
from vid2vid.encoding import SourceEncoder
from vid2vid.evaluate.clip_metrics import Piece
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


class Kept:
    """A measure that keeps what passes: one list of pieces a clip, closed or not."""

    def __init__(self) -> None:
        self.clips: list[list[Piece | None]] = []

    def clip(self) -> Kept:
        self.clips.append([])
        return self

    def add(self, piece: Piece) -> None:
        self.clips[-1].append(piece)

    def close(self) -> None:
        self.clips[-1].append(None)


@pytest.mark.parametrize("first_frame", [FirstFrame.model, FirstFrame.real])
def test_measures_of_clips_get_every_frame_that_counts_in_order(first_frame: FirstFrame) -> None:
    """More frames than one segment of generation has; what first_frame=real echoed is left out."""
    config = street_config()
    config.data.val_frames = 11
    encoder = SourceEncoder(config.model, config.data)
    torch.manual_seed(0)
    generator = Generator(config.model, encoder.channels).eval()
    batches = list(make_eval_loader(build_dataset(config, "val", (32, 64), 11), batch_size=1, limit=2))
    kept = Kept()
    evaluate_clips(
        generator,
        encoder,
        batches,
        compute=CPU,
        first_frame=first_frame,
        clip_metrics=[kept],  # type: ignore[list-item]
    )
    skip = config.model.past_frames if first_frame is FirstFrame.real else 0
    assert len(kept.clips) == 2
    for pieces, batch in zip(kept.clips, batches, strict=True):
        assert pieces.pop() is None and None not in pieces and len(pieces) > 1
        parts = [piece for piece in pieces if piece is not None]
        assert torch.equal(torch.cat([part.real for part in parts]), batch["images"][0, skip:])
        labels = [part.labels for part in parts if part.labels is not None]
        assert torch.equal(torch.cat(labels), batch["labels"][0, skip:])
        generated = torch.cat([part.generated for part in parts])
        assert generated.dtype == torch.uint8 and generated.shape == (11 - skip, 3, 32, 64)
