"""scripts/generate.py and what stands behind it: weights, relabelling, panels, and files that are whole or absent."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.made_run import make_run, street_config
from tests.helpers.paths import ROOT
from trainer.config.resolve import plain
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataKind, FirstFrame
from vid2vid.generate.edit.edits import Edits
from vid2vid.generate.edit.relabel import Relabel
from vid2vid.generate.video import generate_video, open_clip, read_first_image
from vid2vid.trained import LoadedRun, load_generator


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    make_run(folder, street_config())
    return folder


@pytest.fixture
def run(run_dir: Path) -> LoadedRun:
    return load_generator(street_config(), run_dir)


def read_video(path: Path) -> tuple[np.ndarray, Any]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        stream = container.streams.video[0]
        return frames, (stream.codec_context.name, float(stream.average_rate or 0))


def street(run: LoadedRun, frames: int) -> Any:
    return open_clip("street", run.config, 0, frames)


class Frames:
    """A sequence out of a list of frames; an exception in it is raised when its turn comes."""

    name, fps = "made", 8.0

    def __init__(self, frames: list[Any]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for frame in self.frames:
            if isinstance(frame, BaseException):
                raise frame
            yield frame


def labels_only(count: int) -> list[dict[str, Any]]:
    return [{"labels": np.full((32, 64), 7 + t % 2, np.int16)} for t in range(count)]


# The video


def test_video_and_pictures(run: LoadedRun, tmp_path: Path):
    seen: list[tuple[int, int | None]] = []
    made = generate_video(
        run,
        street(run, 5),
        tmp_path / "deep" / "x.mp4",
        png=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    frames, (codec, rate) = read_video(made.video)
    assert frames.shape == (5, 32, 64, 3) and codec == "h264" and rate == made.fps == 16
    assert seen == [(t, 5) for t in range(1, 6)]
    assert made.pictures == tmp_path / "deep" / "x_frames"
    pictures = [np.asarray(Image.open(p)) for p in sorted(made.pictures.iterdir())]
    assert [p.name for p in sorted(made.pictures.iterdir())] == [f"{t:06d}.png" for t in range(5)]
    assert np.abs(np.stack(pictures).astype(int) - frames).mean() < 12, "the video shows the same frames, compressed"


def test_compare_shows_label_real_and_generated(run: LoadedRun, tmp_path: Path):
    made = generate_video(run, street(run, 2), tmp_path / "x.mp4", compare=True, png=True)
    frames, _ = read_video(made.video)
    assert made.size[1] == 3 * 64 and made.size[0] > 32 and frames.shape[2] == 192
    real = next(iter(street(run, 1)))["image"].transpose(1, 2, 0)
    shown = frames[0, made.size[0] - 32 : made.size[0], 64:128].astype(int)
    assert np.abs(shown - real).mean() < 12
    without = generate_video(run, Frames(labels_only(2)), tmp_path / "y.mp4", compare=True)  # type: ignore[arg-type]
    assert without.size[1] == 2 * 64


@pytest.mark.parametrize("lacking", [[5], [0], [0, 2, 4], list(range(6))])
def test_compare_with_frames_that_have_no_picture(lacking: list[int], run: LoadedRun, tmp_path: Path):
    for t in range(6):
        for kind, pixels in (
            ("labels", np.full((32, 64), 7, np.uint8)),
            ("images", np.full((32, 64, 3), 200, np.uint8)),
        ):
            if kind == "labels" or t not in lacking:
                (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / "data" / kind / f"{t}.png")
    config = deepcopy(run.config)
    config.data.kind = DataKind.folders
    made = generate_video(run, open_clip(str(tmp_path / "data"), config), tmp_path / "x.mp4", compare=True)
    frames, _ = read_video(made.video)
    columns = 2 if len(lacking) == 6 else 3
    assert frames.shape[0] == 6 and made.size[1] == frames.shape[2] == columns * 64
    if columns == 3:
        panels = frames[:, made.size[0] - 32 : made.size[0], 68:124].astype(float).mean((1, 2, 3))
        assert [bool(panel < 60) for panel in panels] == [t in lacking for t in range(6)]
        assert all(abs(panel - 200) < 6 for t, panel in enumerate(panels) if t not in lacking)


def test_each_scene_of_a_film_is_begun_anew(run: LoadedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """What follows a cut is what the same frames give alone."""
    caplog.set_level("INFO")
    rng = np.random.default_rng(0)
    maps = [{"labels": rng.integers(0, 20, (32, 64)).astype(np.int16)} for _ in range(6)]
    cut = [{**frame, "begins": True} if t == 3 else frame for t, frame in enumerate(maps)]

    def pictures(frames: list[Any]) -> np.ndarray:
        made = generate_video(run, Frames(frames), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
        assert made.pictures is not None
        return np.stack([np.asarray(Image.open(p)) for p in sorted(made.pictures.iterdir())])

    assert np.array_equal(pictures(cut)[3:], pictures(maps[3:])) and "2 scenes" in caplog.text
    assert not np.array_equal(pictures(maps)[3:], pictures(maps[3:]))


@pytest.mark.parametrize("name", ["x.mov", "x.mkv", "x.webm", "x.gif", "frames"])
def test_videos_of_other_kinds(name: str, run: LoadedRun, tmp_path: Path):
    made = generate_video(run, Frames(labels_only(4)), tmp_path / name)  # type: ignore[arg-type]
    assert made.video == tmp_path / name and made.frames == 4
    if made.video.is_dir():
        assert [p.name for p in sorted(made.video.iterdir())] == [f"{t:06d}.png" for t in range(4)]
    else:
        assert read_video(made.video)[0].shape == (4, 32, 64, 3)


def test_frames_fps_and_a_source_that_ends_early(run: LoadedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    made = generate_video(run, Frames(labels_only(6)), tmp_path / "x.mp4", frames=4, fps=25)  # type: ignore[arg-type]
    assert made.frames == 4 and read_video(made.video)[1][1] == 25
    generate_video(run, Frames(labels_only(3)), tmp_path / "x.mp4", frames=9)  # type: ignore[arg-type]
    assert "3 of the 9" in caplog.text
    for wrong in ({"frames": 0}, {"fps": 0.0}):
        with pytest.raises(ConfigError):
            generate_video(run, Frames(labels_only(3)), tmp_path / "x.mp4", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", [DataError("frame 2 is damaged"), KeyboardInterrupt()])
def test_what_was_generated_before_a_failure_is_there(
    run: LoadedRun, tmp_path: Path, failure: BaseException, caplog: pytest.LogCaptureFixture
):
    broken = Frames([*labels_only(2), failure])
    with pytest.raises(type(failure)):
        generate_video(run, broken, tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.partial.mp4", "x_frames.partial"]
    assert len(read_video(tmp_path / "x.partial.mp4")[0]) == len(list((tmp_path / "x_frames.partial").iterdir())) == 2
    assert "2 frames are in" in caplog.text and "x.partial.mp4" in caplog.text


def test_nothing_half_written_has_a_name(run: LoadedRun, tmp_path: Path):
    with pytest.raises(DataError, match="no frames"):
        generate_video(run, Frames([]), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="damaged"):
        generate_video(run, Frames([DataError("damaged")]), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_is_replaced_only_by_a_whole_one(run: LoadedRun, tmp_path: Path):
    generate_video(run, Frames(labels_only(2)), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
    before = (tmp_path / "x.mp4").read_bytes()
    with pytest.raises(DataError):
        generate_video(run, Frames([*labels_only(1), DataError("damaged")]), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
    assert (tmp_path / "x.mp4").read_bytes() == before and len(list((tmp_path / "x_frames").iterdir())) == 2
    generate_video(run, Frames(labels_only(3)), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]
    assert len(list((tmp_path / "x_frames").iterdir())) == 3
    (tmp_path / "x_frames" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="in the way"):
        generate_video(run, Frames(labels_only(1)), tmp_path / "x.mp4", png=True)  # type: ignore[arg-type]


def test_first_frames(run: LoadedRun, tmp_path: Path):
    def first_pictures(**options: Any) -> np.ndarray:
        made = generate_video(run, street(run, 3), tmp_path / "x.mp4", png=True, **options)
        assert made.pictures is not None
        return np.stack([np.asarray(Image.open(p)) for p in sorted(made.pictures.iterdir())])

    real = np.stack([frame["image"].transpose(1, 2, 0) for frame in street(run, 3)])
    echoed = first_pictures(first_frame=FirstFrame.real)
    assert np.array_equal(echoed[:2], real[:2]) and not np.array_equal(echoed[2], real[2])
    Image.fromarray(np.full((100, 120, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    picture = read_first_image(tmp_path / "grey.png", (32, 64))
    assert picture.shape == (3, 32, 64)
    starts = [
        first_pictures(),
        first_pictures(first_frame=FirstFrame.zeros),
        first_pictures(first_frame=FirstFrame.image, image=picture),
    ]
    assert not any(np.array_equal(a, b) for a, b in ((starts[0], starts[1]), (starts[1], starts[2])))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"bad\.png"):
        read_first_image(tmp_path / "bad.png", (32, 64))


def test_a_source_of_another_kind_is_refused(run: LoadedRun, tmp_path: Path):
    pictures = Frames([{"source": np.zeros((3, 32, 64), np.uint8)}])
    with pytest.raises(DataError, match=r"model\.source=labels"):
        generate_video(run, pictures, tmp_path / "x.mp4")  # type: ignore[arg-type]


def test_clips_of_a_source(run: LoadedRun, tmp_path: Path):
    names = [open_clip("street", run.config, clip, 1).name for clip in (0, 1, 40)]
    assert len(set(names)) == 3 and run.config.data.val_clips == 2
    for t in range(3):
        (tmp_path / "labels" / "only").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 64), 7, np.uint8)).save(tmp_path / "labels" / "only" / f"{t}.png")
    config = deepcopy(run.config)
    config.data.kind = DataKind.folders
    assert len(open_clip(str(tmp_path), config)) == 3
    with pytest.raises(DataError, match=r"clip=1(?s:.*)1 sequence"):
        open_clip(str(tmp_path), config, 1)
    with pytest.raises(ConfigError, match="clip=-1"):
        open_clip("street", run.config, -1)
    (tmp_path / "x.mp4").write_bytes(b"")
    with pytest.raises(DataError, match="label maps"):
        open_clip(str(tmp_path / "x.mp4"), run.config)


def test_relabelled_video_differs_and_unseen_labels_are_told(
    run: LoadedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def pictures(remap: Relabel | None) -> np.ndarray:
        edits = Edits([], run.config.model, lambda *clip: street(run, 2), remap=remap)
        made = generate_video(run, street(run, 2), tmp_path / "x.mp4", edits=edits, png=True)
        assert made.pictures is not None
        return np.stack([np.asarray(Image.open(p)) for p in sorted(made.pictures.iterdir())])

    plain = pictures(None)
    assert not np.array_equal(plain, pictures(Relabel({11: 21, 33: 7}, run.config.model)))
    assert "33" in caplog.text and "11" not in caplog.text


# The script


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *arguments], capture_output=True, text=True, timeout=120, cwd="/"
    )


def test_script_writes_a_video(run_dir: Path, tmp_path: Path):
    out = tmp_path / "x.mp4"
    done = script("generate.py", f"run={run_dir}", "source=street", f"out={out}", "frames=3", "compare=true", "clip=3")
    assert done.returncode == 0, done.stderr
    assert "averaged (EMA) weights" in done.stdout and str(out) in done.stdout
    assert len(read_video(out)[0]) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["source=street", "remap=11:99"], ["remap", "99"]),
        (["source=street", "edit=/nowhere/edit.yaml"], ["/nowhere/edit.yaml: no such file"]),
        (["source=street", "frmes=3"], ["frmes", "frames"]),
        (["source=/nowhere/at/all"], ["/nowhere/at/all"]),
        (["source=street", "checkpoint=step-3"], ["step-3", "step-00000007"]),
        (["source=street", "image=a.png", "first_frame=zeros"], ["a.png", "zeros"]),
        (["source=street", "first_frame=image"], ["image=PATH"]),
        (["source=street", "resolution=[30,64]"], ["divisible by 4"]),
        (["source=street", "trainer.device=cpu", "model.ngf=8"], ["another architecture"]),
    ],
)
def test_mistakes_end_with_code_2_and_one_message(
    run_dir: Path,
    tmp_path: Path,
    arguments: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["generate.py", f"run={run_dir}", f"out={tmp_path / 'x.mp4'}", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "scripts" / "generate.py"), run_name="__main__")
    message = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in message
    assert all(word in message for word in words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.avi", "x.png", "x", "folder.mp4"])
def test_an_out_that_cannot_be_is_refused_before_anything_is_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "run").mkdir()  # a run without weights: they are asked for later
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(plain(street_config())))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "folder.mp4").mkdir()
    words = [f"run={tmp_path / 'run'}", "source=street", f"out={tmp_path / name}"]
    monkeypatch.setattr(sys, "argv", ["generate.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "scripts" / "generate.py"), run_name="__main__")
    message = capsys.readouterr().err
    assert end.value.code == 2 and name in message and "checkpoint" not in message and "Traceback" not in message


# Memory


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_length(tmp_path: Path):
    """1,000 frames of 128x256: less than 50 MiB between frame 100 and frame 1,000."""
    config = street_config((128, 256))
    make_run(tmp_path / "run", config)
    run = load_generator(config, tmp_path / "run")
    at: dict[int, float] = {}

    def watch(done: int, total: int | None) -> None:
        if done in (100, 1000):
            at[done] = resident()

    made = generate_video(run, street(run, 1000), tmp_path / "x.mp4", compare=True, png=True, progress=watch)
    assert made.frames == 1000
    print(json.dumps({"resident_mib": at, "seconds": made.seconds}))
    assert at[1000] - at[100] < 50
