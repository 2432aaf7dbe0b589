"""What files do not tell and their makers' scripts do: how pictures are prepared for evaluation."""

from __future__ import annotations

import argparse

import pytest
import torch

from tests.helpers.made_states import our_state, prefixed
from vit.weights.reading import read


@pytest.mark.parametrize(
    "wrap, args, ratio",
    [
        (lambda s: {"model": s}, {}, 0.875),  # DeiT's --eval-crop-ratio, MAE's 224 / 256
        (lambda s: {"model": s}, {"input_size": 224, "eval_crop_ratio": 0.95}, 0.95),
        (lambda s: {"model": s}, {"input_size": 384, "eval_crop_ratio": 0.875}, 0.875),
        (lambda s: {"model": s}, {"input_size": 448}, 1.0),  # MAE's, which has no such argument
        (lambda s: {"model": {k.replace("ls1.gamma", "gamma_1"): v for k, v in s.items()}}, {}, 1.0),  # DeiT III
        (lambda s: {"teacher": {**prefixed(s, "backbone."), "dino_head.w": torch.ones(2)}}, {}, 0.875),
    ],
)
def test_makers_files_are_evaluated_as_their_makers_do(wrap, args, ratio, tmp_path):
    """Bicubic: with the configuration's bilinear a published file does not reach its published score."""
    extra = {"layer_scale": 1e-4} if ratio == 1.0 and not args else {}
    state = {k.replace("ls2.gamma", "gamma_2") if extra else k: v for k, v in our_state(**extra).items()}
    torch.save({**wrap(state), **({"args": argparse.Namespace(**args)} if args else {})}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert (found.crop, found.crop_ratio, found.interpolation) == ("center", ratio, "bicubic")
    assert any("as its makers evaluate" in note for note in found.notes)
    torch.save(our_state(), tmp_path / "b.pth")  # of nobody known
    assert read(tmp_path / "b.pth").interpolation is None
