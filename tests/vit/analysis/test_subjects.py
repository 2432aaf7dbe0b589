"""Classifiers under study: what tells one from another, and which pictures those beside the first are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_classifier import SCHEMAS, make_run, mu_config
from tests.helpers.made_pictures import write_tree
from trainer.device.compute import CPU
from trainer.errors import CheckpointError, ConfigError
from vit.analysis.natural_sets import NaturalSet, opened
from vit.analysis.other_data import on
from vit.analysis.subjects import Subject, any_classes, load_subjects
from vit.config import DataConfig, DataKind
from vit.data import describe
from vit.data.class_map import ClassMap, MeanClassMap
from vit.evaluate.loaded import Loaded
from vit.evaluate.run import split_samples
from vit.task import VitTask

RNG = np.random.default_rng(0)


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


def test_other_data_are_read_in_the_channels_that_the_network_sees(tmp_path: Path) -> None:
    """A network of grey digits on pictures in colour."""
    task = make_run(tmp_path / "run", mu_config("data=digits"))
    grey = load_subjects(str(tmp_path / "run"), None, None, None, None, [], [], SCHEMAS)[0]
    root = write_tree(tmp_path / "data", {name: 1 for name in task.info.classes})
    moved = on(grey, DataConfig(kind=DataKind.imagefolder, val_root=str(root), workers=0))
    assert len(grey.loaded.mean) == moved.loaded.info.channels == 1
    assert split_samples(moved.loaded, "val", None).sample(0, RNG)["image"].shape[0] == 1
    natural = opened(grey, NaturalSet("photos", str(root)), True)
    assert natural.subject.loaded.info.channels == 1


def test_others_see_the_data_of_the_first(tmp_path: Path) -> None:
    """Whatever they were trained on; a path may have an equals sign in it."""
    make_run(tmp_path / "run", mu_config("data.shapes_world_seed=3", "data.mean=[0.1,0.1,0.1]"))
    make_run(tmp_path / "lr=0.1", mu_config("data.shapes_val_samples=7"))
    compare = [f"{tmp_path}/lr=0.1", f"again={tmp_path}/lr=0.1"]
    first, *others = load_subjects(str(tmp_path / "run"), None, None, None, None, compare, [], SCHEMAS)
    assert [each.label for each in others] == ["lr=0.1", "again"] and first.loaded.mean == [0.1] * 3
    for other in others:
        assert replace(other.loaded.config.data, mean=first.loaded.config.data.mean) == first.loaded.config.data
        assert other.loaded.mean == [0.5] * 3, "prepared as its own weights were trained"


def test_weights_beside_the_first_that_do_not_tell_their_model(tmp_path: Path) -> None:
    import timm

    make_run(tmp_path / "run", mu_config("resolution=[32,32]"))
    net = timm.create_model("test_resnet", num_classes=10)
    torch.save(net.state_dict(), tmp_path / "resnet.pth")
    run, compare = str(tmp_path / "run"), [f"cnn={tmp_path}/resnet.pth"]
    words = [run, None, None, None, None, compare, ["resolution=[32,32]"], SCHEMAS, any_classes]
    _, cnn = load_subjects(*words, names=["cnn=test_resnet"])  # type: ignore[arg-type]
    assert torch.equal(cnn.model.state_dict()["conv1.0.weight"], net.state_dict()["conv1.0.weight"])
    with pytest.raises(CheckpointError, match=r"of no kind that is known .*: names=\[cnn=NAME\]"):
        load_subjects(*words)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"names: resnet=test_resnet: give LABEL=NAME .*there: cnn"):
        load_subjects(*words, names=["resnet=test_resnet"])  # type: ignore[arg-type]


def test_others_see_the_same_pictures_in_their_own_channels(tmp_path: Path) -> None:
    make_run(tmp_path / "grey", mu_config("data=digits"))
    make_run(tmp_path / "colour", mu_config("data=digits", "data.channels=3"))
    for one, two in (("grey", "colour"), ("colour", "grey")):
        compare = [f"other={tmp_path}/{two}"]
        first, other = load_subjects(str(tmp_path / one), None, None, None, None, compare, [], SCHEMAS)
        samples = [split_samples(each.loaded, "val", None).sample(5, RNG) for each in (first, other)]
        shapes = {len(sample["image"]): sample for sample in samples}
        assert torch.equal(shapes[3]["image"], shapes[1]["image"].expand(3, -1, -1))
        assert shapes[3]["label"] == shapes[1]["label"]
