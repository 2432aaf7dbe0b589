"""Folders of Hugging Face's datasets library."""

from __future__ import annotations

import builtins
import gc
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.made_pictures import folder_config, write_picture
from trainer.errors import DataError
from vit.config import DataKind, LossKind, VitConfig
from vit.data import build_dataset, describe
from vit.data.checking.check import open_splits
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans
from vit.validate import problems

pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # of the library and of dill, at whatever versions


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What the library leaves open goes while its warnings are not errors."""
    yield
    gc.collect()


def made(tmp_path: Path, count: int = 6, labels: bool = True):
    datasets = pytest.importorskip("datasets")
    from datasets.arrow_writer import ArrowWriter

    files = [str(write_picture(tmp_path / "files" / f"{i}.png", (40 * i, 0, 0))) for i in range(count)]
    kinds = {"picture": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat"])}
    features = datasets.Features(kinds if labels else {"picture": kinds["picture"]})
    # Not Dataset.from_dict: a table in memory is pickled for its fingerprint, which some versions of dill cannot.
    with ArrowWriter(path=str(tmp_path / "made.arrow"), features=features) as writer:
        for number, file in enumerate(files):
            writer.write({"picture": file, "label": number % 2} if labels else {"picture": file})
        writer.finalize()
    return datasets.Dataset.from_file(str(tmp_path / "made.arrow"))


def table(folder: Path, name: str, columns: dict[str, list], kinds: dict[str, Any]) -> None:
    """Six pictures and further columns as a parquet file of a split."""
    datasets = pytest.importorskip("datasets")
    from datasets.arrow_writer import ArrowWriter

    files = [str(write_picture(folder.parent / "files" / f"{i}.png", (40 * i, 0, 0))) for i in range(6)]
    features = datasets.Features({"image": datasets.Image(), **kinds})
    path = str(folder.parent / f"{name}.arrow")
    with ArrowWriter(path=path, features=features) as writer:
        for number, file in enumerate(files):
            writer.write({"image": file, **{key: values[number] for key, values in columns.items()}})
        writer.finalize()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_file(path).to_parquet(str(folder / f"data/{name}-00000-of-00001.parquet"))


def config_of(root: Path) -> VitConfig:
    forget_scans()
    config = folder_config(root, DataKind.hf)
    config.data.cache_dir = str(root.parent / "cache")
    return config


def check(config: VitConfig, val: bool) -> None:
    info = describe(config)
    assert info.classes == ["dog", "cat"] and info.channels == 3
    assert any("held out" in note for note in info.notes) != val
    seen = {}
    for split in ("train", "val"):
        source = open_source(config, split)
        source = pickle.loads(pickle.dumps(source))  # as a worker that is not forked gets it
        seen |= {int(source.read(i)[0][0, 0, 0]): source.label(i) for i in range(len(source))}
    assert seen == {40 * i: i % 2 for i in range(6)}
    assert build_dataset(config, "train", (16, 16)).sample(0, np.random.default_rng(0))["image"].shape == (3, 16, 16)


@pytest.mark.parametrize("form", ["dict", "one"])
def test_saved_to_disk(tmp_path: Path, form: str) -> None:
    data = made(tmp_path)
    if form == "dict":
        import datasets

        data = datasets.DatasetDict({"train": data.select(range(4)), "validation": data.select(range(4, 6))})
    data.save_to_disk(tmp_path / "saved")
    check(config_of(tmp_path / "saved"), form == "dict")


def test_saved_with_incomplete_notes(tmp_path: Path) -> None:
    made(tmp_path).save_to_disk(tmp_path / "saved")
    file = next((tmp_path / "saved").glob("*.arrow")).name
    (tmp_path / "saved/state.json").write_text(f'{{"_data_files": [{{"filename": "{file}"}}]}}')
    check(config_of(tmp_path / "saved"), False)


def test_parquet(tmp_path: Path) -> None:
    data = made(tmp_path)
    (tmp_path / "p/data").mkdir(parents=True)
    data.select(range(4)).to_parquet(str(tmp_path / "p/data/train-00000-of-00001.parquet"))
    data.select(range(4, 6)).to_parquet(str(tmp_path / "p/data/test-00000-of-00001.parquet"))
    config = config_of(tmp_path / "p")
    assert describe(config).classes == ["dog", "cat"] and len(open_source(config, "test")) == 2


def test_pictures_with_metadata(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    for i in range(6):
        write_picture(tmp_path / "r/train" / f"{i}.png", (40 * i, 0, 0))
    lines = "".join(f"{i}.png,{'dog' if i % 2 else 'cat'}\n" for i in range(6))
    (tmp_path / "r/train/metadata.csv").write_text("file_name,label\n" + lines)
    info = describe(config_of(tmp_path / "r"))
    assert info.classes == ["cat", "dog"] and info.order is not None


def test_columns_are_named(tmp_path: Path) -> None:
    made(tmp_path, labels=False).save_to_disk(tmp_path / "saved")
    config = config_of(tmp_path / "saved")
    with pytest.raises(DataError, match=r"no column 'label'.*data\.csv_label.*it has: picture"):
        describe(config)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot read this folder"):
        describe(config_of(tmp_path / "empty"))


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"pip install \"vivid\[hf\]\""):
        describe(config_of(tmp_path))


def test_a_splits_own_names_say_what_its_numbers_mean(tmp_path: Path) -> None:
    """The validation folder's ClassLabel counts cat, dog."""
    datasets = pytest.importorskip("datasets")
    for name, names in (("train", ["dog", "cat"]), ("val", ["cat", "dog"])):
        (tmp_path / name).mkdir()
        data = made(tmp_path / name)
        data = data.cast_column("label", datasets.ClassLabel(names=names))
        data.to_parquet(str(tmp_path / name / "train-0.parquet"))
    config = config_of(tmp_path / "train")
    config.data.val_root = str(tmp_path / "val")
    assert describe(config).classes == ["dog", "cat"]
    assert open_source(config, "val").labels().tolist() == [1, 0, 1, 0, 1, 0]


