"""``vid2vid.load``: the frames of `scripts/generate.py`, bit for bit, as an iterator, an array, and step by step."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vid2vid
from tests.helpers.made_run import make_run, make_styled_run, street_config
from tests.helpers.scripts import run_script
from trainer.config.fields import DeviceKind
from trainer.errors import ConfigError, DataError, UserError
from vid2vid.config import SourceKind
from vid2vid.data import open_source


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    make_run(folder, street_config())
    return folder


def clip(count: int = 5) -> dict[str, np.ndarray]:
    """Labels, instances and pictures of the street's first held-out clip."""
    (sequence,) = islice(open_source("street", street_config(), count), 1)
    frames: list[dict[str, Any]] = list(islice(iter(sequence), count))
    return {name: np.stack([np.asarray(frame[name]) for frame in frames]) for name in ("labels", "instances", "image")}


def generated(run_dir: Path, out: Path, *words: str) -> np.ndarray:
    """Frames of ``scripts/generate.py``, lossless."""
    assert run_script("generate", f"run={run_dir}", "source=street", f"out={out}", "frames=5", *words) == 0
    return np.stack([np.array(Image.open(path)) for path in sorted(out.glob("*.png"))])


def test_frames_are_those_of_generate(run_dir: Path, tmp_path: Path) -> None:
    expected, model = generated(run_dir, tmp_path / "frames"), vid2vid.load(run_dir)
    assert expected.shape == (5, 32, 64, 3) and len({frame.tobytes() for frame in expected}) == 5
    given = clip()
    video = model.generate(given["labels"], instances=given["instances"])
    assert len(video) == 5 and np.array_equal(np.asarray(video), expected)
    assert np.array_equal(video.array(), expected), "again: the same"
    assert np.array_equal(model.generate("street", frames=5).array(), expected)
    assert np.array_equal(next(iter(model.generate(torch.from_numpy(given["labels"]), frames=1))).shape, (32, 64, 3))
    mappings = (
        {"labels": one, "instances": other} for one, other in zip(given["labels"], given["instances"], strict=True)
    )
    assert all(np.array_equal(one, other) for one, other in zip(model.generate(mappings), expected, strict=True))
    assert model.size == (32, 64) and model.past_frames == 2
    assert not model.run.generator.training


def test_step_by_step_and_on_twice(run_dir: Path) -> None:
    model, given = vid2vid.load(run_dir), clip()
    expected = model.generate(given["labels"]).array()
    past, pasts = None, []
    for number, labels in enumerate(given["labels"]):
        frame, past = model.step(labels, past)
        assert np.array_equal(frame, expected[number]) and past.frames == number + 1
        pasts.append(past)
    assert past is not None and past.extras["flow"].shape == (2, 32, 64) and past.extras["mask"].shape == (1, 32, 64)
    again, _ = model.step(given["labels"][2], pasts[1])
    assert np.array_equal(again, expected[2])
    other, _ = model.step(given["labels"][0], pasts[1])
    assert not np.array_equal(other, again)


def test_first_frames(run_dir: Path, tmp_path: Path) -> None:
    model, given = vid2vid.load(run_dir), clip()
    pictures = given["image"].transpose(0, 2, 3, 1)
    file = tmp_path / "first.png"
    Image.fromarray(pictures[0]).save(file)
    both: dict[str, Any] = {"labels": given["labels"], "instances": given["instances"]}
    for words, first in (
        ([f"image={file}"], file),
        ([f"image={file}"], pictures[0]),
        ([f"image={file}"], Image.fromarray(pictures[0])),
        (["first_frame=real"], pictures[:2]),
        (["first_frame=zeros"], "zeros"),
        (["first_frame=model"], "model"),
    ):
        out = tmp_path / f"frames-{len(list(tmp_path.iterdir()))}"
        expected = generated(run_dir, out, *words)
        assert np.array_equal(model.generate(**both, first_frames=first).array(), expected), words
    expected = model.generate(np.repeat(given["labels"][2:3], 4, 0), first_frames=pictures[:2]).array()
    frame, past = model.step(given["labels"][2], pictures[:2])
    assert np.array_equal(frame, expected[2]) and np.array_equal(
        model.step(given["labels"][2], past).frame, expected[3]
    )
    with pytest.raises(ConfigError, match="1 first frames: this model sees 2 past frames"):
        model.generate(given["labels"], first_frames=pictures[:1])


def test_styles_are_drawn_by_the_seed(tmp_path: Path) -> None:
    run = tmp_path / "styled"
    make_styled_run(run, 0.05)
    model, given = vid2vid.load(run), clip()
    assert model.styled
    both: dict[str, Any] = {"labels": given["labels"], "instances": given["instances"]}
    cases: list[tuple[list[str], dict[str, Any]]] = [(["seed=3"], {"seed": 3}), (["style=mean"], {"style": "mean"})]
    for words, options in [*cases, ([], {})]:
        expected = generated(run, tmp_path / f"frames{len(words)}{words}", *words)
        assert np.array_equal(model.generate(**both, **options).array(), expected)
    one, other = (model.generate(**both, seed=seed).array() for seed in (0, 1))
    assert not np.array_equal(one, other)
    frames, past = [], None
    for labels, instances in zip(given["labels"], given["instances"], strict=True):
        frame, past = model.step(labels, past, instances=instances, seed=1)
        frames.append(frame)
    assert np.array_equal(np.stack(frames), other)


