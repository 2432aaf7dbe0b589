"""Data at addresses are the data of a folder: the same pictures, labels, splits and order, however many read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from tests.helpers.far_data import empty, settings
from tests.helpers.made_pictures import folder_config, samples, write_tree
from tests.helpers.made_shards import picture, write_shard
from trainer.data.chosen import Chosen
from trainer.data.loader import make_eval_loader, make_loader
from trainer.data.remote.path import RemotePath
from trainer.data.remote.store import store
from trainer.errors import DataError
from vit.config import DataKind, VitConfig
from vit.data import build_dataset, describe
from vit.data.checked_samples import CheckedSamples
from vit.data.opening import open_source
from vit.data.source import Selection
from vit.data.sources.files import forget_scans
from vit.data.sources.unlabelled import list_pictures
from vit.validate import picture_problems, problems


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    empty()
    forget_scans()
    yield
    empty()
    forget_scans()


def send(folder: Path, address: str) -> None:
    """A folder's files as objects."""
    system = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"{address.removeprefix('memory:/')}/{path.relative_to(folder)}", path.read_bytes())


def both(tmp_path: Path, root: Path, kind: DataKind, name: str = "") -> tuple[VitConfig, VitConfig]:
    """(run on a folder or file, run on the same as objects)."""
    send(root, "memory://b/set")
    here, there = folder_config(root, kind), folder_config(root, kind)
    here.data.root, there.data.root = str(root / name) if name else str(root), f"memory://b/set/{name}".rstrip("/")
    for config in (here, there):
        config.data.remote = settings(tmp_path)
        config.data.cache_dir = str(tmp_path / "index")
    return here, there


def assert_alike(here: VitConfig, there: VitConfig, root: Path) -> None:
    assert picture_problems(there) == []
    a, b = describe(here), describe(there)
    assert (a.classes, a.counts, a.train_samples) == (b.classes, b.counts, b.train_samples)
    assert [note.replace(str(root), "memory://b/set") for note in a.notes] == b.notes
    assert a.facts() == b.facts()
    for split in ("train", "val"):
        mine, theirs = samples(here, split), samples(there, split)
        assert len(mine) == len(theirs) > 0
        for one, other in zip(mine, theirs, strict=True):
            assert torch.equal(one["image"], other["image"]) and one["label"] == other["label"]
        if split == "val":
            names = [sample["name"].replace(str(root), "memory://b/set") for sample in mine]
            assert names == [sample["name"] for sample in theirs]


def test_a_tree_of_class_folders(tmp_path: Path) -> None:
    root = tmp_path / "r"
    write_tree(root, {"train/cat #1": 11, "train/dog%20?": 12, "val/cat #1": 2, "val/dog%20?": 3})
    (root / "train" / "cat #1" / "notes.txt").write_text("x")
    assert_alike(*both(tmp_path, root, DataKind.imagefolder), root)


def test_what_is_held_out_is_the_same(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"c2": 12, "c10": 15, "ü": 13})
    assert_alike(*both(tmp_path, root, DataKind.imagefolder), root)


def test_a_table(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"pictures": 8})
    (root / "train.csv").write_text("path,label\n" + "".join(f"pictures/{n}.png,{n % 2}\n" for n in range(6)))
    (root / "val.csv").write_text("path,label\npictures/6.png,0\npictures/7.png,1\n")
    assert_alike(*both(tmp_path, root, DataKind.csv), root)
    here, there = both(tmp_path, root, DataKind.csv, "train.csv")
    here.data.val_share = there.data.val_share = 0.4
    assert_alike(here, there, root)