def labels_of(config: VitConfig, split: str) -> dict[int, list[int]]:
    """Labels, or classes that apply, by the number of the picture."""
    source = open_source(config, split)
    values = {int(source.read(i)[0][0, 0, 0]) // 40: source.labels()[i] for i in range(len(source))}
    return {n: np.flatnonzero(v).tolist() if source.multilabel else [int(v)] for n, v in values.items()}


def test_a_column_for_each_class(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {"eel": [1.0, 0.0, 0.0] * 2, "cat": [0.0, 1.0, 0.0] * 2, "dog": [0.0, 0.0, 1.0] * 2}
    kinds = {name: datasets.Value("float64") for name in columns}
    for split in ("train", "validation"):
        table(tmp_path / "p", split, columns, kinds)
    config = config_of(tmp_path / "p")
    config.data.csv_label = ["eel", "cat", "dog"]
    assert describe(config).classes == ["eel", "cat", "dog"]  # the order that was asked for
    assert labels_of(config, "val") == {n: [n % 3] for n in range(6)}
    config = config_of(tmp_path / "p")
    config.data.csv_label, config.data.multilabel = "cat", True
    with pytest.raises(DataError, match=r"eel, cat, dog hold 0 and 1 alone.*data\.csv_label=\[eel,cat,dog\]"):
        describe(config)
    config.data.csv_label = ["eel", "cat", "bird"]
    with pytest.raises(DataError, match=r"no column 'bird'.*it has: image, eel, cat, dog"):
        describe(config)


def test_several_labels_are_asked_for_as_of_a_table(tmp_path: Path) -> None:
    """What the error for lists of labels advises passes the checks of a configuration."""
    config = config_of(tmp_path)
    config.data.multilabel, config.loss.kind = True, LossKind.bce
    assert not any("multilabel" in line for line in problems(config))


def test_lists_of_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    given = [[0], [1, 2], [], [2], [0, 1, 2], [1]]
    kind = datasets.Sequence(datasets.ClassLabel(names=["dog", "cat", "eel"]))
    for split in ("train", "validation"):
        table(tmp_path / "p", split, {"labels": given}, {"labels": kind})
    config = config_of(tmp_path / "p")
    with pytest.raises(DataError, match=r"row 1.*multilabel=true"):
        describe(config)
    config.data.multilabel = True
    assert describe(config).classes == ["dog", "cat", "eel"]
    assert labels_of(config, "train") == dict(enumerate(given))


@pytest.mark.parametrize("nothing", [-1, None])
def test_a_test_split_without_labels(tmp_path: Path, nothing: int | None) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = {"label": datasets.ClassLabel(names=["dog", "cat"])}
    for split, labels in (("train", [0, 1] * 3), ("validation", [1, 0] * 3), ("test", [nothing] * 6)):
        table(tmp_path / "p", split, {"label": labels}, kinds)
    config, said = config_of(tmp_path / "p"), list[str]()
    assert list(open_splits(config, said.append)) == ["train", "val"] and "have no labels" in said[0]
    table(tmp_path / "p", "train", {"label": [0, 1, 0, nothing, 0, 1]}, kinds)
    with pytest.raises(DataError, match=r"row 3: no label in column 'label'"):
        describe(config_of(tmp_path / "p"))


def test_pointers_of_git_lfs_in_place_of_the_tables(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "p/data").mkdir(parents=True)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"
    (tmp_path / "p/data/train-00000-of-00001.parquet").write_bytes(pointer)
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet: is a pointer of Git LFS .*git lfs pull"):
        describe(config_of(tmp_path / "p"))
