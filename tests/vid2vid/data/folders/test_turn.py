"""Pictures that EXIF turns, beside labels that may not have been turned with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests.helpers.made_frames import label_map, save
from trainer.data.pictures.opening import stored_orientation, turned
from trainer.errors import DataError
from vid2vid.config import LabelExif, LabelFormat, SourceKind
from vid2vid.data.folders.dataset import scan_folder

UPRIGHT = label_map(3)
COLOURS = np.zeros((*UPRIGHT.shape, 3), np.uint8)
COLOURS[UPRIGHT == 26] = 200
COLOURS[:4, :8] = 90  # tells up from down
BACK = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}  # what undoes an orientation


def as_stored(array: np.ndarray, how: int) -> np.ndarray:
    """The pixels that orientation `how` turns into `array`."""
    pixels = torch.from_numpy(array if array.ndim == 2 else array.transpose(2, 0, 1).copy())
    stored = turned(pixels, BACK[how]).numpy()
    return stored if array.ndim == 2 else stored.transpose(1, 2, 0)


def exif(how: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = how
    return tags


def write(root, how: int, label: np.ndarray, colours: np.ndarray = COLOURS, kind: str = ".png") -> None:
    for i in range(3):
        save(root / f"images/a/{i}{kind}", as_stored(colours, how), exif=exif(how))
        save(root / f"labels/a/{i}.png", label)


def first(root, config):
    return next(scan_folder(root, config)[0].read([0]))


@pytest.mark.parametrize("how", range(2, 9))
def test_turning_is_what_pillow_does(how):
    stored = as_stored(UPRIGHT, how)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = how
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), UPRIGHT)


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("how", [5, 6, 7, 8])
def test_the_sizes_tell_how_labels_were_drawn(how, kind, tmp_path, folder_config):
    for label in (UPRIGHT, as_stored(UPRIGHT, how)):
        write(tmp_path, how, label, kind=kind)
        raw = first(tmp_path, folder_config(tmp_path))
        assert np.array_equal(raw.labels.numpy(), UPRIGHT)
        assert (raw.image[0].numpy()[UPRIGHT == 26] > 100).all()


@pytest.mark.parametrize(("how", "cut"), [(2, 80), (3, 80), (4, 80), (6, 40), (8, 40)])
def test_where_the_sizes_do_not_tell_the_user_does(how, cut, tmp_path, folder_config):
    """Half a turn, a mirror, and quarter turns of square pictures."""
    upright, colours = UPRIGHT[:, :cut], COLOURS[:, :cut]
    write(tmp_path, how, as_stored(upright, how), colours)
    with pytest.raises(
        DataError, match=rf"0\.png is turned by its EXIF orientation \({how}\).*data\.label_exif=stored"
    ):
        first(tmp_path, folder_config(tmp_path))
    raw = first(tmp_path, folder_config(tmp_path, label_exif=LabelExif.stored))
    assert np.array_equal(raw.labels.numpy(), upright)
    write(tmp_path, how, upright, colours)
    raw = first(tmp_path, folder_config(tmp_path, label_exif=LabelExif.upright))
    assert np.array_equal(raw.labels.numpy(), upright)


def test_the_wrong_setting_is_told(tmp_path, folder_config):
    write(tmp_path, 6, as_stored(UPRIGHT, 6))
    with pytest.raises(DataError, match=r"same size.*EXIF orientation \(6\).*data\.label_exif=upright does not"):
        first(tmp_path, folder_config(tmp_path, label_exif=LabelExif.upright))


def test_labels_with_a_tag_of_their_own_are_turned_by_it(tmp_path, folder_config):
    write(tmp_path, 3, UPRIGHT)
    for i in range(3):
        save(tmp_path / f"labels/a/{i}.png", as_stored(UPRIGHT, 3), exif=exif(3))
    assert np.array_equal(first(tmp_path, folder_config(tmp_path)).labels.numpy(), UPRIGHT)


def test_instances_and_source_pictures_turn_too(tmp_path, folder_config):
    write(tmp_path, 6, as_stored(UPRIGHT, 6))
    for i in range(3):
        save(tmp_path / f"instances/a/{i}.png", as_stored(UPRIGHT, 6))
    raw = first(tmp_path, folder_config(tmp_path, instances_dir="instances"))
    assert np.array_equal(raw.instances.numpy(), UPRIGHT)
    config = folder_config(tmp_path, labels=LabelFormat.rgb)
    config.model.source, config.model.source_channels = SourceKind.image, 1
    assert np.array_equal(first(tmp_path, config).sources[0].pixels[0].numpy(), UPRIGHT)


def test_pictures_without_a_tag_are_not_touched(tmp_path):
    save(tmp_path / "a.jpg", COLOURS)
    assert stored_orientation((tmp_path / "a.jpg").read_bytes()) == 1
    assert stored_orientation(b"\xff\xd8\xffExif broken") == 1
