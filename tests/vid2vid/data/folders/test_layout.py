"""Which files are found in folders, and what is said of those that are not."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata

import numpy as np
import pytest

from tests.helpers.made_frames import HEIGHT, WIDTH, label_map, picture, save
from trainer.errors import DataError
from vid2vid.config import DataKind, FlowMethod
from vid2vid.data.folders.dataset import FolderDataset, open_folder, scan_folder


def found(root, config) -> list[tuple[str, list[str]]]:
    return [(s.name, [s.frame_name(i) for i in range(len(s))]) for s in scan_folder(root, config)]


def rename(root, kind: str, change) -> None:
    for path in sorted((root / kind).rglob("*.png")):
        path.rename(path.with_name(change(path.stem) + path.suffix))


def test_a_jump_in_the_numbering_splits_a_sequence_and_is_told_once(make_folders, folder_config, caplog):
    root = make_folders({"a": 6, "b": 4})
    for kind in ("labels", "images"):
        for i in (3, 4, 5):
            (root / kind / f"a/frame{i}.png").rename(root / kind / f"a/frame{i + 200}.png")
    config = folder_config(root)
    assert [(name, len(frames)) for name, frames in found(root, config)] == [("a", 3), ("a", 3), ("b", 4)]
    found(root, config)
    assert caplog.text.count("a: split into 2 sequences where its numbering jumps (frame2 to frame203)") == 1


def test_missing_frames_and_jumps_split_once_each(make_folders, folder_config):
    root = make_folders({"a": 12})
    (root / "labels/a/frame3.png").unlink()
    for kind in ("labels", "images"):
        (root / kind / "a/frame8.png").unlink()
    lengths = [len(frames) for _, frames in found(root, folder_config(root))]
    assert lengths == [3, 4, 3]


def test_time_stamps_are_in_the_order_of_time(make_folders, folder_config):
    root = make_folders({"a": 5})
    names = ["1305031102.0333", "1305031102.0667", "1305031102.1", "1305031102.1333", "1305031102.1667"]
    for kind in ("labels", "images"):
        rename(root, kind, lambda stem: names[int(stem.removeprefix("frame"))])
    assert found(root, folder_config(root)) == [("a", names)]


def test_hidden_folders_and_what_systems_leave_are_passed_over(make_folders, folder_config):
    root = make_folders({"a": 4})
    for kind in ("labels", "images"):
        for rubbish in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
            shutil.copytree(root / kind / "a", root / kind / rubbish / "a")
        for name in ("._frame0.png", ".frame9.png", "Thumbs.db", "desktop.ini"):
            (root / kind / "a" / name).write_bytes(b"rubbish")
        (root / kind / "empty").mkdir()
    assert [name for name, _ in found(root, folder_config(root))] == ["a"]


def test_links_are_followed_but_not_in_circles_nor_twice(make_folders, folder_config, caplog):
    root = make_folders({"a": 4, "b/c": 3})
    for kind in ("labels", "images"):
        (root / kind / "a/up").symlink_to(root / kind, target_is_directory=True)
        (root / kind / "latest").symlink_to(root / kind / "a", target_is_directory=True)
        shutil.move(root / kind / "b/c", root.parent / f"{kind}_elsewhere")
        (root / kind / "b/c").symlink_to(root.parent / f"{kind}_elsewhere", target_is_directory=True)
    assert [(name, len(frames)) for name, frames in found(root, folder_config(root))] == [("a", 4), ("b/c", 3)]
    assert "a link to a folder that it lies in" in caplog.text
    assert "sequence latest dropped: its files are those of a, through a link" in caplog.text


def test_one_folder_of_pictures_under_two_label_folders_is_two_sequences(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 4})
    shutil.rmtree(root / "images/b")
    (root / "images/b").symlink_to(root / "images/a", target_is_directory=True)
    assert [name for name, _ in found(root, folder_config(root))] == ["a", "b"]


def test_a_link_that_leads_nowhere_is_a_missing_file(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 4})
    (root / "images/a/frame2.png").unlink()
    (root / "images/a/frame2.png").symlink_to(root / "nowhere.png")
    dataset = FolderDataset(folder_config(root), "train", (16, 32), 4)
    with pytest.raises(DataError, match=r"frame2\.png: cannot be read \(No such file"):
        dataset.sample(0, np.random.default_rng(0))


def test_accents_are_the_same_however_they_are_written(make_folders, folder_config):
    root = make_folders({"a": 3})
    for kind, form in (("labels", "NFD"), ("images", "NFC")):
        rename(root, kind, lambda stem, form=form: unicodedata.normalize(form, "é") + stem)
        (root / kind / "a").rename(root / kind / unicodedata.normalize(form, "dé"))
    assert found(root, folder_config(root)) == [("dé", ["éframe0", "éframe1", "éframe2"])]
    save(root / "images" / "dé" / (unicodedata.normalize("NFD", "é") + "frame1.png"), picture())
    with pytest.raises(DataError, match=r"two images for frame éframe1.*look the same.*NFD"):
        found(root, folder_config(root))


@pytest.mark.parametrize("name", ["1²3 {}", "my frame ({})", "フレーム{}", "-{}", "a.b{}", "#{}"])
def test_unusual_names(name, make_folders, folder_config):
    root = make_folders({"a": 4})
    for kind in ("labels", "images"):
        rename(root, kind, lambda stem: name.format(stem.removeprefix("frame")))
    ((_, frames),) = found(root, folder_config(root))
    assert sorted(frames) == sorted(name.format(i) for i in range(4))


def test_endings_that_data_sets_use(make_folders, folder_config):
    root = make_folders({"a": 3})
    rename(root, "images", lambda stem: f"{stem}_rgb_anon")
    rename(root, "labels", lambda stem: f"{stem}_gt_labelIds")
    for i in range(3):
        save(root / f"labels/a/frame{i}_gt_labelColor.png", picture())
        save(root / f"labels/a/frame{i}_gt_labelTrainIds.png", label_map(i))
    config = folder_config(root)
    sequence = scan_folder(root, config)[0]
    assert [path.label.name for path in sequence.frames] == [f"frame{i}_gt_labelIds.png" for i in range(3)]
    config.model.num_labels = 19
    assert scan_folder(root, config)[0].frames[0].label.name == "frame0_gt_labelTrainIds.png"
    config.data.label_format = "colors:cityscapes"
    assert scan_folder(root, config)[0].frames[0].label.name == "frame0_gt_labelColor.png"


def test_idd_is_laid_out_as_cityscapes(tmp_path, folder_config):
    for split, folder in (("train", "0"), ("val", "2")):
        for i in range(4):
            save(tmp_path / f"leftImg8bit/{split}/{folder}/frame{i:04d}_leftImg8bit.jpg", picture(i))
            save(tmp_path / f"gtFine/{split}/{folder}/frame{i:04d}_gtFine_labelids.png", label_map(i))
            save(tmp_path / f"gtFine/{split}/{folder}/frame{i:04d}_gtFine_labellevel3Ids.png", picture(i))
            save(tmp_path / f"gtFine/{split}/{folder}/frame{i:04d}_gtFine_instanceids.png", label_map(i))
    config = folder_config(tmp_path, kind=DataKind.cityscapes)
    for split, name in (("train", "0"), ("val", "2")):
        (sequence,) = FolderDataset.sequences_of_split(config, split)
        assert sequence.name == name and len(sequence) == 4
        (raw,) = sequence.read([1])
        assert np.array_equal(raw.labels.numpy(), label_map(1)) and raw.instances is not None


def test_endings_of_the_user_and_the_advice_to_set_them(make_folders, folder_config, caplog):
    root = make_folders({"a": 3})
    rename(root, "labels", lambda stem: f"{stem}_mask")
    with pytest.raises(DataError, match=r"All but the ending _mask is the same: set data\.label_suffix=_mask"):
        found(root, folder_config(root))
    save(root / "labels/a/frame7_overlay.png", picture())
    config = folder_config(root, label_suffix="_mask")
    assert found(root, config) == [("a", ["frame0", "frame1", "frame2"])]
    assert "1 files whose names do not end in _mask are no labels" in caplog.text
    rename(root, "labels", lambda stem: stem.removesuffix("_mask"))
    with pytest.raises(DataError, match=r"None of the names there ends in data\.label_suffix=_mask: frame0\.png"):
        found(root, config)
    rename(root, "images", lambda stem: f"{stem}.rgb")
    with pytest.raises(DataError, match=r"set data\.image_suffix=\.rgb"):
        found(root, folder_config(root))
    (root / "labels/a/frame7_overlay.png").unlink()
    assert len(found(root, folder_config(root, image_suffix=".rgb"))[0][1]) == 3


def test_pngs_are_the_labels_where_other_formats_show_them(make_folders, folder_config, caplog):
    root = make_folders({"a": 3})
    for i in range(3):
        save(root / f"labels/a/frame{i}.webp", picture())
        save(root / f"labels/a/frame{i}.bmp", picture())
    frames = scan_folder(root, folder_config(root))[0].frames
    assert [frame.label.suffix for frame in frames] == [".png"] * 3 and "the PNGs are the labels" in caplog.text
    for path in (root / "labels").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="two labels for frame frame0"):
        found(root, folder_config(root))


def test_labels_and_pictures_in_one_folder_are_told_apart_by_their_endings(tmp_path, folder_config):
    for i in range(3):
        save(tmp_path / f"a/{i}_rgb.png", picture(i))
        save(tmp_path / f"a/{i}_label.png", label_map(i))
    config = folder_config(tmp_path, labels_dir=".", images_dir=".", label_suffix="_label", image_suffix="_rgb")
    assert found(tmp_path, config) == [("a", ["0", "1", "2"])]


def test_numbers_of_other_length_and_other_folders_are_told(make_folders, folder_config):
    root = make_folders({"a": 3})
    rename(root, "labels", lambda stem: f"frame{int(stem.removeprefix('frame')):04d}")
    with pytest.raises(DataError, match=r"numbers are padded differently"):
        found(root, folder_config(root))
    (root / "labels/a").rename(root / "labels/a_labels")
    with pytest.raises(DataError, match=r"sequences have different names: a_labels and a\."):
        found(root, folder_config(root))


def test_jpeg_labels_are_refused_with_the_reason(make_folders, folder_config):
    root = make_folders({"a": 3})
    for path in (root / "labels").rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    for opened in (lambda: found(root, folder_config(root)), lambda: open_folder(root / "labels", folder_config(None))):
        with pytest.raises(DataError, match=r"frame0\.jpg.*JPEG changes the ids of pixels.*must be PNG"):
            opened()


def test_exr_is_named(make_folders, folder_config):
    root = make_folders({"a": 3})
    for path in (root / "images").rglob("*.png"):
        path.rename(path.with_suffix(".exr"))
    with pytest.raises(
        DataError, match=r"no images here.*frame0\.exr.*\.exr is not read here: convert it to PNG or JPEG"
    ):
        found(root, folder_config(root))


@pytest.mark.parametrize(
    ("name", "hint"), [("SegmentationClass", True), ("masks", True), ("gtFine", True), ("other", None)]
)
def test_folders_of_colours_are_recognised_by_their_names(name, hint, make_folders, folder_config):
    root = make_folders({"a": 2})
    (root / "labels").rename(root / name)
    for path in (root / name).rglob("*.png"):
        save(path, picture())
    hint = r"Set data\.labels_dir to its name" if name == "other" else f"set data.labels_dir={name}"
    with pytest.raises(DataError, match=hint):
        found(root, folder_config(root))


def test_tiff_pictures(make_folders, folder_config):
    root = make_folders({"a": 3, "b": 3})
    for path in (root / "images").rglob("*.png"):
        save(path.with_suffix(".TIF"), picture())
        path.unlink()
    sample = FolderDataset(folder_config(root), "train", (HEIGHT, WIDTH), 3).sample(0, np.random.default_rng(0))
    assert np.array_equal(sample["images"][0].permute(1, 2, 0).numpy(), picture()) or sample["images"].shape[0] == 3


def test_instance_maps_are_needed_for_training_only(make_folders, folder_config):
    root = make_folders({"a": 3}, instances=True)
    config = folder_config(root, instances_dir="instances")
    (root / "instances/a/frame2.png").unlink()
    assert [len(frames) for _, frames in found(root, config)] == [2]
    assert [len(stream) for stream in open_folder(root, config)] == [3]
    shutil.rmtree(root / "instances")
    assert ["instances" in frame for frame in open_folder(root, config)[0]] == [False] * 3
    with pytest.raises(DataError, match=r"data\.instances_dir"):
        found(root, config)


def test_precomputed_flow_lies_as_the_pictures_do(tmp_path, folder_config):
    """Cityscapes' train and val below the flow folder, or not."""
    for split in ("train", "val"):
        for i in range(3):
            save(tmp_path / f"leftImg8bit_sequence/{split}/ulm/ulm_000000_{i:06d}_leftImg8bit.png", picture(i))
            save(tmp_path / f"gtFine_sequence/{split}/ulm/ulm_000000_{i:06d}_gtFine_labelIds.png", label_map(i))
    config = folder_config(tmp_path, kind=DataKind.cityscapes, flow=FlowMethod.precomputed, flow_dir="flow")
    assert FolderDataset.sequences_of_split(config, "train")[0].flow_folder == tmp_path / "flow/ulm"
    (tmp_path / "flow/train/ulm").mkdir(parents=True)
    assert FolderDataset.sequences_of_split(config, "train")[0].flow_folder == tmp_path / "flow/train/ulm"


