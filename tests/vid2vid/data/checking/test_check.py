"""The report on a data set, the contact sheet, and the script's exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from scripts.check_data import main
from tests.helpers.made_frames import HEIGHT, WIDTH, label_map, picture, save
from tests.helpers.paths import ROOT
from trainer.errors import ConfigError
from vid2vid.config import DataKind, FlowMethod, Region, Vid2VidConfig, Vid2VidStage
from vid2vid.data import build_dataset
from vid2vid.data.checking.check import check_data, fill_flow_cache, find_sequences, format_report, stage_resolutions
from vid2vid.data.checking.contact_sheet import contact_sheet
from vid2vid.data.clips import ClipDataset


@pytest.fixture
def run_script(tmp_path):
    """A script in a process of its own, with the console's own encoding."""

    def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
        script = ROOT / "scripts" / name
        return subprocess.run(
            [sys.executable, str(script), *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def test_a_good_data_set(make_folders, folder_config):
    config = folder_config(make_folders({"a": 20, "b": 3, "c": 5}), val_share=0.3)
    done = []

    def progress(counts, total):
        for count in counts:
            done.append((count, total))
            yield count

    report = check_data(config, find_sequences(config), progress)
    assert report.usable and report.frames == 28 == sum(count for count, _ in done) and done[0][1] == 28
    assert report.lengths == [
        ("train", "a", 20, (HEIGHT, WIDTH)),
        ("train", "b", 3, (HEIGHT, WIDTH)),
        ("val", "c", 5, (HEIGHT, WIDTH)),
    ]
    assert sum(report.pixels.values()) == 28 * HEIGHT * WIDTH and report.frames_with == {7: 28, 26: 28}
    expected = sum(int((label_map(i) == 26).sum()) for n in (20, 3, 5) for i in range(n))
    assert report.pixels[26] == expected
    text = format_report(report)
    assert "road" in text and "car" in text and "all 28 frames can be used" in text and "40x80 (28)" in text


def test_everything_that_is_wrong_is_listed(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 4, "c": 4})
    save(root / "labels/a/frame1.png", np.full((HEIGHT, WIDTH), 99, np.uint8))
    save(root / "labels/b/frame3.png", np.full((HEIGHT, WIDTH), 255, np.uint8))
    (root / "images/b/frame0.png").write_bytes(b"junk")
    save(root / "images/b/frame2.png", picture(0, 20, 40))
    config = folder_config(root)
    report = check_data(config, find_sequences(config))
    assert not report.usable and report.unknown_frames == 1
    assert list(report.unknown) == [99] and report.unknown[99].endswith("labels/a/frame1.png")
    assert len(report.bad) == 2 and "frame0.png: cannot be decoded" in report.bad[0] and "20x40" in report.bad[1]
    text = format_report(report)
    assert "OUT OF RANGE" in text and "(ignored)" in text and "num_labels=100" in text and "on_bad_file" in text


def test_advice(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 4})
    for path in (root / "labels").rglob("*.png"):
        save(path, np.full((HEIGHT, WIDTH), 3, np.uint8))
    config = folder_config(root)
    config.curriculum.stages["all"] = Vid2VidStage(frames=9)
    text = format_report(check_data(config, find_sequences(config)))
    assert "may be Cityscapes trainIds" in text
    assert "no sequence has the 9 frames of a clip (a (4))" in text
    with pytest.raises(ConfigError, match="data=street is rendered"):
        find_sequences(Vid2VidConfig())


def test_a_sequence_of_two_sizes_is_bad(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 4})
    for kind in ("labels", "images"):
        save(root / kind / "a/frame1.png", np.zeros((20, 40), np.uint8))
    report = check_data(folder_config(root), find_sequences(folder_config(root)))
    assert report.bad == ["a: frames of different sizes (HxW): 40x80 (3), 20x40 (1)"]


def test_another_root_may_have_the_same_names(make_folders, folder_config, tmp_path):
    root = make_folders({"a": 4, "b": 4})
    other = tmp_path / "other"
    shutil.copytree(root, other)
    (other / "labels/b/frame1.png").write_bytes(b"junk")
    config = folder_config(root, val_root=str(other))
    report = check_data(config, find_sequences(config))
    assert [row[0] for row in report.lengths] == ["train", "train", "val", "val"]
    assert len(report.bad) == 1 and str(other) in report.bad[0]


def test_videos(make_video, video_config, tmp_path):
    good = make_video("good.mp4", frames=20)
    config = video_config(good.parent)
    sequences = find_sequences(config)
    report = check_data(config, sequences)
    assert report.usable and report.frames == 20 and [row[0] for row in report.lengths] == ["train", "val"]
    sheet = contact_sheet(sequences, tmp_path / "sheet.png", config.model)
    assert sheet is not None
    with Image.open(sheet) as image:
        assert image.size[0] > 300


