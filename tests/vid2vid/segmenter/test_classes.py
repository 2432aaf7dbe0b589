"""Label ids as classes."""

from __future__ import annotations

import torch

from trainer.records.confusion import NONE
from vid2vid.config import DataKind, Vid2VidConfig
from vid2vid.segmenter.classes import classes_of


def test_classes_are_the_runs_without_what_is_ignored() -> None:
    config = Vid2VidConfig()
    config.model.label_ids, config.data.ignore_label = [7, 26, 255, 40000], [255, 3]
    classes = classes_of(config)
    assert classes.ids == (7, 26, 40000) and classes.names == ("road", "car", "class 40000")
    labels = torch.tensor([[26, 255], [7, 40000 - 65536]], dtype=torch.int16)
    assert classes.of(labels).tolist() == [[1, NONE], [0, 2]]
    config.data.kind, config.model.label_ids, config.model.num_labels = DataKind.folders, None, 3
    assert classes_of(config).names == ("class 0", "class 1", "class 2")
