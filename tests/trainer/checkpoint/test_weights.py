"""Weights against the network they are meant for."""

import pytest
import torch

from trainer.checkpoint.weights import compare_architecture
from trainer.errors import CheckpointError


def test_architectures_are_compared_by_name_and_shape():
    expected = {f"a.{i}": (2, 2) for i in range(7)} | {"w": torch.zeros(3, 4), "s": ()}
    compare_architecture(expected, {**expected})
    found = {"w": torch.zeros(3, 5), "s": torch.tensor(1), "extra": (1,)}
    with pytest.raises(CheckpointError) as caught:
        compare_architecture(expected, found, what="best.pth")
    text = str(caught.value)
    assert text.startswith("best.pth is of another architecture")
    assert "missing (7): a.0, a.1, a.2, a.3, and 3 more" in text
    assert "unexpected (1): extra" in text
    assert "other shape (1): w (here 3x4, there 3x5)" in text
    assert "config.yaml" in text