def test_what_generation_cuts_off_is_said_once(make_folders, folder_config, caplog):
    root = make_folders({"a": 3})
    config = folder_config(root)
    config.resolution = [16, 48]
    for _ in range(2):
        list(open_folder(root, config)[0])
    assert caplog.text.count("32% of the height is cut off (at the top and the bottom)") == 1
    config.resolution = [16, 32]
    caplog.clear()
    list(open_folder(root, config)[0])
    assert "cut off" not in caplog.text


@pytest.mark.parametrize(
    "labelled, runs",
    [
        (range(0, 40, 5), [[0, 5, 10, 15, 20, 25, 30, 35]]),
        (range(1, 12, 2), [[1, 3, 5, 7, 9, 11]]),
        ([0, 5, 10, 16, 20], [[0], [5], [10], [16], [20]]),
        ([19, 29], [[19], [29]]),
        ([0, 1, 2, 4, 5, 6], [[0, 1, 2], [4, 5, 6]]),
    ],
)
def test_labels_of_every_fifth_frame_make_a_sequence(labelled, runs, make_folders, folder_config, caplog):
    """As YouTube-VOS has them: between labelled frames lie pictures without."""
    root = make_folders({"a": 40})
    for i in set(range(40)) - set(labelled):
        (root / f"labels/a/frame{i}.png").unlink()
    assert found(root, folder_config(root)) == [("a", [f"frame{i}" for i in run]) for run in runs]
    assert ("these are the sequence" in caplog.text) == (len(runs) == 1)


