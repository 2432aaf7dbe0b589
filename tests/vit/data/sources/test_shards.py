"""WebDataset shards: read by offset, in a fixed order, from an index that is made once."""

from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_shards import picture, shard_config, write_shard
from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.errors import DataError
from vit.data import build_dataset, describe
from vit.data.opening import open_source
from vit.data.sources.files import forget_scans
from vit.data.sources.shards import expand


def simple(first: int, count: int, label: str = "cls") -> dict[str, bytes]:
    members = {}
    for number in range(first, first + count):
        members[f"d/{number:04d}.png"] = picture(number)
        members[f"d/{number:04d}.{label}"] = str(number % 2).encode()
    return members


def test_read_by_offset_in_order(tmp_path: Path) -> None:
    for shard in range(3):
        write_shard(tmp_path / "r" / f"{shard:03d}.tar", simple(4 * shard, 4))
    config = shard_config(tmp_path / "r", tmp_path)
    assert describe(config).classes == ["0", "1"]
    train, val = open_source(config, "train"), open_source(config, "val")
    values = [[int(source.read(i)[0][0, 0, 0]) for i in range(len(source))] for source in (train, val)]
    assert sorted(values[0] + values[1]) == list(range(12)) and values == [sorted(values[0]), sorted(values[1])]
    assert train.labels().tolist() == [value % 2 for value in values[0]]
    first = values[1][0]
    assert val.name(0) == f"{tmp_path}/r/{first // 4:03d}.tar/d/{first:04d}"
    sample = build_dataset(config, "val", (16, 16)).sample(0, np.random.default_rng(0))
    assert sample["label"] == first % 2 and sample["image"].shape == (3, 16, 16)
    copy = pickle.loads(pickle.dumps(val))  # as a worker that is not forked gets it
    assert torch.equal(copy.read(2)[0], val.read(2)[0])


def test_the_index_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_shard(tmp_path / "r" / "0.tar", simple(0, 4))
    config = shard_config(tmp_path / "r", tmp_path)
    describe(config)
    assert len(list((tmp_path / "cache/shards").iterdir())) == 1
    forget_scans()
    with monkeypatch.context() as patch:
        patch.setattr("tarfile.open", lambda *a, **k: pytest.fail("the shard was read again"))
        assert describe(config).train_samples == 2
    write_shard(shard, simple(0, 8))  # another file of that name: read again
    assert describe(config).train_samples > 2
    for path in (tmp_path / "cache/shards").iterdir():
        path.write_text("{")
    forget_scans()
    assert describe(config).train_samples > 2


def test_patterns(tmp_path: Path) -> None:
    assert expand("a/{00..02}.tar") == ["a/00.tar", "a/01.tar", "a/02.tar"]
    assert expand("x-{8..11}") == ["x-8", "x-9", "x-10", "x-11"]
    assert expand("{0..1}-{3..4}") == ["0-3", "0-4", "1-3", "1-4"]
    for name in ("train-0", "train-1", "val-0"):
        write_shard(tmp_path / "r" / f"{name}.tar", simple(0, 4))
    config = shard_config(tmp_path / "r", tmp_path)
    assert [len(open_source(config, split)) for split in ("train", "val")] == [8, 4]


def test_patterns_as_roots(tmp_path: Path) -> None:
    for name in ("a-0", "a-1", "b-0"):
        write_shard(tmp_path / "r" / f"{name}.tar", simple(0, 4))
    config = shard_config(tmp_path / "r", tmp_path)
    config.data.root, config.data.val_root = f"{tmp_path}/r/a-{{0..1}}.tar", f"{tmp_path}/r/b-*.tar"
    assert [len(open_source(config, split)) for split in ("train", "val")] == [8, 4]
    config.data.root = f"{tmp_path}/r/a-{{0..4}}.tar"
    with pytest.raises(DataError, match=r"a-2\.tar: there is no such shard \(3 of 5 are missing\)"):
        describe(config)