def test_a_table_of_this_machine_that_names_addresses(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"a": 12})
    send(root, "memory://b/set")
    lines = "".join(f"memory://b/set/a/{number}.png,{number % 2}\n" for number in range(12))
    (tmp_path / "table.csv").write_text("path,label\n" + lines)
    config = folder_config(tmp_path / "table.csv", DataKind.csv)
    config.data.remote, config.data.val_share = settings(tmp_path), 0.3
    config.trust.paths_outside = True  # the addresses lie in no folder that was named
    assert [sample["image"].shape for sample in samples(config, "train")][:1] == [(3, 16, 16)]
    assert len(samples(config, "train")) + len(samples(config, "val")) == 12
    (tmp_path / "table.csv").write_text("path,label\n" + lines + "memory://b/set/a/99.png,1\n")
    forget_scans()
    with pytest.raises(DataError, match=r"there is no file memory://b/set/a/99\.png \(line 14\)"):
        describe(config)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/a.png", "memory://b/set/a/0.png"])
def test_nobody_is_asked_for_an_address_of_a_stranger_s_table(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it would know that it was read, and by whom."""
    monkeypatch.setattr(RemotePath, "is_file", lambda *_: pytest.fail("was asked for"))
    write_tree(tmp_path, {"a": 1})
    (tmp_path / "table.csv").write_text(f"path,label\na/0.png,0\n{address},1\n")
    config = folder_config(tmp_path / "table.csv", DataKind.csv)
    with pytest.raises(DataError, match=rf"names 1 files outside of .*{address}.*trust\.paths_outside=true"):
        describe(config)
    for content in (f"path\na/0.png\n{address}\n", f"{address}\n"):
        (tmp_path / "list.csv").write_text(content)
        with pytest.raises(DataError, match=rf"names 1 files outside of .*{address}.*folder=PATH"):
            list_pictures(tmp_path / "list.csv")


def shards(folder: Path, count: int = 4, each: int = 6) -> Path:
    for shard in range(count):
        members = {}
        for number in range(each):
            value = shard * each + number
            members |= {f"{value:04d}.png": picture(value), f"{value:04d}.cls": str(value % 3).encode()}
        write_shard(folder / f"train-{shard:03d}.tar", members)
    write_shard(folder / "val-000.tar", {"v.png": picture(200), "v.cls": b"1"})
    return folder


@pytest.mark.parametrize("size", ["1MB", "90kB"], ids=["whole shards", "pictures by their place"])
def test_shards(tmp_path: Path, size: str) -> None:
    root = shards(tmp_path / "r")
    here, there = both(tmp_path, root, DataKind.webdataset)
    there.data.remote.cache_size = "1MB"
    describe(there)  # reads the headers
    shutil.rmtree(tmp_path / "cache" / "objects")
    (tmp_path / "cache" / "total").unlink()
    forget_scans()
    there.data.remote = settings(tmp_path, cache_size=size)
    assert_alike(here, there, root)
    cache = store().cache
    whole = sum(path.stat().st_size for path in root.glob("train-*"))
    parts = sum(len(picture(number)) for number in range(24))
    assert cache.used() - (root / "val-000.tar").stat().st_size == (whole if size == "1MB" else parts)
    there.data.root = "memory://b/set/t*-{000..003}.tar"
    source = open_source(there, "train")
    assert isinstance(source, Selection) and source.source.name(7) == "memory://b/set/train-001.tar/0007"


@pytest.mark.parametrize(
    ("world", "workers"),
    [(1, 0), (2, 0), (3, 0), (4, 0), (2, 1),
     *(pytest.param(*pair, marks=pytest.mark.slow)
       for pair in ((1, 1), (3, 1), (4, 1), (1, 3), (2, 3), (3, 3), (4, 3)))],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_no_picture_of_a_shard_is_lost_or_doubled(tmp_path: Path, world: int, workers: int) -> None:
    """An epoch has each picture once, in the order of local shards, from any place in it on."""
    root = shards(tmp_path / "r")
    here, there = both(tmp_path, root, DataKind.webdataset)
    local, far = (build_dataset(config, "train", (8, 8)) for config in (here, there))
    n, start = len(far), 12  # in the middle of the first epoch
    assert n == 24

    def seen(dataset: object, processes: int, reading: int, position: int) -> list[int]:
        """Labels by position in the data: of a global batch after the other, its processes' parts after each other."""
        loaders = [
            make_loader(dataset, seed=3, samples_seen=position, batch_size=12 // processes, rank=rank,
                        world=processes, workers=reading)
            for rank in range(processes)
        ]  # fmt: skip
        streams, found = [iter(loader) for loader in loaders], []
        for _ in range(3):
            for stream in streams:
                found += [int(image.sum()) for image in next(stream)["image"]]
        for loader in loaders:
            loader.close()
        return found

    expected = seen(local, 1, 0, start)
    assert seen(far, world, workers, start) == expected
    whole = seen(local, 1, 0, 0)[:n]
    assert seen(far, world, 0, 0)[:n] == whole
    judged = [
        name
        for rank in range(world)
        for batch in make_eval_loader(build_dataset(there, "train", (8, 8), evaluated=True), batch_size=5, rank=rank,
                                      world=world, workers=0)
        for name, weight in zip(batch["name"], batch["weight"], strict=True) if weight
    ]  # fmt: skip
    assert len(judged) == n == len(set(judged))


def test_what_a_task_trains_on_is_fetched_together(tmp_path: Path) -> None:
    """Tasks and experiments look at a data set through views, which hand on what is read next."""
    root = write_tree(tmp_path / "r", {"train/a": 4, "train/b": 4, "val/a": 3, "val/b": 3})
    _, there = both(tmp_path, root, DataKind.imagefolder)
    checked = CheckedSamples(build_dataset(there, "val", (8, 8)), ["a", "b"], 5)
    view = Chosen(checked, [4, 0, 2])
    shutil.rmtree(tmp_path / "cache" / "objects", ignore_errors=True)
    view.prefetch([0, 2])
    kept = [path.read_bytes() for path in (tmp_path / "cache" / "objects").rglob("*") if path.is_file()]
    named = [Path(view.name(place).replace("memory://b/set", str(root))) for place in (0, 2)]
    assert sorted(kept) == sorted(path.read_bytes() for path in named) and len(set(kept)) == 2


def test_what_is_read_from_this_machine_alone_says_so(tmp_path: Path) -> None:
    config = folder_config(None, DataKind.clips)
    config.data.root, config.model.frames = "memory://b/clips", 8
    assert any("is read from this machine alone. Copy it here first" in line for line in problems(config))
    config = folder_config(None)
    config.data.root, config.model.weights = "memory://b/set", "s3://b/w.safetensors"
    found = [line for line in problems(config) if line.startswith("model.weights")]
    assert "Copy it here first: aws s3 cp --recursive s3://b/w.safetensors FOLDER" in found[0]
    config.data.remote.cache_size, config.data.remote.retries = "much", -1
    lines = "\n".join(problems(config))
    assert "data.remote.cache_size=much: is no size" in lines and "data.remote.retries=-1" in lines


def test_an_address_with_nothing_there(tmp_path: Path) -> None:
    config = folder_config(None)
    config.data.root, config.data.remote = "memory://b/none", settings(tmp_path)
    with pytest.raises(DataError, match=r"data\.root=memory://b/none: there is no object of this name or below it"):
        describe(config)


def test_pictures_that_are_gone_are_passed_over_where_that_is_asked(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "r", {"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2})
    _, there = both(tmp_path, root, DataKind.imagefolder)
    dataset = build_dataset(there, "val", (8, 8))
    fsspec.filesystem("memory").rm("/b/set/val/a/1.png")
    with pytest.raises(DataError, match=r"val/a/1\.png \(data\.root\): there is no such object"):
        dataset.sample(1, np.random.default_rng(0))
    there.data.on_bad_file = type(there.data.on_bad_file)["skip"]
    forget_scans()
    assert build_dataset(there, "val", (8, 8)).sample(1, np.random.default_rng(0))["readable"] == 0
