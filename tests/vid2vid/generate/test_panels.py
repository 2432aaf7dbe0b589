"""Conditions as pictures for people."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from train import SCHEMAS
from trainer.cli import compose
from trainer.data.labels.palette import OWN_PALETTE, PALETTE
from vid2vid.generate.panels import condition_columns
from vid2vid.page.model import classes_of


@pytest.mark.parametrize(
    ("words", "ids", "palette"),
    [
        (["model.label_ids=null"], [0, 1, 2, 255], OWN_PALETTE),  # 35 channels by default, of a film of three classes
        (["model.label_ids=null"], [1, 7, 26, 255], PALETTE),
        (["model.label_ids=null", "model.num_labels=21"], [0, 7, 20, 255], OWN_PALETTE),
        (["model.label_ids=[0,1,2]"], [0, 1, 2], OWN_PALETTE),
    ],
)
def test_classes_are_seen_on_the_page_and_in_videos_alike(words: list[str], ids: list[int], palette: Any) -> None:
    """Cityscapes' first classes are black: other data, whose classes begin at 0, are painted in other colours."""
    config = compose(["model=vid2vid_tiny", *words], SCHEMAS)
    painted = condition_columns({"labels": torch.tensor([ids])}, config)["label"]
    assert painted[0].tolist() == palette[ids].tolist()
    of_model = range(config.model.num_labels) if config.model.label_ids is None else config.model.label_ids
    run: Any = SimpleNamespace(config=config, encoder=SimpleNamespace(ids=tuple(of_model)), colours=None)
    shown = {one.id: list(one.colour) for one in classes_of(run)}
    if len(of_model) < 35:
        assert all(shown[label] == palette[label].tolist() for label in ids if label in of_model)
        assert len(set(map(tuple, shown.values()))) == len(shown)