def test_labels_as_text_and_json(tmp_path: Path) -> None:
    members = {
        "0.png": picture(0),
        "0.txt": b"dog\n",
        "1.png": picture(1),
        "1.json": json.dumps({"label": "cat"}).encode(),
    }
    members |= {"2.png": picture(2), "2.json": b'{"width": 3}', "2.cls": b"cat", "3.png": picture(3), "3.txt": b"dog"}
    members |= {"4.png": picture(4), "5.seg.png": picture(5), "5.cls": b"dog"}
    write_shard(tmp_path / "r" / "0.tar", members)
    config = shard_config(tmp_path / "r", tmp_path)
    info = describe(config)
    assert info.classes == ["cat", "dog"] and info.counts == [1, 1]
    assert any("skipped 1 pictures without a label" in note for note in info.notes)
    assert any("skipped 1 members" in note for note in info.notes)


def test_names_of_classes(tmp_path: Path) -> None:
    write_shard(tmp_path / "r" / "0.tar", simple(0, 4))
    (tmp_path / "r" / "classes.txt").write_text("even\nodd\n")
    config = shard_config(tmp_path / "r", tmp_path)
    assert describe(config).classes == ["even", "odd"]
    (tmp_path / "r" / "classes.txt").write_text("even\n")
    forget_scans()
    with pytest.raises(DataError, match=r"0\.tar: label 1 .*out of range"):
        describe(config)


def test_shards_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    config = shard_config(tmp_path / "r", tmp_path)
    with pytest.raises(DataError, match="no shards"):
        describe(config)
    with tarfile.open(tmp_path / "r/0.tar", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"0\.tar: cannot be read as a tar file.*gunzip"):
        describe(config)
    (tmp_path / "r/0.tar").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n" + b"x" * 600)
    forget_scans()
    with pytest.raises(
        DataError, match=r"0\.tar: cannot be read as a tar file \(it is a pointer of Git LFS.*git lfs pull"
    ):
        describe(config)
    forget_scans()
    write_shard(tmp_path / "r/0.tar", {"0.png": picture(0)})
    with pytest.raises(DataError, match="1 pictures without a label"):
        describe(config)


def test_a_shard_that_ends_early(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "r" / "0.tar", simple(0, 4))
    config = shard_config(tmp_path / "r", tmp_path)
    config.data.val_root = config.data.root
    source = open_source(config, "val")
    with shard.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(BadFileError, match=r"0\.tar/d/0003: the shard ends"):
        source.read(3)


@pytest.mark.parametrize("places", [
    ["imagenet1k-train-0000.tar", "imagenet1k-train-0001.tar", "imagenet1k-validation-00.tar"],
    ["a/set_training_0.tar", "a/set_training_1.tar", "b/set_valid_0.tar"],
    ["train/0.tar", "train/1.tar", "val/0.tar"],
    ["0.tar", "1.tar", "x-val.tar"],
])  # fmt: skip
def test_splits_by_words_anywhere(tmp_path: Path, places: list[str]) -> None:
    for number, place in enumerate(places):
        write_shard(tmp_path / "r" / place, simple(10 * number, 4))
    config = shard_config(tmp_path / "r", tmp_path)
    assert [len(open_source(config, split)) for split in ("train", "val")] == [8, 4]
    assert not any("held out" in note for note in describe(config).notes)
    if "/" not in places[0]:
        forget_scans()
        config.data.root = f"{tmp_path}/r/*.tar"
        assert [len(open_source(config, split)) for split in ("train", "val")] == [8, 4]


def test_shards_of_no_split_are_told(tmp_path: Path) -> None:
    for place in ("train-0.tar", "val-0.tar", "extra.tar"):
        write_shard(tmp_path / "r" / place, simple(0, 4))
    notes = describe(shard_config(tmp_path / "r", tmp_path)).notes
    assert any("left out 1 shards" in note and "extra.tar" in note for note in notes)


@pytest.mark.parametrize("end", ["at a block", "inside"])
def test_a_shard_cut_short(tmp_path: Path, end: str) -> None:
    for number in range(2):
        write_shard(tmp_path / "r" / f"{number}.tar", simple(10 * number, 6))
    shard = tmp_path / "r/1.tar"
    with tarfile.open(shard) as archive:
        member = archive.getmembers()[6]
    with shard.open("r+b") as file:
        file.truncate(member.offset if end == "at a block" else member.offset_data + 20)
    config = shard_config(tmp_path / "r", tmp_path)
    with pytest.raises(DataError, match=r"r/1\.tar: the shard is cut short.*data\.on_bad_file=skip"):
        describe(config)
    config.data.on_bad_file = OnBadFile["skip"]
    assert any("cut short" in note and "9 whole pictures are used" in note for note in describe(config).notes)
    assert sum(len(open_source(config, split)) for split in ("train", "val")) == 9


