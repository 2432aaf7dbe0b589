"""Classifiers under study: what tells one from another, and which pictures those beside the first are shown."""

from __future__ import annotations

import torch

from tests.helpers.made_classifier import mu_config
from trainer.device.compute import CPU
from vit.analysis.subjects import Subject
from vit.data import describe
from vit.data.class_map import ClassMap, MeanClassMap
from vit.evaluate.loaded import Loaded
from vit.task import VitTask


def subject(*words: str, judge: ClassMap | None = None) -> Subject:
    config = mu_config(*words)
    torch.manual_seed(0)
    info = describe(config)
    loaded = Loaded(VitTask(config).model.eval(), config, info, info.classes, [0.5] * 3, [0.5] * 3, 10, CPU, "")
    return Subject("net", loaded, judge, [])


def test_the_same_weights_can_be_another_network() -> None:
    one, two = subject("model.heads=1"), subject("model.heads=2")
    pixels = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    states = [each.model.state_dict() for each in (one, two)]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    prints = [one.fingerprint(), two.fingerprint(), subject("trainer.precision=bf16").fingerprint()]
    assert len({*prints}) == 3 and subject("model.heads=2").fingerprint() == prints[1]
    assert one.logits(pixels).shape == (1, 10)


def test_another_map_of_classes_is_another_judge() -> None:
    maps = [ClassMap(torch.tensor(target), 2) for target in ([0, 1, -1], [1, 0, -1])]
    judges = [None, *maps, MeanClassMap(maps[0].target, 2)]
    assert len({subject(judge=judge).fingerprint() for judge in judges}) == 4
