"""Label maps in every form: the ids are the same, what cannot be right is refused with its reason."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_labels import (
    CITYSCAPES,
    IDS,
    NUMBERS,
    SMALL,
    all_bits,
    channels,
    encoded,
    painted,
    palette,
    raw_png,
)
from trainer.data.labels.colour_tables import NAMED, colour_table
from trainer.data.labels.ids import mapped
from trainer.data.labels.label_map import LabelMap, parse_label_map
from trainer.data.pictures.files import read_bytes
from trainer.errors import ConfigError, DataError
from vid2vid.config import DataConfig
from vid2vid.data.labels.decode import LabelKind, LabelReading, UnknownColours, decode_instances
from vid2vid.data.labels.label_range import LabelRange, mask_remedy
from vid2vid.data.labels.recognise import label_reading

OPAQUE = np.full_like(IDS, 255)
CAMVID = {23: (128, 128, 128), 7: (128, 64, 128), 26: (64, 0, 128), 11: (128, 0, 0)}
ALLOWED = LabelRange(35, (0, 1, 2, 3, 7, 11, 23, 26), (255,))

PLAIN = {
    "grey": (IDS, encoded(IDS)),
    "palette": (IDS, encoded(palette(IDS))),
    "palette with transparency": (IDS, encoded(palette(IDS), transparency=bytes([0, 128] * 20))),
    "grey with transparency": (IDS, encoded(IDS, transparency=7)),
    "grey and alpha": (IDS, encoded(np.dstack([IDS, OPAQUE]))),
    "grey and alpha that hides": (IDS, encoded(np.dstack([IDS, NUMBERS.astype(np.uint8) * 51]))),
    "grey and alpha, 16 bits": (IDS, raw_png(channels(IDS, 65535, dtype=np.uint16), 16, 4)),
    "16 bits": (IDS.astype(np.int32) + 300, encoded(IDS.astype(np.uint16) + 300)),
    "with gamma": (IDS, raw_png(IDS, 8, 0, (b"gAMA", b"\0\0\xb1\x8f"))),
    "16 bits with gamma": (IDS, raw_png(IDS.astype(np.uint16), 16, 0, (b"gAMA", b"\0\0\xb1\x8f"))),
    "interlaced": (IDS, raw_png(IDS, 8, interlaced=True)),
    "interlaced, 4 bits": (SMALL, raw_png(SMALL, 4, interlaced=True)),
    "1 bit": (IDS == 26, encoded(IDS == 26)),
    "2 bits": (SMALL, raw_png(SMALL, 2)),
    "4 bits": (SMALL, raw_png(SMALL, 4)),
    "palette of 2 bits": (SMALL, raw_png(SMALL, 2, 3, (b"PLTE", bytes(range(12))))),
    "palette of 4 colours": (SMALL, raw_png(SMALL, 8, 3, (b"PLTE", bytes(range(12))))),
    "three equal channels": (IDS, encoded(channels(IDS, IDS, IDS))),
    "BMP": (IDS, encoded(IDS, "bmp")),
    "BMP with a palette": (IDS, encoded(palette(IDS), "bmp")),
    "TIFF": (IDS, encoded(IDS, "tiff")),
    "TIFF, 16 bits, LZW": (IDS, encoded(IDS.astype(np.uint16), "tiff", compression="tiff_lzw")),
    "TIFF of whole floats": (IDS, encoded(IDS.astype(np.float32), "tiff")),
    "lossless WebP": (IDS, encoded(channels(IDS, IDS, IDS), "webp", lossless=True)),
}
RED = {
    "CARLA": (IDS, 0, encoded(channels(IDS, 0, 0, 255))),
    "CARLA without alpha": (IDS, 0, encoded(channels(IDS, 0, 0))),
    "KITTI-STEP": (IDS, NUMBERS, encoded(channels(IDS, 0, NUMBERS))),
    "KITTI-STEP, many": (IDS, NUMBERS * 200, encoded(channels(IDS, NUMBERS * 200 // 256, NUMBERS * 200 % 256))),
    "BDD100K": (IDS, NUMBERS + 256 * (NUMBERS > 0), encoded(channels(IDS, NUMBERS + 3, NUMBERS > 0, NUMBERS))),
    "SYNTHIA": (IDS, NUMBERS * 100, all_bits(channels(IDS, NUMBERS * 100, 0, dtype=np.uint16))),
    "SYNTHIA with alpha": (IDS, NUMBERS, all_bits(channels(IDS, NUMBERS, 0, 65535, dtype=np.uint16))),
    "SYNTHIA as TIFF": (IDS, NUMBERS, all_bits(channels(IDS, NUMBERS, 0, dtype=np.uint16), ".tif")),
}  # fmt: skip


def reading(folder, files: list[bytes], allowed: LabelRange = ALLOWED, **data) -> tuple[LabelReading, list]:
    paths = []
    for i, content in enumerate(files):
        paths.append(folder / f"{i}.png")
        paths[-1].write_bytes(content)
    return label_reading(DataConfig(**data), paths, allowed, [folder]), paths


def decoded(how: LabelReading, path) -> tuple[torch.Tensor, torch.Tensor | None]:
    return how.decode(read_bytes(path), path)


@pytest.mark.parametrize("form", PLAIN)
def test_plain_ids_are_recognised_and_read(form, tmp_path, caplog):
    expected, content = PLAIN[form]
    how, (path,) = reading(tmp_path, [content])
    ids, instances = decoded(how, path)
    assert how.kind is LabelKind.ids and instances is None and not caplog.text
    assert ids.dtype == torch.int32 and np.array_equal(ids.numpy(), expected)


@pytest.mark.parametrize("form", RED)
def test_a_class_in_the_red_channel_is_recognised_with_its_instances(form, tmp_path, caplog):
    expected, numbers, content = RED[form]
    how, (path,) = reading(tmp_path, [content])
    ids, instances = decoded(how, path)
    assert how.kind is LabelKind.red_channel and caplog.text.count("data.label_format=red_channel") == 1
    assert np.array_equal(ids.numpy(), expected)
    numbers = np.broadcast_to(np.asarray(numbers, np.int64), IDS.shape)
    joined = np.where((numbers < 1000) & (IDS > 0), IDS.astype(np.int64) * 1000 + numbers, (numbers << 16) | IDS)
    assert instances is not None and np.array_equal(instances.numpy(), np.where(numbers, joined, IDS))
    reading(tmp_path, [content])
    assert caplog.text.count("data.label_format=red_channel") == 1, "said once"


def test_touching_objects_stay_two_objects(tmp_path):
    """Object 7 of class 0 is not class 7."""
    content = np.zeros((2, 3, 3), np.uint8)
    content[..., 0] = [0, 7, 24]
    content[..., 2] = [7, 0, 3]
    how, (path,) = reading(tmp_path, [encoded(content)], label_format="red_channel")
    ids, instances = decoded(how, path)
    assert ids.tolist() == [[0, 7, 24]] * 2
    assert instances is not None and instances[0].tolist() == [7 << 16, 7, 24003]


def test_the_setting_is_what_auto_takes(tmp_path):
    for form, (expected, _, content) in RED.items():
        how, (path,) = reading(tmp_path, [content], label_format="red_channel")
        assert np.array_equal(decoded(how, path)[0].numpy(), expected), form
    how, (path,) = reading(tmp_path, [encoded(IDS)], label_format="red_channel")
    with pytest.raises(DataError, match=r"0\.png: has one channel.*data\.label_format=ids"):
        decoded(how, path)
    how, (path,) = reading(tmp_path, [encoded(painted(CITYSCAPES))], label_format="ids")
    with pytest.raises(DataError, match=r"holds one id per pixel.*data\.label_format=colors:FILE"):
        decoded(how, path)


def test_colours_of_a_known_table_are_recognised(tmp_path, caplog):
    for content in (painted(CITYSCAPES), np.dstack([painted(CITYSCAPES), OPAQUE])):
        how, (path,) = reading(tmp_path, [encoded(content)])
        assert how.table is not None and how.table.source == "cityscapes"
        assert np.array_equal(decoded(how, path)[0].numpy(), IDS)
    assert "data.label_format=colors:cityscapes" in caplog.text and "7 road" in caplog.text
    how, (path,) = reading(tmp_path, [encoded(painted(CAMVID))], label_format="colors:camvid")
    ids = decoded(how, path)[0].numpy()
    assert {int(ids[old == IDS][0]) for old in CAMVID} == {21, 17, 5, 4}
    how, (path,) = reading(tmp_path, [encoded(painted(CITYSCAPES))], label_format="colors:cityscapes_train_ids")
    ids = decoded(how, path)[0].numpy()
    assert {old: int(ids[old == IDS][0]) for old in CITYSCAPES} == {23: 10, 7: 0, 26: 13, 11: 2}


def quantised(colours: list[int]) -> bytes:
    """The Cityscapes colours of IDS in a palette of their own order, as PNG optimisers leave them."""
    indices = np.zeros_like(IDS)
    for number, label in enumerate(colours):
        indices[label == IDS] = number
    image = Image.fromarray(indices)
    image.putpalette([x for label in colours for x in CITYSCAPES[label]])
    return encoded(image)


def test_palettes_that_differ_hold_colours_and_no_ids(tmp_path, caplog):
    files = [quantised([7, 11, 23, 26]), quantised([26, 23, 11, 7])]
    how, paths = reading(tmp_path, files)
    assert "data.label_format=colors:cityscapes" in caplog.text
    assert all(np.array_equal(decoded(how, path)[0].numpy(), IDS) for path in paths)
    how, paths = reading(tmp_path, files[:1] * 2)
    assert how.kind is LabelKind.ids and decoded(how, paths[0])[0].unique().tolist() == [0, 1, 2, 3], "one palette"
    how, paths = reading(tmp_path, files, label_format="ids")
    assert decoded(how, paths[0])[0].unique().tolist() == [0, 1, 2, 3]


def test_palettes_that_differ_and_colours_that_nobody_knows(tmp_path):
    images = []
    for shift in range(2):
        image = Image.fromarray(SMALL)
        image.putpalette([shift + x for x in range(12)])
        images.append(encoded(image))
    with pytest.raises(DataError, match=r"1\.png: its palette gives numbers other colours.*colors:FILE.*format=ids\."):
        reading(tmp_path, images)
    (tmp_path / "labelmap.txt").write_text("".join(f"c{x}:{x},{x + 1},{x + 2}::\n" for x in range(11)))
    how, paths = reading(tmp_path, images)
    assert [decoded(how, path)[0].unique().tolist() for path in paths] == [[0, 3, 6, 9], [1, 4, 7, 10]]


def test_colours_of_small_red_are_no_classes(tmp_path):
    """Their red values are ids of the model, but nothing else about them is."""
    greens = {23: (23, 200, 0), 7: (7, 90, 0), 26: (26, 40, 0), 11: (11, 16, 0)}
    with pytest.raises(DataError, match=r"a label map of colours that no known table has"):
        reading(tmp_path, [encoded(painted(greens))])


TABLES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbuilding:70,70,70::\nroad:128,64,128::\nsky:70,130,180::\n"
    "car:0,0,142::\nbackground:0,0,0::\n",
    "label_colors.txt": "70 70 70\tbuilding\n128 64 128\troad\n70 130 180\t\tsky\n0 0 142\tcar\n",
    "class_dict.csv": "name,r,g,b\nbuilding,70,70,70\nroad,128,64,128\nsky,70,130,180\ncar,0,0,142\n",
    "colormap.csv": "id;name;colour\n0;building;#464646\n1;road;#804080\n2;sky;#4682b4\n3;car;#00008e\n",
    "RUGD_annotation-colormap.txt": "0 building 70 70 70\n1 road 128 64 128\n2 sky 70 130 180\n3 car 0 0 142\n",
    "colors.json": json.dumps({"building": [70, 70, 70], "road": [128, 64, 128], "sky": "#4682B4", "car": [0, 0, 142]}),
    "mapillary.json": json.dumps({"labels": [
        {"name": "building", "color": [70, 70, 70]}, {"name": "road", "color": [128, 64, 128]},
        {"name": "sky", "color": [70, 130, 180]}, {"name": "car", "color": [0, 0, 142]},
    ]}),
}  # fmt: skip


def test_colours_of_coco_categories(tmp_path):
    """Behind images, and licences of which there are none."""
    rows = [{"id": 3 + i, "name": str(label), "color": colour} for i, (label, colour) in enumerate(CITYSCAPES.items())]
    coco = {"info": {}, "licenses": [], "images": [{"id": 1, "file_name": "a.png"}], "categories": rows}
    (tmp_path / "panoptic.json").write_text(json.dumps(coco))
    assert colour_table(str(tmp_path / "panoptic.json")).ids == {c: 3 + i for i, c in enumerate(CITYSCAPES.values())}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_beside_the_labels_is_found_whatever_its_form(name, tmp_path):
    """Its numbering, not that of the known table with the same colours."""
    (tmp_path / name).write_text(TABLES[name])
    if name == "mapillary.json":
        how, (path,) = reading(tmp_path, [encoded(painted(CITYSCAPES))], label_format=f"colors:{tmp_path / name}")
    else:
        how, (path,) = reading(tmp_path, [encoded(painted(CITYSCAPES))])
    ids = decoded(how, path)[0].numpy()
    assert {old: int(ids[old == IDS][0]) for old in CITYSCAPES} == {11: 0, 7: 1, 23: 2, 26: 3}
    assert how.table is not None and how.table.names[1] == "road"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('{"7": [128, 64, 128], "23": [70, 130, 180]}', {(128, 64, 128): 7, (70, 130, 180): 23}),
        ('{"#804080": 7, "(70, 130, 180)": 23}', {(128, 64, 128): 7, (70, 130, 180): 23}),
        ('[{"id": 3, "name": "road", "color": [128, 64, 128]}]', {(128, 64, 128): 3}),
        ("road 128 64 128 7\nsky 70 130 180 23\n", {(128, 64, 128): 7, (70, 130, 180): 23}),
        ("class\tr\tg\tb\n1\t120\t120\t120\n", {(120, 120, 120): 1}),
        ('"label","color"\n"a road","128, 64, 128"\n', {(128, 64, 128): 0}),
        ("#804080 road\n#f423e8 side walk\n", {(128, 64, 128): 0, (244, 35, 232): 1}),
    ],
)
def test_forms_of_tables(text, ids, tmp_path):
    (tmp_path / "t.any").write_text(text)
    assert dict(colour_table(str(tmp_path / "t.any")).ids) == ids


@pytest.mark.parametrize("text", ["", "hello\nworld", "{}", '{"a": 1}', "[1, 2]", "road 300 1 2", "1 2", "[{}]"])
def test_a_file_that_is_no_table_says_what_one_looks_like(text, tmp_path):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DataError, match=r"t\.txt: cannot be read as a table of colours.*'road 128 64 128'"):
        colour_table(str(tmp_path / "t.txt"))
    with pytest.raises(DataError, match="no such file, and no known table"):
        colour_table("cityscape")


def test_known_tables():
    sizes = {name: len(set(colour_table(name).ids.values())) for name in NAMED}
    assert sizes == {"cityscapes": 29, "cityscapes_train_ids": 19, "camvid": 32, "voc": 22}
    assert colour_table("voc").ids[(192, 128, 128)] == 15 and colour_table("voc").ids[(224, 224, 192)] == 255


def test_colours_in_no_table_are_named_with_their_file(tmp_path):
    strange = painted({**CITYSCAPES, 26: (1, 2, 3)})
    how, paths = reading(tmp_path, [encoded(painted(CITYSCAPES)), encoded(strange)], label_format="colors:cityscapes")
    with pytest.raises(UnknownColours, match=r"1\.png: the colour \(1,2,3\) in 10\.42% .*cityscapes.*colors:FILE"):
        decoded(how, paths[1])
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    with pytest.raises(DataError, match=r"\(1,2,3\) not in .*labelmap\.txt\. Add a line"):
        reading(tmp_path, [encoded(strange)])
    (tmp_path / "labelmap.txt").unlink()
    with pytest.raises(DataError, match=r"0\.png is a label map of colours that no known table has.*\(1,2,3\)"):
        reading(tmp_path, [encoded(strange)])


def test_forms_are_not_mixed(tmp_path):
    with pytest.raises(DataError, match=r"0\.png is a label map of colours, .*1\.png one of ids"):
        reading(tmp_path, [encoded(painted(CITYSCAPES)), encoded(IDS)])


def test_frames_of_one_colour_do_not_mislead(tmp_path):
    """A frame that shows only grey classes, or only class 0, among others of the data set."""
    grey = np.full((*IDS.shape, 3), 70, np.uint8)
    how, paths = reading(tmp_path, [encoded(grey), encoded(painted(CITYSCAPES))])
    assert np.array_equal(decoded(how, paths[0])[0].numpy(), np.full(IDS.shape, 11))
    how, paths = reading(tmp_path, [encoded(channels(0, 0, 0)), encoded(channels(IDS, 0, NUMBERS))])
    assert how.kind is LabelKind.red_channel and not decoded(how, paths[0])[0].any()


def test_objects_on_black_are_colours_and_no_red_channel(tmp_path):
    people = painted({26: (0, 0, 255), 11: (255, 0, 0)})
    with pytest.raises(DataError, match="colours that no known table has"):
        reading(tmp_path, [encoded(people)])


@pytest.mark.parametrize(("kind", "options", "word"), [("jpeg", {}, "JPEG"), ("webp", {"quality": 80}, "lossy WebP")])
def test_lossy_labels_are_refused_whatever_the_file_is_called(kind, options, word, tmp_path):
    how, (path,) = reading(tmp_path, [encoded(channels(IDS, IDS, IDS), kind, **options)])
    with pytest.raises(DataError, match=rf"0\.png: a label map stored as {word}, which changes the ids"):
        decoded(how, path)
    with pytest.raises(DataError, match=rf"0\.png: an instance map stored as {word}, which changes the ids"):
        decode_instances(path.read_bytes(), path)


def test_fractions_are_no_ids(tmp_path):
    how, (path,) = reading(tmp_path, [encoded(IDS.astype(np.float32) + 0.25, "tiff")])
    with pytest.raises(DataError, match="fractions"):
        decoded(how, path)


@pytest.mark.parametrize("colour", [None, (1, 1, 1), (1, 0, 0)], ids=["grey", "white", "red"])
def test_masks_are_told(colour, tmp_path, caplog):
    """Of red on black too, whose red channel is 255: of no class, unless one says otherwise."""
    mask = (IDS == 26).astype(np.uint8) * 255
    mask = mask if colour is None else mask[..., None] * np.array(colour, np.uint8)
    reading(tmp_path, [encoded(mask)])
    assert "a mask: for two classes set data.label_map=255:1 model.label_ids=[0,1]" in caplog.text
    caplog.clear()
    how, (path,) = reading(tmp_path, [encoded(mask)], label_map="255:1")
    assert "a mask" not in caplog.text and decoded(how, path)[0].unique().tolist() == [0, 1]
    assert mask_remedy({0, 1}) == "" == mask_remedy({0, 7, 255}) == mask_remedy(set())


def test_grey_colours_are_told_from_ids(tmp_path):
    grey = np.where(IDS == 26, 153, np.where(IDS == 11, 70, 0)).astype(np.uint8)
    for content in (grey, channels(grey, grey, grey)):
        how, (path,) = reading(tmp_path, [encoded(content)])
        with pytest.raises(DataError, match=r"70 \(building\) and 153 \(pole\).*data\.label_format=colors:cityscapes"):
            LabelRange(35, None, 255).check(decoded(how, path)[0], path)
        followed, (path,) = reading(tmp_path, [encoded(content)], label_format="colors:cityscapes")
        ids = decoded(followed, path)[0].numpy()
        assert {int(v) for v in np.unique(ids)} == {0, 11, 17} and ids[IDS == 26].min() == 17


@pytest.mark.parametrize(
    ("value", "pairs", "others"),
    [
        ("255:1", ((255, 1),), None),
        ("11:21,21:11", ((11, 21), (21, 11)), None),
        (["7:0", "*:255"], ((7, 0),), 255),
        ({255: 1, 3: 4}, ((255, 1), (3, 4)), None),
    ],
)
def test_pairs_of_ids(value, pairs, others):
    assert parse_label_map(value) == LabelMap(pairs, others)


@pytest.mark.parametrize(
    "text", ["7 0\n8 1\n", "7:0\n\n# a comment\n8:1", "id,train_id\n7,0\n8,1\n", '{"7": 0, "8": 1}']
)
def test_pairs_of_ids_in_a_file(text, tmp_path):
    (tmp_path / "map.txt").write_text(text)
    assert parse_label_map(str(tmp_path / "map.txt")) == LabelMap(((7, 0), (8, 1)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("7", "neither OLD:NEW pairs"),
        ("nowhere.csv", "neither OLD:NEW pairs"),
        ("7:x", "'7:x' is not OLD:NEW"),
        ("7:1,7:2", "7 is changed twice"),
        ("7:70000", "label ids lie in 0..65535"),
        ({}, "holds no OLD:NEW pairs"),
    ],
)
def test_wrong_pairs_are_named(value, message):
    with pytest.raises(ConfigError, match=message):
        parse_label_map(value)


def test_ids_are_changed_all_at_once(tmp_path):
    how, (path,) = reading(tmp_path, [encoded(IDS)], label_map="7:26,26:7,*:255")
    ids = decoded(how, path)[0].numpy()
    assert np.array_equal(ids, np.select([IDS == 7, IDS == 26], [26, 7], 255))
    how, (path,) = reading(tmp_path, [RED["KITTI-STEP"][2]], label_map="26:3")
    ids, instances = decoded(how, path)
    assert np.array_equal(ids.numpy(), np.where(IDS == 26, 3, IDS))
    assert np.array_equal(instances.numpy(), np.where(IDS == 26, 3005, IDS.astype(np.int32))), (
        "edges follow the new class"
    )


def test_all_other_ids_include_the_first_and_the_last():
    ids = np.array([0, 7, 9, 65535], np.int32)
    assert mapped(ids, parse_label_map("7:1,*:255")).tolist() == [255, 1, 255, 255]


def test_several_ignored_ids():
    allowed = LabelRange(35, (7, 8), [255, 0])
    assert allowed.unknown(torch.tensor([[0, 7, 8, 255]])) == []
    assert allowed.unknown(torch.tensor([[0, 9]])) == [9]


def test_unreadable_tables_are_passed_over_with_a_word(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "colors.json").write_text('{"theme": "dark"}')
    how, (path,) = reading(tmp_path, [encoded(painted(CITYSCAPES))])
    assert np.array_equal(decoded(how, path)[0].numpy(), IDS) and "colors.json" in caplog.text