def test_an_index_that_cannot_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_shard(tmp_path / "r/0.tar", simple(0, 4))
    (tmp_path / "cache").write_text("a file where the folder would be")
    config = shard_config(tmp_path / "r", tmp_path)
    config.data.cache_dir = str(tmp_path / "cache")
    assert describe(config).train_samples == 2 and "data.cache_dir=" in caplog.text
    config.data.cache = True
    with pytest.raises(DataError, match=r"data\.cache=true: .*cache.*cannot be written.*data\.cache_dir=PATH"):
        build_dataset(config, "train", (16, 16))


def test_names_of_classes_in_another_encoding(tmp_path: Path) -> None:
    write_shard(tmp_path / "r/0.tar", simple(0, 4))
    (tmp_path / "r/classes.txt").write_bytes("Käfer\nBär\n".encode("latin-1"))
    assert describe(shard_config(tmp_path / "r", tmp_path)).classes == ["Käfer", "Bär"]


def test_a_splits_own_list_of_names_says_what_its_numbers_mean(tmp_path: Path) -> None:
    """Training counts red, blue; validation blue, red: the same number is another class there."""
    write_shard(tmp_path / "tr/a.tar", simple(0, 4))
    (tmp_path / "tr/classes.txt").write_text("red\nblue\n")
    write_shard(tmp_path / "va/a.tar", simple(0, 4))
    config = shard_config(tmp_path / "tr", tmp_path)
    config.data.val_root = str(tmp_path / "va")

    def labels(*names: str) -> list[int]:
        (tmp_path / "va/classes.txt").write_text("".join(f"{name}\n" for name in names))
        forget_scans()
        source = open_source(config, "val")
        assert source.classes == ["red", "blue"]
        return source.labels().tolist()

    assert labels("red", "blue") == [0, 1, 0, 1]
    assert labels("blue", "red") == [1, 0, 1, 0]
    assert labels("red", "blue", "green") == [0, 1, 0, 1]  # of which no picture is there
    with pytest.raises(DataError, match=r"label green not among the 2 classes of the training split \(red, blue\)"):
        labels("red", "green")
    with pytest.raises(DataError, match=r"out of range.*classes\.txt names 1 classes"):
        labels("red")
    assert labels("rot", "blau") == [0, 1, 0, 1]
    assert any("otherwise than training does (rot, blau): taken in the same order" in x for x in describe(config).notes)
    (tmp_path / "tr/classes.txt").unlink()
    (tmp_path / "va/classes.txt").write_text("blue\nred\n")
    forget_scans()
    assert open_source(config, "val").labels().tolist() == [0, 1, 0, 1]  # training tells no names


@pytest.mark.parametrize("label", [{"label": [1, 2]}, [1], {"class": {"name": "cat"}}])
def test_several_labels_are_no_class(label: object, tmp_path: Path) -> None:
    """As text they would be: a class "[1, 2]"."""
    write_shard(tmp_path / "r/a.tar", {"1.png": picture(1), "1.json": json.dumps(label).encode()})
    with pytest.raises(DataError, match=r"a\.tar/1\.json: .* is no single name or number.*data\.multilabel=true"):
        describe(shard_config(tmp_path / "r", tmp_path))


