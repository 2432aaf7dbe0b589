"""The page's videos are those of scripts/generate.py, bit for bit, whatever their label maps come from."""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_run import make_run, make_styled_run, street_config
from tests.helpers.scripts import run_script
from trainer.data.labels.palette import colorize
from trainer.errors import ConfigError, DataError
from trainer.page.canvas import Moved
from trainer.records.video_writer import write_video
from vid2vid.config import FirstFrame, ForegroundKind
from vid2vid.generate.video import open_clip
from vid2vid.page.generation import Files, Generation, Wishes
from vid2vid.page.model import Model, Models
from vid2vid.page.source import data_clip, data_clips, label_track, painted
from vid2vid.page.upload import uploaded_labels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = street_config()
    config.model.label_ids = [7, 8, 11, 21, 23, 24, 26]
    make_run(folder, config)
    return Models().get("tiny", folder)


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "styled"
    make_styled_run(folder, 0.5)
    return Models().get("styled", folder)


def scene() -> np.ndarray:
    """Sky above road, a car on it: (32, 64)."""
    labels = np.full((32, 64), 23, np.int32)
    labels[16:], labels[18:24, 6:18] = 7, 26
    return labels


CAR = Moved(26, (20, 10), ((0.0, 20.0, 10.0), (1.0, 22.0, 40.0)))


def results(generation: Generation) -> np.ndarray:
    return np.stack([shown.pictures["result"] for shown in generation.frames()])


def by_command(
    generation: Generation, folder: Path, monkeypatch: pytest.MonkeyPatch, picture: Path | None = None
) -> np.ndarray:
    """What the command that the page shows writes, in a folder with the files that it offers."""
    words = shlex.split(generation.command())
    assert words[:2] == ["python", "scripts/generate.py"]
    made = generation.wishes.source.made
    folder.mkdir()
    for path in (made, generation.folder / "edits.yaml"):
        if path is not None and path.exists():
            (folder / ("clip" if path is made else path.name)).symlink_to(path)
    if picture is not None:
        (folder / picture.name).symlink_to(picture)
    monkeypatch.chdir(folder)
    assert run_script("generate", *words[2:]) == 0
    return np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "video_frames").iterdir())])