def test_every_path_is_the_same_model(run_dir: Path, tmp_path: Path) -> None:
    import shutil

    given = clip(2)["labels"]
    expected = vid2vid.load(run_dir).generate(given).array()
    step = run_dir / "checkpoints" / "step-00000007"
    moved = tmp_path / "moved"
    shutil.copytree(step, moved)
    for path in (str(run_dir), step, step.parent / "latest", step / "ema.safetensors", moved):
        assert np.array_equal(vid2vid.load(path).generate(given).array(), expected), path
    raw = vid2vid.load(step / "weights.safetensors")
    assert not raw.run.averaged and not np.array_equal(raw.generate(given).array(), expected)


def test_a_video_is_saved(run_dir: Path, tmp_path: Path) -> None:
    given, model = clip(3)["labels"], vid2vid.load(run_dir, device="cpu")
    assert model.generate(given).save(tmp_path / "a.mp4").stat().st_size > 0
    model.generate(given).save(tmp_path / "frames")
    found = [np.array(Image.open(path)) for path in sorted((tmp_path / "frames").glob("*.png"))]
    assert np.array_equal(np.stack(found), model.generate(given).array())


def test_what_is_refused(run_dir: Path, tmp_path: Path) -> None:
    model, given = vid2vid.load(run_dir), clip(2)["labels"]
    for labels, told in (
        (given[:, :16], "labels of 16x64 pixels .*works at 32x64"),
        (given.astype(np.float32), "labels of float32"),
    ):
        with pytest.raises(ConfigError, match=told):
            model.generate(labels).array()
    with pytest.raises(ConfigError, match="style=mean: this run has no feature encoder"):
        model.generate(given, style="mean")
    with pytest.raises(UserError, match="does not exist: give a run, an exported folder"):
        vid2vid.load(tmp_path / "nothing")
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes((run_dir / "checkpoints" / "step-00000007" / "ema.safetensors").read_bytes())
    with pytest.raises(UserError, match="does not tell its network: bare weights need"):
        vid2vid.load(bare)
    with pytest.raises(ConfigError, match="is no run: give the checkpoint itself"):
        vid2vid.load(tmp_path, checkpoint="best")
    assert np.array_equal(vid2vid.load(run_dir, resolution=(16, 64)).size, (16, 64))


def test_a_run_is_opened_where_and_at_the_size_that_is_asked_for(run_dir: Path, tmp_path: Path) -> None:
    given = vid2vid.load(run_dir, overrides=["resolution=[64,128]"])
    assert given.size == (64, 128) == vid2vid.load(run_dir, resolution=(64, 128)).size
    elsewhere = tmp_path / "of_a_card"
    config = street_config()
    config.trainer.device = DeviceKind.cuda
    make_run(elsewhere, config)
    labels = clip()["labels"]
    expected = vid2vid.load(run_dir).generate(labels).array()
    assert np.array_equal(vid2vid.load(elsewhere, device="cpu").generate(labels).array(), expected)
    step = run_dir / "checkpoints" / "latest"
    with pytest.raises(ConfigError, match=r"checkpoint=best: .*latest is a checkpoint already"):
        vid2vid.load(step, checkpoint="best")


def test_labels_and_instances_that_are_read_once(run_dir: Path, tmp_path: Path) -> None:
    styled = tmp_path / "styled"
    make_styled_run(styled, 0.05)
    given = clip()
    for folder in (run_dir, styled):
        model = vid2vid.load(folder)
        expected = model.generate(given["labels"], instances=given["instances"]).array()
        for labels in (given["labels"], iter(given["labels"])):
            once = model.generate(labels, instances=iter(given["instances"]))
            assert np.array_equal(once.array(), expected)
    model = vid2vid.load(run_dir)
    for labels, instances, fewer in ((5, 4, "fewer instances than labels"), (4, 5, "fewer labels than instances")):
        with pytest.raises(ConfigError, match=fewer):
            model.generate(given["labels"][:labels], instances=given["instances"][:instances]).array()


def test_what_cannot_be_saved_leaves_nothing(run_dir: Path, tmp_path: Path) -> None:
    model, labels = vid2vid.load(run_dir), clip()["labels"]
    for out in (tmp_path / "video.mp4", tmp_path / "frames"):
        with pytest.raises(DataError, match="the labels have no frames"):
            model.generate(labels[:0]).save(out)
        with pytest.raises(ConfigError, match="labels of 4x64 pixels"):
            model.generate([*labels[:3], labels[3][:4]]).save(out)
        for fps in (0, -1, float("nan"), 1001):
            with pytest.raises(ConfigError, match=r"fps=.*must be above 0 and at most 1000"):
                model.generate(labels).save(out, fps=fps)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="the labels have no frames"):
        model.generate(labels[:0]).array()


def test_pictures_that_are_no_bytes_are_refused(tmp_path: Path) -> None:
    config = street_config()
    config.model.source, config.model.source_channels = SourceKind.image, 3
    make_run(tmp_path / "run", config)
    model = vid2vid.load(tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"a condition of float32 and 3x32x64 .*uint8 pictures, 0..255, with 3 channel"
    ):
        model.generate(np.zeros((2, 32, 64, 3), np.float32)).array()
    with pytest.raises(ConfigError, match="a condition of uint8 and 1x32x64"):
        model.generate(np.zeros((2, 32, 64), np.uint8)).array()
