"""SETR's decoders: sizes, what they read, and what reaches what."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vit.config import Fit
from vit.segmentation.config import Decoder
from vit.segmentation.decoders import AggregatingDecoder, Decoders, ProgressiveDecoder, doublings, read_blocks


@pytest.mark.parametrize(("patch", "times"), [(1, 1), (2, 1), (4, 2), (8, 3), (14, 4), (16, 4), (32, 5)])
def test_doublings_reach_the_pixels(patch: int, times: int) -> None:
    assert doublings(patch) == times and 2**times >= patch


def test_blocks_that_are_read() -> None:
    """The paper's: the last of 24; for aggregation the 6th, 12th, 18th and 24th."""
    assert read_blocks(Decoder.pup, 24) == [23] and read_blocks(Decoder.mla, 24) == [5, 11, 17, 23]
    assert read_blocks(Decoder.mla, 12) == [2, 5, 8, 11]


@pytest.mark.parametrize("kind", list(Decoder))
def test_scores_have_the_size_that_is_asked_for(kind: Decoder) -> None:
    made = Decoders(kind, 6, 4, 3, patch=8, auxiliary=1)
    features = [torch.randn(2, 6, 3, 5) for _ in range(made.levels + 1)]
    scores = made(features, (24, 40))
    assert [tuple(each.shape) for each in scores] == [(2, 3, 24, 40)] * 2
    made.eval()
    assert len(made(features, (20, 33))) == 1


@pytest.mark.parametrize("kind", list(Decoder))
def test_scores_lie_where_their_patches_do_where_these_reach_beyond_the_picture(kind: Decoder) -> None:
    """A picture of 20x33 filled up to 24x40 is scored as that, without what was added."""
    torch.manual_seed(0)
    made = Decoders(kind, 6, 4, 3, patch=8, fit=Fit.pad).eval()
    features = [torch.randn(1, 6, 3, 5) for _ in range(made.levels)]
    (whole,), (found,) = made(features, (24, 40)), made(features, (20, 33))
    assert torch.equal(found, whole[..., :20, :33])


def test_progressive_upsampling_is_four_convolutions_and_four_doublings() -> None:
    """As the paper writes it, with the scores behind the last doubling: linear, so their order does not matter."""
    torch.manual_seed(0)
    made = ProgressiveDecoder(6, 4, 3, patch=16).eval()
    x = feature = torch.randn(1, 6, 2, 3)
    for layer in made.layers:
        x = F.interpolate(layer(x), scale_factor=2, mode="bilinear", align_corners=False)
    assert x.shape[-2:] == (32, 48) and len(made.layers) == 4
    assert torch.allclose(made(feature, (32, 48)), made.scores(x), atol=1e-5)


def test_aggregation_goes_from_the_last_block_to_the_first() -> None:
    """The last block's feature is in all streams, the first one's in its own: halved by hand."""
    torch.manual_seed(0)
    made = AggregatingDecoder(6, 4, 3).eval()
    features = [torch.randn(1, 6, 2, 2) for _ in range(4)]
    with torch.no_grad():
        made.scores.weight[:, :6] = 0.0  # of the streams joined first: those of the last three blocks
        before = made(features, (16, 16))
        for changed, reaches in ((0, True), (3, True)):
            others = [f + (index == changed) for index, f in enumerate(features)]
            assert (not torch.equal(made(others, (16, 16)), before)) is reaches
        made.scores.weight[:, 2:] = 0.0
        made.scores.weight[:, :2] = 1.0  # only the last block's own stream
        alone = made(features, (16, 16))
        assert torch.equal(made([features[0] + 1, *features[1:]], (16, 16)), alone)
        assert not torch.equal(made([*features[:3], features[3] + 1], (16, 16)), alone)