def test_names_that_do_not_count_are_announced(make_folders, folder_config, caplog):
    """Pictures of their own, as Mapillary's, are no film; numbered frames are not suspected."""
    root = make_folders({"a": 6})
    assert len(found(root, folder_config(root))) == 1 and "do not count" not in caplog.text
    odd = ("Zx2-a9QpTT", "k3_0bVw", "00aB-7z", "qW9eR_t5", "aaBc1", "0o9y6t")
    names = {f"frame{i}": name for i, name in enumerate(odd)}
    for kind in ("labels", "images"):
        rename(root, kind, names.__getitem__)
    ((_, frames),) = found(root, folder_config(root))
    assert sorted(frames) == sorted(names.values())
    assert "a: the names do not count (00aB-7z, 0o9y6t)" in caplog.text and "train curriculum=images" in caplog.text


def test_kinds_inside_the_sequences_are_explained_and_links_will_do(make_folders, folder_config, tmp_path):
    """SEQUENCE/labels and SEQUENCE/images, as VSPW has them."""
    made, root = make_folders({"a": 6, "b": 6}), tmp_path / "other"
    for kind in ("labels", "images"):
        for name in ("a", "b"):
            shutil.copytree(made / kind / name, root / name / kind)
    with pytest.raises(DataError, match=r"inside the sequences \(a/labels, b/labels\)") as caught:
        FolderDataset.sequences_of_split(folder_config(root), "train")
    with pytest.raises(DataError, match=rf"The sequences are in other: set data\.root={root}\."):
        shutil.rmtree(made)
        FolderDataset.sequences_of_split(folder_config(tmp_path), "train")
    command = str(caught.value).split("Links will do: ")[1].split(", and so for")[0]
    for kind in ("labels", "images"):
        for name in ("a", "b"):
            words = re.sub(r"/a\b", f"/{name}", command.replace("/labels", f"/{kind}"))
            subprocess.run(words, shell=True, check=True)
    config = folder_config(root)
    for split, name in (("train", "a"), ("val", "b")):
        assert [(s.name, len(s)) for s in FolderDataset.sequences_of_split(config, split)] == [(name, 6)]


def test_a_root_with_folders_of_splits_is_explained(make_folders, folder_config, tmp_path):
    made, root = make_folders({"a": 6}), tmp_path / "other"
    for split in ("train", "test"):
        shutil.copytree(made, root / split)
    with pytest.raises(DataError, match=rf"set data\.root={root}/train data\.val_root={root}/test\."):
        FolderDataset.sequences_of_split(folder_config(root), "train")
    config = folder_config(root / "train", val_root=str(root / "test"))
    assert [len(FolderDataset.sequences_of_split(config, split)) for split in ("train", "val")] == [1, 1]
    with pytest.raises(DataError, match=rf"data holds it: set data\.root={tmp_path}/data\."):
        shutil.rmtree(root)
        FolderDataset.sequences_of_split(folder_config(tmp_path), "train")