def test_a_clip_of_the_data_with_edits(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    edits = [
        {"remap": "11:21,21:11"},
        {"replace": 7, "class": 8, "frames": [0, 2]},
        {"remove": True, "class": 26},
        {"insert": {"source": "street", "clip": 1, "class": 26, "at": ["50%", "90%"]}},
    ]
    generation = Generation(model, Wishes(data_clip(model, 1), 4, edits), tmp_path / "mine")
    frames = results(generation)
    assert frames.shape == (4, 32, 64, 3)
    assert np.array_equal(frames, by_command(generation, tmp_path / "command", monkeypatch))
    plain = results(Generation(model, Wishes(data_clip(model, 1), 4), tmp_path / "mine"))
    assert not np.array_equal(frames, plain), "the edits change something"


def test_a_painting_with_a_moving_object(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = painted(model, scene()[None], [CAR], 4, tmp_path / "clip")
    track = label_track(model, source, 9)
    assert track.shape == (4, 32, 64) and np.array_equal(track[0], scene())
    assert (track[3] == 26).sum() == (track[0] == 26).sum() and track[3, 22, 40] == 26 and track[3, 20, 8] == 7
    generation = Generation(model, Wishes(source, 4), tmp_path / "mine")
    assert np.array_equal(results(generation), by_command(generation, tmp_path / "command", monkeypatch))


@pytest.mark.parametrize("style", ["sample", "mean"])
def test_styles_and_seeds(styled: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: str):
    source = painted(styled, scene()[None], [CAR], 3, tmp_path / "clip")
    generation = Generation(styled, Wishes(source, 3, (), style, 3), tmp_path / "mine")
    frames = results(generation)
    assert np.array_equal(frames, by_command(generation, tmp_path / "command", monkeypatch))
    other = results(Generation(styled, Wishes(source, 3, (), style, 4), tmp_path / "mine"))
    assert np.array_equal(frames, other) == (style == "mean"), "another seed is another look"


def test_a_run_that_goes_on_from_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = street_config()
    config.model.first_frame = FirstFrame.image
    make_run(tmp_path / "run", config)
    model, picture = Models().get("run", tmp_path / "run"), tmp_path / "begin.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save(picture)
    source = painted(model, scene()[None], [], 3, tmp_path / "clip")
    generation = Generation(model, Wishes(source, 3, picture=picture), tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    frames = results(generation)
    assert model.wants_picture and generation.notes == []
    assert np.array_equal(frames, by_command(generation, tmp_path / "command", monkeypatch, picture))
    without = Generation(model, Wishes(source, 3), tmp_path / "mine")
    assert "Upload a picture to begin from" in without.notes[0] and "first_frame=model" in without.command()
    assert not np.array_equal(frames, results(without))


def test_a_run_without_flow_shows_less(tmp_path: Path):
    config = street_config()
    config.model.flow = False
    make_run(tmp_path / "run", config)
    model = Models().get("run", tmp_path / "run")
    shown = list(Generation(model, Wishes(data_clip(model, 0), 2), tmp_path / "mine").frames())
    assert [list(one.pictures) for one in shown] == [["source", "result", "real"]] * 2


def test_settings_of_the_run_that_plain_ids_do_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = street_config()
    config.model.num_labels, config.model.foreground = 30, ForegroundKind.override
    config.data.labels_dir, config.data.label_map, config.data.label_suffix = "masks", "5:7", "_m"
    config.data.label_format = "colors:cityscapes"
    make_run(tmp_path / "run", config)
    model = Models().get("run", tmp_path / "run")
    labels = np.where(scene() == 7, 5, scene())
    generation = Generation(model, Wishes(painted(model, labels[None], [], 2, tmp_path / "clip"), 2), tmp_path / "mine")
    assert set(np.unique(label_track(model, generation.wishes.source, 2)).tolist()) == {5, 23, 26}, "not mapped again"
    assert np.array_equal(results(generation), by_command(generation, tmp_path / "command", monkeypatch))


def test_everything_that_there_is_to_see(model: Model, tmp_path: Path):
    generation = Generation(model, Wishes(data_clip(model, 0), 3), tmp_path)
    with Files(tmp_path, generation.fps) as files:
        seen = []
        for shown in generation.frames():
            files.write(shown)
            seen.append(shown)
    assert [shown.number for shown in seen] == [0, 1, 2] and {shown.total for shown in seen} == {3}
    assert list(seen[1].pictures) == ["source", "result", "real", "flow", "mask", "hallucination"]
    assert all(p.shape == (32, 64, 3) and p.dtype == np.uint8 for s in seen for p in s.pictures.values())
    real = next(iter(open_clip("street", model.config, 0, 3)))["image"]
    assert np.array_equal(seen[0].pictures["real"], np.moveaxis(np.asarray(real), 0, -1))
    assert seen[0].pictures["flow"].min() == 255, "nothing is warped into the first frame"
    track = label_track(model, data_clip(model, 0), 3)
    assert np.array_equal(seen[2].pictures["source"], np.moveaxis(colorize(track[2]), 0, -1))
    for path, width in ((files.result, 256), (files.panels, 3 * 256)):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
            assert stream.width == width and sum(1 for _ in container.decode(video=0)) == 3


def test_who_goes_away_in_the_middle_blocks_nobody(model: Model, tmp_path: Path):
    frames = Generation(model, Wishes(data_clip(model, 0), 3), tmp_path).frames()
    next(frames)
    assert not model.lock.locked(), "between two frames others have their turn"
    with pytest.raises(RuntimeError), Files(tmp_path, 8.0) as files:
        files.write(next(frames))
        raise RuntimeError("cancelled")
    assert not files.result.exists() and not list(tmp_path.glob("*partial*"))


def test_models_are_few_and_new_checkpoints_are_taken(tmp_path: Path):
    for name in "abc":
        make_run(tmp_path / name, street_config())
    models = Models(kept=2)
    a, b = models.get("a", tmp_path / "a"), models.get("b", tmp_path / "b")
    assert models.get("a", tmp_path / "a") is a
    models.get("c", tmp_path / "c")
    assert models.get("a", tmp_path / "a") is a and models.get("b", tmp_path / "b") is not b
    make_run(tmp_path / "a", street_config(), step=9)
    assert models.get("a", tmp_path / "a").loaded.step == 9


def test_classes_have_names_and_colours(model: Model):
    classes = {one.id: (one.name, one.colour) for one in model.classes}
    assert list(classes) == [7, 8, 11, 21, 23, 24, 26, 255]
    assert classes[26] == ("car", (0, 0, 142)) and classes[255] == ("no class", (0, 0, 0))
    assert len(data_clips(model)) == 8 and model.size == (32, 64) and model.paints and not model.has_styles


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([{"replace": 99, "class": 7}], "the model has no class"),
        ([{"remap": "11"}], "remap"),
        ([{"remap": "11:99"}], "the model has no class 99"),
        ([{"remap": "11:21", "class": 7}], "remap changes the whole frame"),
    ],
)
def test_edits_that_cannot_be(model: Model, tmp_path: Path, edits: list[dict[str, Any]], words: str):
    with pytest.raises(ConfigError, match=words):
        Generation(model, Wishes(data_clip(model, 0), 2, edits), tmp_path)


def test_too_many_frames(model: Model, tmp_path: Path):
    with pytest.raises(ConfigError, match="between 1 and 480"):
        Generation(model, Wishes(data_clip(model, 0), 100_000), tmp_path)


# Uploads


def read(model: Model, folder: Path, *files: Path) -> np.ndarray:
    return np.stack(list(uploaded_labels(model, files, 10, folder / "between")))


def test_label_maps_of_any_form(model: Model, tmp_path: Path):
    labels = scene()
    ids, colours = tmp_path / "ids.png", tmp_path / "colours.png"
    Image.fromarray(labels.astype(np.uint8)).save(ids)
    Image.fromarray(np.moveaxis(colorize(labels), 0, -1)).save(colours)
    assert np.array_equal(read(model, tmp_path, ids)[0], labels)
    assert np.array_equal(read(model, tmp_path, colours)[0], labels)
    large = tmp_path / "large.png"
    Image.fromarray(labels.astype(np.uint8).repeat(3, 0).repeat(3, 1)).save(large)
    assert np.array_equal(read(model, tmp_path, large)[0], labels), "brought to the model's size"
    packed = tmp_path / "many.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number, name in enumerate(("10", "9", "8")):
            Image.fromarray(np.roll(labels, number, 1).astype(np.uint8)).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"clip/{name}.png")
    assert np.array_equal(read(model, tmp_path, packed), np.stack([np.roll(labels, n, 1) for n in (2, 1, 0)]))
    assert not (tmp_path / "between").exists()