def test_contact_sheet_shows_pictures_and_labels(make_folders, folder_config, tmp_path):
    config = folder_config(make_folders({"a": 9, "b": 2}))
    sheet = contact_sheet(find_sequences(config), tmp_path / "new" / "sheet.png", config.model)
    assert sheet is not None
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    assert pixels.shape[1] == 4 * 184 and {(128, 64, 128), (0, 0, 142)} <= set(map(tuple, pixels.reshape(-1, 3)))
    model = replace(config.model, regions=[Region.labels], region_labels=[26])
    framed = contact_sheet(find_sequences(config), tmp_path / "framed.png", model)
    assert framed is not None
    with Image.open(framed) as image:
        lines = (np.asarray(image) != pixels).any(-1)
    assert lines[18:].sum() > 4 * 4 * 60 and set(map(tuple, np.asarray(Image.open(framed))[lines])) == {(255, 60, 60)}
    for path in tmp_path.rglob("images/**/*.png"):
        path.write_bytes(b"junk")
    assert contact_sheet(find_sequences(config), tmp_path / "none.png", config.model) is None


def test_flow_cache_is_filled_for_every_stage(make_folders, folder_config, tmp_path, monkeypatch):
    config = folder_config(make_folders({"a": 4, "b": 3}), flow=FlowMethod.dis)
    config.curriculum.stages = {"coarse": Vid2VidStage(frames=3, resolution=[16, 32]), "fine": Vid2VidStage(frames=3)}
    config.resolution = [32, 64]
    assert stage_resolutions(config) == [(16, 32), (32, 64)]
    count = fill_flow_cache(find_sequences(config), config, stage_resolutions(config), "cpu")
    assert count == 10
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 6  # b shows what a shows: the same content, the same entry
    monkeypatch.setattr("vid2vid.data.reference_flow.estimate_pair", None)  # training finds all of it there
    from vid2vid.data.folders.dataset import FolderDataset

    dataset: ClipDataset = FolderDataset(config, "train", (32, 64), 3)
    assert dataset.sample(0, np.random.default_rng(0))["flow"].shape == (3, 2, 32, 64)
    config.data.flow_cache = None
    with pytest.raises(ConfigError, match=r"flow=true.*data\.flow_cache"):
        fill_flow_cache([], config, [(16, 32)], "cpu")


def test_flow_of_both_orders_is_filled_where_clips_are_played_backwards(make_folders, folder_config, monkeypatch):
    config = folder_config(make_folders({"a": 4}), flow=FlowMethod.dis)
    config.curriculum.stages = {"all": Vid2VidStage(frames=6, palindrome=True)}
    assert fill_flow_cache(find_sequences(config), config, [(16, 32)], "cpu") == 3 * 2
    monkeypatch.setattr("vid2vid.data.reference_flow.estimate_pair", None)  # training finds all of it there
    sample = build_dataset(config, "train", (16, 32), 3, 3).sample(0, np.random.default_rng(0))
    assert sample["flow"].shape == (6, 2, 16, 32)


def test_the_script(make_folders, tmp_path, monkeypatch, capsys):
    root = make_folders({"a": 4, "b": 4})

    def run(*more: str) -> tuple[int, str, str]:
        words = ["check_data.py", f"data.root={root}", f"out={tmp_path}/sheet.png", *more]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    code, out, err = run("data=folders")
    assert code == 0, err
    assert "all 8 frames can be used" in out and (tmp_path / "sheet.png").is_file()
    (root / "labels/a/frame0.png").write_bytes(b"junk")
    code, out, _ = run("data=folders")
    assert code == 2 and "labels/a/frame0.png: cannot be decoded" in out
    code, out, err = run("data=folders", "data.labels_dir=seg")
    assert code == 2 and "data.labels_dir" in err and not out


@pytest.mark.slow
def test_names_that_are_no_text_are_shown_all_the_same(make_folders, tmp_path, run_script):
    root = make_folders({"a": 4, "b": 4})
    for kind in ("labels", "images"):
        os.rename(root / kind / "a", os.fsencode(root / kind) + b"/caf\xe9")
    (root / "labels" / os.fsdecode(b"caf\xe9") / "frame2.png").write_bytes(b"junk")
    done = run_script("check_data.py", "data=folders", f"data.root={root}", "out=sheet.png")
    assert done.returncode == 2 and "caf\\udce9/frame2.png: cannot be decoded" in done.stdout, done.stderr
    assert (tmp_path / "sheet.png").is_file()


def test_cityscapes_kind_is_checked_too(tmp_path, folder_config):
    for number in range(3):
        name = f"ulm_000000_{number:06d}"
        save(tmp_path / f"leftImg8bit_sequence/train/ulm/{name}_leftImg8bit.png", picture(number))
        save(tmp_path / f"labels_sequence/train/ulm/{name}.png", label_map(number))
    config = folder_config(tmp_path, kind=DataKind.cityscapes)
    config.curriculum.stages["pictures"] = Vid2VidStage(frames=1)
    report = check_data(config, find_sequences(config))
    assert [row[:3] for row in report.lengths] == [
        ("train", "train/ulm/ulm_000000", 1),
        ("val", "train/ulm/ulm_000000", 2),
    ]
