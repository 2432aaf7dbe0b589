"""What is wrong with a segmentation's configuration is told before anything is built, with a remedy."""

from __future__ import annotations

import pytest

from tests.helpers.composed import problems_of

STREET = ["model=setr", "data=street_masks"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["model.pool=gap"], "model.pool=gap: a decoder reads every patch: leave it out"),
        (["model.name=resnet18"], "model.weights=timm:resnet18 takes its"),
        (["model.num_classes=5"], "model.num_classes=5 is for a classifier: give data.num_classes"),
        (["model.distilled=true"], "model.distilled=true needs model.pool=cls"),
        (["model.decoder_width=0"], "model.decoder_width=0: must be at least 1"),
        (["model.frozen=true"], "model.frozen=true keeps a ViT that learnt nothing: give model.weights"),
        (["model.auxiliary=[3,3]"], "model.auxiliary=[3,3]: [3] stands there more than once"),
        (["resolution=[60,128]"], "resolution=[60,128]: patches of 16 pixels (model.patch) do not divide it"),
        (["resolution=[60,128]"], "or model.fit=pad|resize"),
        (["model.fit=crop"], "model.fit=crop leaves pixels at the border without a class: use pad or resize"),
        (["augment.scale=[2.0,0.5]"], "augment.scale=[2.0,0.5]: needs [least, most]"),
        (["augment.largest_class=0"], "augment.largest_class=0.0: a share above 0"),
        (["inference.stride=1.5"], "inference.stride=1.5: a share of the window"),
        (["loss.class_weights={car: -1}"], "loss.class_weights: car must not be negative"),
        (["data.label_map=11"], "data.label_map=11: neither OLD:NEW pairs"),
        (["data.val_share=1"], "data.val_share=1.0: must lie between 0 and 1"),
        (["data.mean=[0.5,0.5]"], "data.mean=[0.5,0.5]: one number, or one per channel (3)"),
    ],
)
def test_problems(words: list[str], told: str) -> None:
    assert any(told in problem for problem in problems_of([*STREET, *words]))


def test_files_need_a_root() -> None:
    (problem,) = problems_of(["model=setr"])
    assert problem == "data.root is not set: data=masks reads files; give data.root=PATH"
    assert problems_of(STREET) == []
