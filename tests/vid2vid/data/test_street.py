"""Clips and sequences of the street world: arrays, augmentation, what is left out on request."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data.street.world import StreetWorld
from trainer.errors import ConfigError
from vid2vid.config import FlowMethod, Vid2VidConfig
from vid2vid.data import build_dataset, open_source
from vid2vid.data.street import StreetDataset, open_street

ARRAYS = ("labels", "instances", "images", "flow", "confidence")


def config(**data: object) -> Vid2VidConfig:
    made = Vid2VidConfig(resolution=[32, 64])
    made.data.flow = FlowMethod.exact
    made.data.clips, made.data.val_clips = 6, 3
    for key, value in data.items():
        setattr(made.data, key, value)
    return made


def test_dataset() -> None:
    made = config(frame_step=3, scale=[1.0, 1.5])
    train, val = (build_dataset(made, split, (32, 64), 4) for split in ("train", "val"))
    assert isinstance(train, StreetDataset)
    assert (len(train), len(val)) == (6, 3)
    first = train.sample(2, np.random.default_rng(5))
    again = train.sample(2, np.random.default_rng(5))
    other = train.sample(2, np.random.default_rng(6))
    shapes = {key: (first[key].shape, str(first[key].dtype)) for key in ARRAYS}
    assert shapes == {
        "labels": ((4, 32, 64), "int16"),
        "instances": ((4, 32, 64), "int32"),
        "images": ((4, 3, 32, 64), "uint8"),
        "flow": ((4, 2, 32, 64), "float16"),
        "confidence": ((4, 1, 32, 64), "uint8"),
    }
    assert all(np.array_equal(first[key], again[key]) for key in ARRAYS)
    assert not np.array_equal(first["images"], other["images"])
    calm = val.sample(1, np.random.default_rng(0)), val.sample(1, np.random.default_rng(1))
    assert all(np.array_equal(calm[0][key], calm[1][key]) for key in ARRAYS)
    assert np.array_equal(calm[0]["images"], StreetWorld(0, 1, "val").render_clip(0, 4, 1, (32, 64))["images"])
    assert first["name"].startswith("street-train-0-0002/") and int(first["name"][-6:]) < 600


def test_augmentation_is_drawn_as_configured() -> None:
    """flip=1 mirrors every clip, flip=0 none; the mirrored world drives on the left."""
    straight = build_dataset(config(flip=0.0), "train", (32, 64), 2).sample(0, np.random.default_rng(1))
    flipped = build_dataset(config(flip=1.0), "train", (32, 64), 2).sample(0, np.random.default_rng(1))
    assert np.array_equal(straight["images"], flipped["images"][..., ::-1])


def test_what_is_left_out_on_request() -> None:
    made = config(flow=FlowMethod.none)
    made.model.instance_edges = False
    sample = build_dataset(made, "val", (16, 32), 2).sample(0, np.random.default_rng(0))
    assert set(sample) == {"labels", "images", "name"}
    with pytest.raises(ConfigError, match=r"data\.flow=precomputed.*exact"):
        build_dataset(config(flow=FlowMethod.precomputed), "val", (16, 32), 2)
    with pytest.raises(ValueError, match="dev"):
        build_dataset(made, "dev", (16, 32), 2)


def test_estimated_flow_is_near_the_exact_one() -> None:
    """data.flow=dis estimates from the pictures: the median error on trusted pixels is a fraction of a pixel."""
    exact, estimated = (
        build_dataset(config(flow=method), "val", (64, 128), 3).sample(0, np.random.default_rng(0))
        for method in (FlowMethod.exact, FlowMethod.dis)
    )
    assert estimated["flow"].dtype == np.float16 and estimated["confidence"].dtype == np.uint8
    both = (exact["confidence"] > 0) & (estimated["confidence"] > 0)
    both[0] = False
    error = np.linalg.norm(exact["flow"].astype(float) - estimated["flow"].astype(float), axis=1, keepdims=True)
    assert np.median(error[both]) < 0.5


def test_sequences_for_generation() -> None:
    made = config(val_frames=5)
    sequences = list(open_source("street", made, frames=3))
    assert len(sequences) == 3 and [len(sequence) for sequence in sequences] == [3, 3, 3]
    frames = list(sequences[1])
    assert len(frames) == 3
    assert frames[0]["labels"].shape == (32, 64) and frames[0]["image"].shape == (3, 32, 64)
    assert np.array_equal(frames[2]["image"], StreetWorld(0, 1, "test").render(2, (32, 64))["image"])
    assert len(open_street(made, "val", 0)) == 5
    made.model.instance_edges = False
    assert set(next(iter(open_street(made, "val", 0)))) == {"labels", "image"}