def test_a_film_of_label_maps(model: Model, tmp_path: Path):
    maps = np.stack([np.roll(scene(), 2 * number, 1) for number in range(3)])
    film = tmp_path / "labels.mp4"
    write_video(
        film, torch.from_numpy(np.moveaxis(colorize(maps), 1, -1)).repeat_interleave(4, 1).repeat_interleave(4, 2), 8
    )
    found = read(model, tmp_path, film)
    assert found.shape == maps.shape and (found == maps).mean() > 0.98, "but for borders, which compression blurs"


def test_classes_of_other_data_in_the_colours_that_the_page_shows(tmp_path: Path):
    """Three classes from 0 on: pictures and films of them come back as they were painted."""
    config = street_config()
    config.model.label_ids, config.model.num_labels, config.model.foreground = None, 3, ForegroundKind.off
    make_run(tmp_path / "own", config)
    own = Models().get("own", tmp_path / "own")
    labels = (scene() == 7) + 2 * (scene() == 26) + 255 * (np.arange(32) < 4)[:, None]
    shown = {one.id: one.colour for one in own.classes}
    painted = np.array([[shown[label] for label in row] for row in labels.tolist()], np.uint8)
    Image.fromarray(painted).save(tmp_path / "x.png")
    write_video(tmp_path / "x.mp4", torch.from_numpy(painted)[None].repeat_interleave(4, 1).repeat_interleave(4, 2), 8)
    for name in ("x.png", "x.mp4"):
        assert np.array_equal(read(own, tmp_path, tmp_path / name)[0], labels), name


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.exe", b"MZ", "not a kind of file that is taken here"),
        ("x.png", b"no picture", "x.png"),
        ("x.zip", b"no zip", "no zip that can be taken"),
        ("x.mp4", b"no film", "x.mp4"),
    ],
)
def test_files_that_are_none(model: Model, tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(model, tmp_path, tmp_path / name)


def test_ids_that_the_model_does_not_have(model: Model, tmp_path: Path):
    Image.fromarray(np.full((32, 64), 33, np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="33"):
        read(model, tmp_path, tmp_path / "x.png")
