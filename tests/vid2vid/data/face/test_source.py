"""Landmark files as faces of a sequence: drawn in a crop, framed, bridged, left out, fitted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_faces import made_face, placed, write_faces
from tests.helpers.made_frames import picture, save
from trainer.config.fields import OnBadFile
from trainer.errors import DataError
from vid2vid.config import CropKind, FaceBackground, Vid2VidConfig
from vid2vid.data.augment import Crop
from vid2vid.data.face.picture import draw_face, head_mask
from vid2vid.data.face.proportions import neutral_face
from vid2vid.data.face.source import FaceSource, Style
from vid2vid.data.folders.dataset import FolderDataset, open_folder, scan_folder
from vid2vid.data.folders.frames import FolderSequence
from vid2vid.data.sources.pictures import canny

CROP = Crop((80, 120), 10, 30, 50, 50, (100, 100))
# Channels of the other side: brows, sides of the nose, upper and lower lids.
MIRRORED = [0, 1, 3, 2, 6, 5, 4, 9, 10, 7, 8, 11, 12, 13, 14]


def scanned(root: Path, config: Vid2VidConfig) -> list[FolderSequence]:
    return [sequence for sequence in scan_folder(root, config) if isinstance(sequence, FolderSequence)]


def points_of(sequence: FolderSequence, index: int) -> np.ndarray:
    (raw,) = sequence.read([index])
    (source,) = raw.sources
    assert isinstance(source, FaceSource)
    return source.points


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_face_is_drawn_where_it_is_in_the_crop():
    points = placed(made_face(), 55, 40, 10)
    shown = FaceSource(points, Style()).draw(CROP, None, None)
    # Twice as large; pixel centres: (x + 1/2 - 30) * 2 - 1/2.
    assert np.array_equal(shown.numpy(), draw_face((points + 0.5 - [30, 10]) * 2 - 0.5, (100, 100)))
    assert shown.dtype == torch.uint8 and shown.shape == (15, 100, 100)
    assert FaceSource(points, Style(distance=False)).draw(CROP, None, None).shape == (1, 100, 100)


def test_a_mirrored_crop_shows_the_mirrored_face_with_its_sides_exchanged():
    points = placed(made_face(mouth_open=0.2), 53, 40, 10, roll=0.3)
    plain = FaceSource(points, Style()).draw(CROP, None, None).flip(-1)[MIRRORED].int()
    flipped = FaceSource(points, Style()).draw(replace(CROP, flip=True), None, None).int()
    assert (plain - flipped).abs().max() <= 2


def test_points_without_confidence_leave_their_curves_out():
    points = placed(made_face(), 55, 40, 10)
    points[36] = np.nan
    shown = FaceSource(points, Style()).draw(CROP, None, None)
    assert shown[7].min() == 0  # 37, 38, 39 are known, and the line between the last two
    points[36:42] = np.nan
    shown = FaceSource(points, Style()).draw(CROP, None, None)
    assert (shown[[7, 8]] == 255).all() and shown[9].min() == 0


def test_edges_stand_outside_the_head_alone():
    points = placed(made_face(), 55, 40, 10)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 100, 100), dtype=np.uint8))
    style = Style(edges=(60, 160))
    plain, shown = (FaceSource(points, style).draw(CROP, picture, None) for picture in (None, image))
    head = torch.from_numpy(head_mask((points + 0.5 - [30, 10]) * 2 - 0.5, (100, 100)))
    edges = canny(image, 60, 160)[0]
    assert torch.equal(shown[0], torch.maximum(plain[0], torch.where(head, 0, edges))) and torch.equal(
        shown[1:], plain[1:]
    )
    assert edges[head].any() and (shown[0] > plain[0]).sum() > 500
    other = FaceSource(points, replace(style, behind=image)).draw(CROP, torch.zeros_like(image), None)
    assert torch.equal(other, shown)


def test_clips_are_framed_as_their_sequence_is_while_the_face_stays_in_it(face_root, face_config):
    config = face_config(face_root([60] * 3 + [64] * 4), flip=0.0)
    for split in ("train", "val"):
        dataset = FolderDataset(config, split, (32, 32), 3)
        crop = dataset._crop(dataset.sequences[0], [0, 1, 2], (80, 120), rng())
        assert crop == Crop((80, 120), 16, 40, 50, 50, (32, 32))  # around 64, not 60


def test_a_clip_in_which_the_face_is_elsewhere_is_framed_by_itself(face_root, face_config):
    config = face_config(face_root([30, 30, 30, 90, 90, 90, 90]), flip=0.0)
    training = FolderDataset(config, "train", (32, 32), 3)
    (sequence,) = training.sequences
    # 20 wide: side 50; y = 40 + (3 * -4 + 14) / 4 = 40.5, x = 30 or 90: 25 less, half a pixel more.
    assert sequence.framing([0, 1, 2], (80, 120), (32, 32)) == (16, 6, 50, 50)
    assert sequence.framing(range(7), (80, 120), (32, 32)) == (16, 66, 50, 50)
    for indices, left in (([0, 1, 2], 6), ([4, 5, 6], 66)):
        crop = training._crop(sequence, indices, (80, 120), rng())
        assert crop == Crop((80, 120), 16, left, 50, 50, (32, 32))
    assert sequence.centred((80, 120), (32, 32)) == Crop((80, 120), 16, 66, 50, 50, (32, 32))


def test_zoomed_crops_stay_within_the_square(face_root, face_config):
    config = face_config(face_root([60] * 4), flip=0.0, scale=[1.5, 1.5])
    training = FolderDataset(config, "train", (32, 32), 3)
    for seed in range(20):
        crop = training._crop(training.sequences[0], [0, 1, 2], (80, 120), np.random.default_rng(seed))
        assert crop.height == crop.width == 33
        assert 16 <= crop.top <= 16 + 17 and 36 <= crop.left <= 36 + 17


def test_without_a_crop_the_whole_frame_is_used(face_root, face_config):
    config = face_config(face_root([30, 90, 30]), crop=CropKind.none)
    (stream,) = open_folder(config.data.root, config)
    assert stream.sequence.framing([0], (80, 120), (32, 32)) is None
    assert stream.sequence.centred((80, 120), (32, 32)) == Crop((80, 120), 0, 20, 80, 80, (32, 32))


def test_landmarks_alone_are_shown_as_beside_their_pictures(face_root, face_config):
    root = face_root([60, 62, 64])
    config = face_config(root)
    (with_pictures,) = open_folder(root, config)
    (alone,) = open_folder(root / "landmarks", config)
    for one, other in zip(with_pictures, alone, strict=True):
        assert torch.equal(one["source"], other["source"]) and "image" not in other
    with pytest.raises(DataError, match=r"data\.frame_size=\[HEIGHT,WIDTH\]"):
        list(open_folder(root / "landmarks", face_config(root, crop=CropKind.none))[0])


def test_short_gaps_are_bridged_long_ones_end_a_sequence_and_both_are_counted(face_root, face_config, caplog):
    root = face_root([30, None, 50, 50, *[None] * 3, 60, 70, None])
    (root / "landmarks/a/000001.json").unlink()  # no file is nobody too
    first, second = scanned(root, face_config(root, face_gap=2))
    assert [len(first), len(second)] == [4, 2]
    assert [frame.key for frame in second.frames] == ["000007", "000008"]
    assert "1 frames without a face are bridged (data.face_gap=2)" in caplog.text
    assert "4 frames without a face are left out" in caplog.text and "a (4)" in caplog.text
    np.testing.assert_allclose(points_of(first, 1), placed(made_face(), 40, 40, 10), rtol=1e-5)
    np.testing.assert_allclose(points_of(first.part(1, 2), 0), placed(made_face(), 40, 40, 10), rtol=1e-5)


def conditions(place: Path, config: Vid2VidConfig) -> list[list[torch.Tensor]]:
    """What is generated from, of each sequence."""
    return [[frame["source"] for frame in stream] for stream in open_folder(place, config)]


def test_generation_bridges_missing_files_as_training_does(face_root, face_config, caplog):
    """A face that moves evenly: what is bridged is where the file that is gone had it."""
    root = face_root([30, 34, 38, 42, 46, 50, 54, 58])
    config = face_config(root, face_gap=2)
    (whole,) = conditions(root, config)
    for frame in (1, 4, 6):
        (root / f"landmarks/a/00000{frame}.json").unlink()
    (trained,) = scanned(root, config)
    (beside,) = conditions(root, config)
    assert len(trained) == len(beside) == len(whole) == 8
    assert max(int((a.int() - b.int()).abs().max()) for a, b in zip(whole, beside, strict=True)) <= 1
    write_faces(root / "landmarks/a", [placed(made_face(), x, 40, 10) for x in range(30, 62, 4)])
    for frame in (2, 3):
        (root / f"landmarks/a/00000{frame}.json").unlink()
    shutil.rmtree(root / "images")
    for place in (root, root / "landmarks", root / "landmarks/a"):
        caplog.clear()
        (alone,) = conditions(place, config)
        assert max(int((a.int() - b.int()).abs().max()) for a, b in zip(whole, alone, strict=True)) <= 1
        assert "2 frames without a face are bridged (data.face_gap=2)" in caplog.text
    config.data.face_gap = 1
    assert [len(sequence) for sequence in conditions(root, config)] == [2, 4]
    assert "split into 2 sequences where its numbering jumps (000001 to 000004)" in caplog.text


def test_landmarks_of_body_and_face_in_one_folder_are_generated_from_by_that_folder(face_root, face_config):
    root = face_root([30, 40, 50])
    config = face_config(root, sources=["pose:landmarks", "face:landmarks"], crop=CropKind.none, frame_size=[80, 120])
    (expected,) = conditions(root, config)
    assert len(expected) == 3 and expected[0].shape[0] == 18 and expected[0][3].any()
    for place in (root / "landmarks", root / "landmarks/a"):
        (found,) = conditions(place, config)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    config.data.sources = ["pose:bodies", "face:landmarks"]
    with pytest.raises(DataError, match="no folder 'bodies'"):
        open_folder(root / "landmarks", config)


def test_beside_a_skeleton_no_frame_is_left_out_for_its_face(face_root, face_config, caplog):
    root = face_root([30, None, 40, *[None] * 3, 60])
    sources = ["pose:landmarks", "face:landmarks"]
    (sequence,) = scanned(root, face_config(root, face_gap=1, sources=sources, crop=CropKind.none))
    assert len(sequence) == 7
    assert "1 frames without a face are bridged" in caplog.text and "left out" not in caplog.text
    assert "3 frames without a face are drawn without it" in caplog.text
    bridged, without = (next(iter(sequence.read([index]))).cropped(CROP)["source"] for index in (1, 4))
    assert bridged.shape == (18, 100, 100)
    assert bridged[3].any() and not without[3].any() and (without[4:] == 255).all()


def test_nobody_anywhere_is_an_error(face_root, face_config):
    root = face_root([None, None])
    with pytest.raises(DataError, match=r"no frame has a face.*prepare\.py people"):
        scanned(root, face_config(root))


def test_a_damaged_file_is_named_when_it_is_read_or_is_a_frame_without_a_face(face_root, face_config, caplog):
    root = face_root([30, 40, 50])
    (root / "landmarks/a/000001.json").write_text('{"people": [')
    (sequence,) = scanned(root, face_config(root))
    assert len(sequence) == 3 and len(list(sequence.read([0, 2]))) == 2
    with pytest.raises(DataError, match=r"000001\.json"):
        list(sequence.read([1]))
    with pytest.raises(DataError, match=r"000001\.json"):
        list(sequence.part(1, 3).read([0]))
    (skipping,) = scanned(root, face_config(root, on_bad_file=OnBadFile["skip"]))
    assert len(list(skipping.read(range(3)))) == 3
    assert "000001.json" in caplog.text and "1 frames without a face are bridged" in caplog.text


def test_the_background_is_that_of_the_frames(face_root, face_config):
    root = face_root([60, 60, 60])
    plain = FolderDataset(face_config(root, flip=0.0), "train", (32, 32), 3).sample(0, rng())
    behind = FolderDataset(face_config(root, flip=0.0, face_background=FaceBackground.edges), "train", (32, 32), 3)
    sample = behind.sample(0, rng())
    assert torch.equal(sample["source"][:, 1:], plain["source"][:, 1:])
    assert (sample["source"][:, 0] > plain["source"][:, 0]).any()


def test_a_film_in_place_of_landmarks_is_told_how_it_becomes_them(face_root, face_config, tmp_path):
    config = face_config(face_root([60]))
    (tmp_path / "film.mp4").touch()
    with pytest.raises(DataError, match=r"film\.mp4 is a file.*landmarks/, which scripts/prepare\.py people source="):
        open_folder(tmp_path / "film.mp4", config)
    with pytest.raises(DataError, match=r"nowhere: no such folder\. Give a folder that holds landmarks/\."):
        open_folder(tmp_path / "nowhere", config)


def test_a_face_that_leaves_its_box_is_told(face_root, face_config, caplog):
    root = face_root([60] * 5 + [110])
    (stream,) = open_folder(root, face_config(root))
    assert len(list(stream)) == 6
    assert "the face leaves the box around it, which stays where it is, in 1 of 6 frames" in caplog.text


def test_faces_fitted_to_another_keep_their_place(face_root, face_config):
    root = face_root([40, 50, 60])
    (sequence,) = scanned(root, face_config(root))
    wide = made_face()
    wide[:17] *= [1.3, 1.0]
    fitted = sequence.fitted({"face": neutral_face(wide[None]).tolist()})
    for index, x in enumerate((40, 50, 60)):
        np.testing.assert_allclose(points_of(fitted, index), placed(wide, x, 40, 10), rtol=1e-5)
    # 26 wide: side 65.
    assert fitted.framing(range(3), (80, 120), (32, 32)) == (8, 18, 65, 65)
    assert sequence.framing(range(3), (80, 120), (32, 32)) == (16, 26, 50, 50)


def test_landmarks_of_larger_frames_are_told(face_root, face_config, caplog):
    root = face_root([50, 60])
    for path in root.glob("images/a/*"):
        save(path, picture(0, 20, 30))  # a quarter of the size that the face was found in
    (sequence,) = scanned(root, face_config(root))
    list(sequence.read([0, 1]))
    assert caplog.text.count("most points of the people lie outside the frames") == 1


def test_landmarks_within_their_frames_are_not(face_root, face_config, caplog):
    root = face_root([50, 60])
    (sequence,) = scanned(root, face_config(root))
    list(sequence.read([0, 1]))
    assert "outside" not in caplog.text
