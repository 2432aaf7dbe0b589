"""Data sets with readers of their own: digits, CIFAR, and what torchvision reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_pictures import folder_config, samples, write_picture
from trainer.errors import ConfigError, DataError
from trainer.task import SampleDataset
from vit.config import DataKind, VitConfig
from vit.data import build_dataset, describe
from vit.data.opening import open_source
from vit.data.source import class_counts
from vit.data.sources.files import forget_scans


def test_digits() -> None:
    pytest.importorskip("sklearn")
    config = VitConfig(resolution=[32, 32])
    config.data.kind = DataKind.digits
    info = describe(config)
    assert info.classes == [str(i) for i in range(10)] and info.native == (8, 8) and info.channels == 1
    train, val = open_source(config, "train"), open_source(config, "val")
    assert len(train) + len(val) == 1797 and len(val) == 450
    assert max(class_counts(val)) - min(class_counts(val)) <= 4
    assert train.read(0)[0].dtype == torch.uint8 and max(int(train.read(i)[0].max()) for i in range(50)) == 255
    seen = {train.read(i)[0].numpy().tobytes() for i in range(len(train))}
    assert not seen & {val.read(i)[0].numpy().tobytes() for i in range(len(val))}
    assert build_dataset(config, "train", (32, 32)).sample(0, np.random.default_rng(0))["image"].shape == (1, 32, 32)
    config.data.channels = 3
    dataset: SampleDataset = build_dataset(config, "val", (32, 32))
    assert dataset.sample(0, np.random.default_rng(0))["image"].shape == (3, 32, 32)


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    forget_scans()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    config = VitConfig(resolution=[32, 32])
    config.data.kind = DataKind.digits
    with pytest.raises(DataError, match="pip install scikit-learn"):
        describe(config)


def write_cifar(root: Path, classes: int) -> None:
    """Files of the official form: a pickled dict of bytes keys, pictures as rows of 3072 bytes, planes first."""
    base = root / ("cifar-10-batches-py" if classes == 10 else "cifar-100-python")
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def dump(name: str, count: int) -> None:
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = rng.integers(0, classes, count).tolist()
        key = "labels" if classes == 10 else "fine_labels"
        (base / name).write_bytes(pickle.dumps({"data": data, key: labels}))

    names = [f"class {i}" for i in range(classes)]
    if classes == 10:
        for number in range(1, 6):
            dump(f"data_batch_{number}", 4)
        dump("test_batch", 6)
        (base / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    else:
        dump("train", 20)
        dump("test", 6)
        (base / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar(tmp_path: Path, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = DataKind.cifar10 if classes == 10 else DataKind.cifar100
    config = folder_config(tmp_path / "r", kind)
    with pytest.raises(DataError, match=r"cifar.* is missing or incomplete there .*data\.download=true"):
        describe(config)
    write_cifar(tmp_path / "r", classes)
    with pytest.raises(DataError, match="missing or incomplete"):  # not the official files: nothing is unpickled
        describe(config)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    info = describe(config)
    assert (info.train_samples, info.native, info.channels, len(info.classes)) == (20, (32, 32), 3, classes)
    assert any("official test pictures" in note for note in info.notes)
    assert len(samples(config, "val")) == 6 and samples(config, "train")[0]["image"].shape == (3, 16, 16)


@pytest.mark.parametrize("kind", [DataKind.flowers102, DataKind.pets, DataKind.food101])
def test_files_of_torchvisions_data_sets(tmp_path: Path, kind: DataKind) -> None:
    with pytest.raises(DataError, match=rf"{kind.value} is missing or incomplete there .*data\.download=true"):
        describe(folder_config(tmp_path, kind))
    with pytest.raises(ConfigError, match=r"data\.root is not given"):
        describe(folder_config(None, kind))


def test_pets_from_files(tmp_path: Path) -> None:
    base = tmp_path / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for name in ("Abyssinian_1", "Abyssinian_2", "beagle_1"):
        write_picture(base / "images" / f"{name}.jpg")
    (base / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\nbeagle_1 2 2 1\n")
    (base / "annotations/test.txt").write_text("Abyssinian_2 1 1 1\n")
    config = folder_config(tmp_path, DataKind.pets)
    info = describe(config)
    assert info.classes == ["Abyssinian", "Beagle"] and info.counts == [1, 1]
    assert any("official test split" in note for note in info.notes)
    assert [sample["label"] for sample in samples(config, "val")] == [0]
