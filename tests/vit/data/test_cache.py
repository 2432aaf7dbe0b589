"""The cache of decoded pictures: the same pictures, reduced, announced, written once and resumed."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_pictures import folder_config, write_picture, write_tree
from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.errors import DataError
from vit.config import VitConfig
from vit.data import build_dataset
from vit.data import cache as cache_module
from vit.data.cache import CachedSource, cached, reduced_size
from vit.data.dataset import PictureDataset
from vit.data.opening import open_source
from vit.data.source import Selection, Source
from vit.data.sources.files import EncodedSource, forget_scans


@pytest.fixture
def config(tmp_path: Path) -> VitConfig:
    root = write_tree(tmp_path / "r", {"train/a": 3, "train/b": 2, "val/a": 1, "val/b": 1})
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(noise).save(root / "train/b/large.png")
    made = folder_config(root)
    made.data.cache = True
    made.data.cache_size = 20
    return made


def open_cached(config: VitConfig, split: str = "train") -> tuple[Source, Source]:
    forget_scans()
    source = open_source(config, split)
    return source, cached(config, source)


def pictures(source: Source) -> list[torch.Tensor]:
    return [source.read(index)[0] for index in range(len(source))]


def folders(config: VitConfig) -> list[Path]:
    return [path for path in Path(config.data.cache_dir).iterdir() if path.is_dir()]


def test_the_same_pictures_and_labels(config: VitConfig) -> None:
    source, view = open_cached(config)
    assert view.labels().tolist() == source.labels().tolist() and view.classes == source.classes
    assert [view.name(i) for i in range(6)] == [source.name(i) for i in range(6)]
    for index in range(5):
        assert torch.equal(view.read(index)[0], source.read(index)[0])  # smaller than the cache's side: as they are
        assert view.read(index)[1] == source.read(index)[1]
    large = view.read(5)[0]
    assert large.shape == (3, 20, 30)
    expected = torch.nn.functional.interpolate(
        source.read(5)[0][None].float(), (20, 30), mode="bilinear", antialias=True
    )
    assert (large - expected[0]).abs().max() <= 1.01


@pytest.mark.parametrize("kind", ["jpg", "tif", "png", "webp"])
def test_turned_pictures_keep_their_aspect(config: VitConfig, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 60)).save(Path(str(config.data.root)) / f"train/b/turned.{kind}", exif=exif)
    source, view = open_cached(config)
    place = next(i for i in range(len(source)) if source.name(i).endswith(f"turned.{kind}"))
    assert source.read(place)[0].shape == (3, 90, 60) and view.read(place)[0].shape == (3, 30, 20)


def test_reduced_sizes() -> None:
    assert reduced_size((60, 90), 20) == (20, 30) and reduced_size((91, 60), 20) == (30, 20)
    assert reduced_size((12, 90), 20) == (12, 90) and reduced_size((20, 20), 20) == (20, 20)


def test_written_once_and_announced(config: VitConfig, caplog: pytest.LogCaptureFixture) -> None:
    open_cached(config)
    said = caplog.text
    assert "writing 6 pictures of short side 20, 4.7 KB in all" in said and "free" in said
    caplog.clear()
    _, view = open_cached(config)
    assert not caplog.records and len(folders(config)) == 1
    assert any("data.cache: 6 pictures of short side 20" in note for note in view.notes)


def test_another_list_side_or_file_is_another_cache(config: VitConfig) -> None:
    open_cached(config)
    config.data.cache_size = 16
    open_cached(config)
    config.data.channels = 1
    _, grey = open_cached(config)
    assert grey.read(5)[0].shape == (1, 16, 24)
    write_picture(Path(str(config.data.root)) / "train/a/0.png", (1, 2, 3), (9, 9))
    _, changed = open_cached(config)
    assert len(folders(config)) == 4 and changed.read(0)[0].shape == (1, 9, 9)


def made_before(source: Source, side: int, folder: Path) -> None:
    """A complete cache of black pictures, 12x16, as it was named while 16-bit colours lost bits."""
    assert isinstance(source, EncodedSource)
    digest = hashlib.blake2b(f"2|{side}|3|{len(source)}".encode(), digest_size=12)
    for index in range(len(source)):
        digest.update(source.stamp(index).encode() + b"\n")
    made = folder / digest.hexdigest()
    made.mkdir(parents=True)
    np.save(made / "sizes.npy", np.full((len(source), 2), (12, 16), np.int32))
    (made / "pixels.bin").write_bytes(bytes(len(source) * 12 * 16 * 3))
    (made / "complete").write_text("{}")


@pytest.mark.parametrize("ending, used", [("jpg", True), ("jpeg", True), ("png", False), ("TIF", False)])
def test_a_cache_from_before_16_bit_colours_kept_their_bits_is_used_for_files_without_them(
    tmp_path: Path, ending: str, used: bool
) -> None:
    for place in ("train/a", "train/b", "val/a", "val/b"):
        write_picture(tmp_path / "r" / place / f"0.{ending}", (200, 200, 200))
    config = folder_config(tmp_path / "r")
    config.data.cache, config.data.cache_size = True, 20
    made_before(open_source(config, "train"), 20, Path(config.data.cache_dir))
    _, view = open_cached(config)
    assert (pictures(view)[0].max() == 0) == used and len(folders(config)) == (1 if used else 2)


def test_training_reads_from_it(config: VitConfig) -> None:
    config.data.train_samples = 4
    dataset = build_dataset(config, "train", (16, 16))
    assert isinstance(dataset, PictureDataset) and isinstance(dataset.source, Selection)
    assert isinstance(dataset.source.source, CachedSource) and len(dataset.source.source) == 4
    assert dataset.sample(0, np.random.default_rng(0))["image"].shape == (3, 16, 16)


def test_balanced_pictures_are_kept_once(config: VitConfig) -> None:
    config.data.balanced = True
    (Path(str(config.data.root)) / "train/b/large.png").unlink()
    dataset = build_dataset(config, "train", (16, 16))
    assert isinstance(dataset, PictureDataset) and isinstance(dataset.source, Selection)
    assert len(dataset) == 6 and len(dataset.source.source) == 5


def test_a_broken_off_writer_goes_on(config: VitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pictures(open_cached(config)[1])
    shutil.rmtree(config.data.cache_dir)
    monkeypatch.setattr(cache_module, "_CHUNK", 2)
    forget_scans()
    source = open_source(config, "train")
    real, decoded, broken = source.read, [], [True]

    def breaking(index: int) -> tuple:
        if index == 4 and broken[0]:
            raise KeyboardInterrupt
        decoded.append(index)
        return real(index)

    monkeypatch.setattr(source, "read", breaking)
    with pytest.raises(KeyboardInterrupt):
        cached(config, source)
    (folder,) = folders(config)
    assert (folder / "done").read_text() == "4" and not (folder / "complete").exists()
    with (folder / "pixels.bin").open("ab") as file:
        file.write(b"half a picture")
    decoded.clear()
    broken[0] = False
    view = cached(config, source)
    assert sorted(decoded) == [4, 5]  # the rest only
    monkeypatch.undo()
    assert all(torch.equal(a, b) for a, b in zip(pictures(view), whole, strict=True))


@pytest.mark.parametrize("content", [b"", b"rubbish", "truncated"])
def test_a_bad_file(config: VitConfig, content: bytes | str) -> None:
    path = Path(str(config.data.root)) / "train/b/large.png"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"large\.png"):
        open_cached(config)
    config.data.on_bad_file = OnBadFile["skip"]
    _, view = open_cached(config)
    with pytest.raises(BadFileError, match=r"large\.png: could not be read when the cache"):
        view.read(5)
    assert view.read(4)[0].shape == (3, 12, 16)
    assert open_cached(config)[1].read(4)[0].shape == (3, 12, 16)


def test_a_full_disk_is_said_before_anything_is_written(config: VitConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=2**26 + 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"needs 4\.7 KB in .*67\.1 MB are free\. Set data\.cache_dir"):
        open_cached(config)
    assert not folders(config)


def test_pictures_in_memory_need_no_cache(config: VitConfig, caplog: pytest.LogCaptureFixture) -> None:
    from vit.data.sources.arrays import ArraySource

    source = ArraySource(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1]), ["a", "b"], "array")
    caplog.set_level(logging.INFO)
    assert cached(config, source) is source and "in memory" in caplog.text


def test_the_default_side_covers_the_evaluation(config: VitConfig) -> None:
    config.data.cache_size = None
    config.resolution = [14, 28]
    _, view = open_cached(config)
    assert view.read(5)[0].shape == (3, 32, 48)  # 28 / 0.875
