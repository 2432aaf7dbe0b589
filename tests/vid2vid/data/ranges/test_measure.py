"""Pictures of more than 8 bits: one range for a whole run, found once, stated, and kept with the weights."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_frames import HEIGHT, WIDTH, label_map, save
from tests.helpers.made_labels import all_bits, encoded
from trainer.data.loader import make_loader
from trainer.data.pictures.decode import scaled
from trainer.errors import DataError
from vid2vid.config import DataConfig, LabelFormat, SourceKind
from vid2vid.data import build_dataset, open_source, settled
from vid2vid.data.folders.files import decode_frame
from vid2vid.data.ranges.measure import find_spans
from vid2vid.data.ranges.settings import ranges_of, with_ranges
from vid2vid.data.run_data import RunData

RAMP = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)


def depth(low: float, high: float, kind: type = np.uint16) -> np.ndarray:
    return (low + RAMP * (high - low)).astype(kind)


def holes(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[:4] = 0
    return array


RGB16 = np.stack([depth(0, 60000), depth(100, 30000), depth(5, 65535)], axis=-1)
AUTO = {
    "depth in millimetres": (encoded(depth(500, 3320)), (500, 3320)),
    "depth with holes": (encoded(holes(depth(500, 3320))), (782, 3320)),
    "infrared": (encoded(depth(0, 2300)), (1, 2300)),
    "grey that fills 16 bits": (encoded(depth(0, 65535)), (0, 65535)),
    "bytes in 16 bits": (encoded(depth(0, 200)), (0, 255)),
    "constant": (encoded(np.full((8, 8), 700, np.uint16)), (700, 701)),
    "black": (encoded(np.zeros((8, 8), np.uint16)), (0, 255)),
    "colours of 16 bits": (all_bits(RGB16), (0, 65535)),
    "colours of 12 bits": (all_bits(RGB16 // 16), (0, 4095)),
    "colours of 10 bits in TIFF": (all_bits(RGB16 // 64, ".tif"), (0, 1023)),
    "metres": (encoded(depth(0.5, 80, np.float32), "tiff"), (0.5, 80)),
    "colours of floats": (all_bits((RGB16 / 65535).astype(np.float32), ".tif"), (0, 1)),
    "PGM": (all_bits(depth(500, 3320), ".pgm"), (500, 3320)),
    "8 bits": (encoded((RAMP * 255).astype(np.uint8)), None),
    "JPEG": (encoded((RAMP * 255).astype(np.uint8), "jpeg"), None),
}


@pytest.mark.parametrize("name", AUTO)
def test_auto_finds_a_range_that_keeps_the_picture(name, tmp_path, caplog):
    content, expected = AUTO[name]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    span = find_spans(DataConfig(), [path], []).images
    assert span == (None if expected is None else pytest.approx(expected, abs=0.02))
    assert ("becomes black and" in caplog.text) is (expected is not None)
    picture = decode_frame(content, path, span)
    assert torch.equal(decode_frame(content, path, span, 1)[0], picture[0]) or "colours" in name
    if expected is not None and name not in ("constant", "black", "bytes in 16 bits"):
        assert len(picture.unique()) > 200, "nearly all grey levels are used"


def test_outliers_and_what_is_no_number_do_not_set_the_range(tmp_path):
    array = depth(2, 80, np.float32)
    array[0, 0], array[0, 1], array[0, 2] = 1e9, np.inf, np.nan
    (tmp_path / "a.tif").write_bytes(encoded(array, "tiff"))
    span = find_spans(DataConfig(), [tmp_path / "a.tif"], []).images
    assert span == pytest.approx((2.1, 80), abs=0.1)
    pixels = decode_frame((tmp_path / "a.tif").read_bytes(), tmp_path, span)[0]
    assert pixels[0, :3].tolist() == [255, 255, 0] and int(pixels[-1, -1]) == 255


def test_scaling_is_linear_rounded_and_clipped():
    values = np.array([0, 500, 501, 1500, 3320, 65535], np.uint16)
    assert scaled(values, (500, 3320)).tolist() == [0, 0, 0, 90, 255, 255]
    assert scaled(np.array([0, 257, 65535], np.uint16), (0, 65535)).tolist() == [0, 1, 255]


def test_a_deep_picture_among_others_is_named(tmp_path):
    with pytest.raises(DataError, match=r"deep\.png: a picture of more than 8 bits among.*data\.range=\[0,65535\]"):
        decode_frame(encoded(depth(0, 900)), tmp_path / "deep.png", None)


@pytest.fixture
def depth_config(make_folders, folder_config):
    """Depth in 16 bits as the source, 500..3320 in training, 500..9000 in another root."""

    def make(**data):
        root = make_folders({"a": 6, "b": 6})
        for path in (root / "labels").rglob("*.png"):
            save(path, depth(500, 3320))
        config = folder_config(root, labels=LabelFormat.rgb, **data)
        config.model.source, config.model.source_channels = SourceKind.image, 1
        return config

    return make


def levels(dataset) -> torch.Tensor:
    return dataset.sample(0, np.random.default_rng(0))["source"].unique()


def test_depth_keeps_its_levels_in_every_process(depth_config, caplog):
    config = depth_config()
    dataset = build_dataset(config, "train", (HEIGHT, WIDTH), 3)
    assert len(levels(dataset)) == 256 and caplog.text.count("500 becomes black and 3320 white") == 1
    batches = []
    for workers in (0, 2):
        loader = make_loader(dataset, seed=1, samples_seen=0, batch_size=2, workers=workers)
        batches.append(next(iter(loader)))
        loader.close()
    assert torch.equal(batches[0]["source"], batches[1]["source"])


def test_a_range_that_is_given_is_taken(depth_config):
    half = levels(build_dataset(depth_config(range=[500, 6140]), "train", (HEIGHT, WIDTH), 3))
    assert half.max() == 128  # 127.5 rounded to even, as every scale is
    own = levels(build_dataset(depth_config(range=[0, 1], source_range=[500, 6140]), "train", (HEIGHT, WIDTH), 3))
    assert torch.equal(own, half)


def test_validation_and_generation_see_with_the_eyes_of_training(depth_config, tmp_path):
    config = depth_config()
    other = tmp_path / "other"
    for i in range(4):
        save(other / f"labels/x/frame{i}.png", depth(500, 9000))
        save(other / f"images/x/frame{i}.png", label_map(i))
    config.data.val_root = str(other)
    data = RunData(config)
    train = data.build("train", (HEIGHT, WIDTH), 3)
    val = data.build("val", (HEIGHT, WIDTH), 3)
    share = float((val.sample(0, np.random.default_rng(0))["source"] == 255).float().mean())
    assert len(levels(train)) == 256 and share == pytest.approx((9000 - 3320) / 8500, abs=0.02)
    state = data.state_dict()
    assert state["data_range"] == {"source_range": [500.0, 3320.0]}

    # The run goes on, though its footage has changed; and generation from other footage.
    for path in (tmp_path / "data/labels").rglob("*.png"):
        save(path, depth(500, 9000))
    resumed = RunData(config)
    resumed.load_state_dict(state)
    sample = resumed.build("train", (HEIGHT, WIDTH), 3).sample(0, np.random.default_rng(0))
    assert float((sample["source"] == 255).float().mean()) == pytest.approx(share, abs=0.02)
    config.data = with_ranges(config.data, state["data_range"])
    config.resolution = [HEIGHT, WIDTH]
    frame = next(iter(next(iter(open_source(other, config)))))
    assert float((frame["source"] == 255).float().mean()) == pytest.approx(share, abs=0.02)


def test_what_a_command_says_goes_before_what_a_run_has_kept():
    stored = {"range": [1.0, 2.0], "source_range": [3.0, 4.0]}
    assert ranges_of(with_ranges(DataConfig(), stored)) == stored
    assert ranges_of(with_ranges(DataConfig(range=[5, 6]), stored)) == {"range": [5.0, 6.0]}
    assert ranges_of(with_ranges(DataConfig(source_range=[5, 6]), stored)) == {
        "range": [1.0, 2.0],
        "source_range": [5.0, 6.0],
    }
    assert ranges_of(DataConfig()) == {}


def test_pictures_of_8_bits_have_no_range(make_folders, folder_config):
    config = folder_config(make_folders({"a": 4, "b": 4}))
    data = RunData(config)
    data.build("train", (16, 32), 3)
    assert data.state_dict() == {"data_range": {}, "instances": False, "label_colours": None}
    assert settled(config).data == config.data


def test_targets_of_16_bits_are_learnt_and_their_flow_is_that_of_the_picture(make_folders, folder_config):
    root = make_folders({"a": 4, "b": 4})
    for path in (root / "images").rglob("*.png"):
        path.write_bytes(all_bits(RGB16 // 16))
    sequence = build_dataset(folder_config(root), "train", (HEIGHT, WIDTH), 3).sequences[0]
    (raw,) = sequence.read([0])
    expected = (RGB16 // 16 / 4095 * 255).round().astype(np.uint8)
    assert np.array_equal(raw.image.permute(1, 2, 0).numpy(), expected) and raw.key.endswith(":0..4095")


def test_a_first_picture_is_seen_as_the_run_sees(tmp_path):
    from vid2vid.generate.video import read_first_image

    save(tmp_path / "a.png", depth(500, 3320))
    picture = read_first_image(tmp_path / "a.png", (HEIGHT, WIDTH), DataConfig(range=[500, 3320]))
    assert len(picture.unique()) == 256
    with Image.open(io.BytesIO(encoded(depth(0, 9)))) as image:
        assert image.mode == "I;16"