@pytest.mark.parametrize("padding", [0, 10240])
def test_shards_that_were_glued_together(tmp_path: Path, padding: int) -> None:
    """`cat a.tar b.tar`: all of both; where names come again, each picture keeps the label beside it."""
    parts = [write_shard(tmp_path / f"{n}.tar", simple(0, 4)).read_bytes() for n in range(2)]
    other = {f"d/{n:04d}.{end}": data for n in range(4) for end, data in (("png", picture(50 + n)), ("cls", b"2"))}
    parts.append(write_shard(tmp_path / "2.tar", other).read_bytes())
    (tmp_path / "r").mkdir()
    (tmp_path / "r/0.tar").write_bytes(b"".join(part + b"\0" * padding for part in parts))
    config = shard_config(tmp_path / "r", tmp_path)
    config.data.val_root = config.data.root
    source = open_source(config, "train")
    found = [(int(source.read(n)[0][0, 0, 0]), source.label(n)) for n in range(len(source))]
    assert found == [(0, 0), (1, 1), (2, 0), (3, 1)] * 2 + [(50 + n, 2) for n in range(4)]
    assert len({source.name(n) for n in range(12)}) == 12
    (tmp_path / "r/0.tar").write_bytes(parts[0] + b"no tar file" * 100)
    forget_scans()
    with pytest.raises(DataError, match=r"0\.tar: at byte 10240 of 11340 lies what is no tar file"):
        describe(config)
    spoilt = bytearray(parts[0])
    spoilt[2048:2060] = b"x" * 12  # the third header
    (tmp_path / "r/0.tar").write_bytes(spoilt)
    forget_scans()
    with pytest.raises(DataError, match=r"0\.tar: at byte 2048 of"):
        describe(config)
    (tmp_path / "r/0.tar").write_bytes(parts[0] + parts[2][:3000])
    forget_scans()
    with pytest.raises(DataError, match=r"0\.tar: the shard is cut short"):
        describe(config)


def captioned(count: int, json_too: bool = True, **facts: object) -> dict[str, bytes]:
    members = {}
    for number in range(count):
        caption = f"a photo of thing {number // 2}"
        members[f"{number:09d}.jpg"] = picture(number)
        members[f"{number:09d}.txt"] = caption.encode()
        if json_too:
            told = {"caption": caption, "url": "http://x", "key": f"{number:09d}", "status": "success", **facts}
            members[f"{number:09d}.json"] = json.dumps(told).encode()
    return members


def test_captions_are_no_classes(tmp_path: Path) -> None:
    """img2dataset writes a picture, its caption as txt, and a json with the caption again."""
    write_shard(tmp_path / "r/00000.tar", captioned(6))
    config = shard_config(tmp_path / "r", tmp_path)
    with pytest.raises(DataError, match=r"6 pictures have captions.*class in NAME\.cls\|json\|txt.*label, cls"):
        describe(config)
    write_shard(tmp_path / "r/00000.tar", captioned(6, label="dog"))  # a class beside the caption is one
    assert describe(config).classes == ["dog"]
    write_shard(tmp_path / "r/00000.tar", {k: v for k, v in captioned(12, False).items() if int(k[8]) % 2})
    with pytest.raises(DataError, match=r"pictures have captions.*'a photo of thing 0'"):
        describe(config)
    named = {f"{n}.{end}": data for n in range(4) for end, data in (("png", picture(n)), ("txt", b"golden retriever"))}
    write_shard(tmp_path / "r/00000.tar", named)
    assert describe(config).classes == ["golden retriever"]


def test_names_with_brackets_and_braces(tmp_path: Path) -> None:
    root = tmp_path / "set [v2] {x}"
    for number in range(3):
        write_shard(root / f"train-{number}.tar", simple(4 * number, 4))
    write_shard(root / "val-[0].tar", simple(40, 4))
    config = shard_config(root, tmp_path)
    for place in (root, f"{root}/train-{{0..2}}.tar", f"{root}/train-*.tar", f"{root}/train-{{0,1,2}}.tar"):
        config.data.root, config.data.val_root = str(place), f"{root}/val-[0].tar"
        forget_scans()
        assert [len(open_source(config, split)) for split in ("train", "val")] == [12, 4]


def test_packed_shards_are_told(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r/0.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=r"no shards.*unpack 0\.tar\.gz"):
        describe(shard_config(tmp_path / "r", tmp_path))


@pytest.mark.parametrize(
    "facts",
    [
        {"GNU.sparse.map": "x,y", "GNU.sparse.size": "10"},
        {"GNU.sparse.map": "0,4", "GNU.sparse.size": "x"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"size": "9" * 23},
    ],
)
def test_facts_in_a_header_that_are_none(facts: dict[str, str], tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "r" / "0.tar", simple(0, 4))
    with tarfile.open(shard, "a", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("z.cls")
        member.pax_headers = facts
        archive.addfile(member)
    with pytest.raises(DataError, match=r"0\.tar: the shard is cut short, .* set data\.on_bad_file=skip"):
        describe(shard_config(tmp_path / "r", tmp_path))
