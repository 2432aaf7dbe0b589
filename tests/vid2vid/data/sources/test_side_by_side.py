"""Pictures side by side as condition: which files belong to a frame, and what the networks see of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.composed import problems_of
from tests.helpers.made_frames import HEIGHT, WIDTH, save
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig, FlowMethod, ModelConfig, SourceKind
from vid2vid.data.augment import Crop
from vid2vid.data.folders.dataset import FolderDataset, open_folder
from vid2vid.data.folders.file_kinds import FileKind
from vid2vid.data.folders.files import IMAGE_EXTENSIONS, LABEL_EXTENSIONS
from vid2vid.data.folders.not_found import no_files
from vid2vid.data.sources.kinds import KINDS, parse_sources, picture_channels
from vid2vid.data.sources.look import columns
from vid2vid.data.sources.pictures import canny
from vid2vid.encoding import SourceEncoder

H, W = HEIGHT, WIDTH


def depth_of(frame: int) -> np.ndarray:
    return (np.arange(H)[:, None] * 100 + np.arange(W) + frame * 1000).astype(np.uint16)


@pytest.fixture
def with_depth(make_folders, folder_config):
    """Labels and pictures of 6 frames, depth of 16 bits in 0..9999 beside them, and the configuration for all three."""
    root = make_folders({"a": 6})
    for frame in range(6):
        save(root / f"depth/a/frame{frame}.png", depth_of(frame))
    config = folder_config(
        root, flow=FlowMethod.none, sources=["depth:depth", "edges"], source_range=[0, 11880], flip=0.0
    )
    config.model.source = SourceKind.both
    return config


def test_labels_depth_and_edges_stand_side_by_side(with_depth):
    sample = FolderDataset(with_depth, "train", (H, W), 3).sample(0, np.random.default_rng(1))
    first = int(sample["name"].removeprefix("a/frame"))
    assert sample["source"].shape == (3, 2, H, W) and sample["labels"].shape == (3, H, W)
    for t in range(3):
        expected = np.round(depth_of(first + t) / (11880 / 255))  # 11880 is white
        assert np.abs(sample["source"][t, 0].numpy() - expected).max() <= 1
        assert torch.equal(sample["source"][t, 1:], canny(sample["images"][t], 60, 160))
    encoder = SourceEncoder(with_depth.model, with_depth.data)
    encoded = encoder.encode({k: v[None] for k, v in sample.items() if k in ("labels", "source")})[0]
    classes = with_depth.model.num_labels
    assert encoder.channels == encoded.shape[1] == classes + 1 + 2  # instance edges after the classes
    assert torch.equal(encoded[:, :classes].argmax(1), sample["labels"].long())
    assert torch.equal(encoded[:, classes + 1 :], sample["source"].float() / 127.5 - 1)
    assert set(encoded[:, classes].unique().tolist()) <= {0.0, 1.0}


def test_a_frame_without_its_depth_is_none(with_depth, caplog):
    (Path(with_depth.data.root) / "depth/a/frame2.png").unlink()
    sequences = FolderDataset(with_depth, "train", (H, W), 2).sequences
    assert [[frame.key for frame in s.frames] for s in sequences] == [
        ["frame0", "frame1"],
        ["frame3", "frame4", "frame5"],
    ]
    assert "1 frames dropped without depth:depth (frame2)" in caplog.text


def renamed(names: list[str]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for path, name in zip(sorted(folder.glob("a/*")), names, strict=False):
            path.rename(path.with_name(name))

    return change


def flattened(folder: Path) -> None:
    for path in folder.glob("a/*"):
        path.rename(folder / path.name)


def one_file(folder: Path) -> None:
    shutil.rmtree(folder)
    save(folder / "a/all.png", depth_of(0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed([f"dance_{n}.png" for n in range(6)]), "They are named e.g. frame0.png and dance_0.png: rename one"),
        (renamed([f"frame{n:03d}.png" for n in range(6)]), "Their numbers are padded differently"),
        (renamed([f"frame{n}_d.png" for n in range(6)]), "the ending _d is the same: take it off the names of depth:d"),
        (flattened, "depth:depth lie in .*/depth itself, labels in folders of sequences: put .* such as .*/depth/a"),
        (lambda folder: (folder / "a").rename(folder / "b"), "different names: a and b. Rename one of them"),
        (one_file, "all.png is the only one of depth:depth: one file for each frame is needed"),
    ],
)
@pytest.mark.parametrize("may_lack", [False, True])
def test_sources_that_belong_to_no_frame_are_told_what_to_change(with_depth, monkeypatch, change, words, may_lack):
    """As well where a frame may do without its file (landmarks of a face): none at all is a mistake."""
    monkeypatch.setitem(KINDS, "depth", replace(KINDS["depth"], gaps=may_lack))
    change(Path(with_depth.data.root) / "depth")
    with pytest.raises(DataError, match=words):
        FolderDataset(with_depth, "train", (H, W), 2)


def test_depth_in_arrays_is_told_what_to_convert_it_to(with_depth):
    for path in Path(with_depth.data.root).glob("depth/a/*"):
        path.rename(path.with_suffix(".npy"))
    with pytest.raises(DataError, match=r"\.npy is not read here: convert it to TIFF .* or to PNG of 16 bits"):
        FolderDataset(with_depth, "train", (H, W), 2)


@pytest.mark.parametrize(
    ("kind", "extensions", "name", "words"),
    [
        (
            "face:landmarks",
            (".json", ".txt"),
            "openface.csv",
            r"\.csv is not read here: convert it to JSON, a file for",
        ),
        ("pose:poses", (".json",), "0.npy", r"\.npy is not read here: convert it to JSON, a file for each frame"),
        ("labels", LABEL_EXTENSIONS, "labelme.json", r"\.json is not read here: convert it to PNG of ids"),
        ("images", IMAGE_EXTENSIONS, "0.npy", r"\.npy is not read here: convert it to PNG or JPEG"),
    ],
)
def test_files_that_are_not_read_are_told_what_their_kind_needs(tmp_path, kind, extensions, name, words):
    (tmp_path / name).touch()
    assert re.search(words, no_files(FileKind(kind, tmp_path, "data.sources", extensions)))


def test_generation_reads_what_it_needs_and_no_more(with_depth):
    """Depth alone is generated from without pictures; edges need them."""
    root = Path(with_depth.data.root)
    with_depth.model.source, with_depth.data.sources = SourceKind.image, ["depth:depth"]
    for path in root.rglob("images/a/*"):
        path.unlink()
    for path in (root / "images/a", root / "images"):
        path.rmdir()
    with_depth.resolution = [H, W]
    for place in (root, root / "depth"):  # a root, or the folder itself
        (stream,) = open_folder(place, with_depth)
        frames = list(stream)
        assert len(frames) == 6 and set(frames[0]) == {"source"} and frames[0]["source"].shape == (1, H, W)
    with_depth.data.sources = ["depth:depth", "edges"]
    with pytest.raises(DataError, match="images"):
        open_folder(root, with_depth)


def test_sketches_are_drawn_from_a_folder_of_pictures(make_folders, folder_config):
    root = make_folders({"a": 3})
    config = folder_config(root, sources=["edges"])
    config.model.source, config.resolution = SourceKind.image, [H, W]
    for place in (root, root / "images"):
        (stream,) = open_folder(place, config)
        for frame in stream:
            assert torch.equal(frame["source"], canny(frame["image"], 60, 160))


def test_what_is_drawn_at_random_is_the_clips_own(with_depth, monkeypatch):
    """One seed per training clip, none in evaluation; without data.sources nothing more is drawn."""
    seen: list[int | None] = []

    def draw(self, crop, image, seed):
        seen.append(seed)
        return torch.zeros(1, *crop.size, dtype=torch.uint8)

    monkeypatch.setattr("vid2vid.data.sources.pictures.EdgeSource.draw", draw)
    data = FolderDataset(with_depth, "train", (H, W), 3)
    data.sample(0, np.random.default_rng(5))
    data.sample(0, np.random.default_rng(5))
    data.sample(0, np.random.default_rng(6))
    assert seen[0] is not None and seen[:3] == [seen[0]] * 3 == seen[3:6] and seen[6] != seen[0]
    seen.clear()
    FolderDataset(with_depth, "val", (H, W), 3).sample(0, np.random.default_rng(5))
    assert set(seen) == {None}


def test_columns_show_each_source():
    data = DataConfig(sources=["image:rgb", "depth:depth", "depth:other"])
    source = torch.arange(5).view(5, 1, 1).expand(5, 2, 2)
    found = columns(source, ModelConfig(source=SourceKind.image), data)
    assert {name: picture[:, 0, 0].tolist() for name, picture in found.items()} == {
        "image": [0, 1, 2], "depth": [3, 3, 3], "depth:other": [4, 4, 4],
    }  # fmt: skip


def test_depth_is_cropped_as_its_frame_is(with_depth):
    (raw,) = FolderDataset(with_depth, "train", (H, W), 3).sequences[0].read([1])
    crop = Crop((H, W), 4, 8, 8, 16, (8, 16), flip=True)
    drawn = raw.cropped(crop)["source"][0].numpy()
    assert np.abs(drawn - np.round(depth_of(1)[4:12, 8:24][:, ::-1] / (11880 / 255))).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pics:a"], "data.sources has pics:a: the kinds are image:FOLDER, depth:FOLDER"),
        (["depth"], "data.sources has depth: name the folder of its grey pictures.*depth:FOLDER"),
        (["edges:a"], "data.sources has edges:a: edges needs no folder"),
        (["image:/tmp"], "image:/tmp: folders lie below data.root"),
        (["edges", "edges"], "data.sources has edges twice"),
    ],
)
def test_words_that_cannot_be(words, message):
    with pytest.raises(ConfigError, match=message):
        parse_sources(DataConfig(sources=words))


def test_settings_that_contradict_each_other():
    def found(*words: str) -> str:
        return "; ".join(problems_of(["model=vid2vid", *words]))

    assert "set model.source=image, or both" in found("data=folders", "data.root=tests", "data.sources=[edges]")
    assert "model.source=both is label maps and what data.sources draw, which is empty" in found("model.source=both")
    assert "leave data.sources out" in found("model.source=both", "data.sources=[edges]")
    assert "data.frame_size=[3]: needs [height,width]" in found("data=depth", "data.root=tests", "data.frame_size=[3]")
    assert found("data=depth", "data.root=tests") == found("data=sketch", "data.root=tests") == ""
    assert found("data=folders", "data.root=tests", "model.source=both", "data.sources=[edges]") == ""


def test_channels_are_those_of_the_list():
    data = DataConfig(sources=["image:a", "depth:b", "edges"])
    assert picture_channels(ModelConfig(source=SourceKind.both), data) == 5
    assert picture_channels(ModelConfig(source=SourceKind.labels), data) == 0
    assert picture_channels(ModelConfig(source=SourceKind.image, source_channels=1), DataConfig()) == 1


def test_a_folder_that_is_not_there(with_depth):
    with_depth.data.sources = ["depth:disparity"]
    with pytest.raises(DataError, match=r"no folder 'disparity' \(data.sources has depth:disparity\).*depth, images"):
        FolderDataset(with_depth, "train", (H, W), 3)
